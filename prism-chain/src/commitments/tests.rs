//! Commitments over a development chain.
use super::*;
use crate::{
    devnet::SubnetConfig,
    landing::{Landing, NETUID, key},
    runtime::Runtime,
    timelock::QUICKNET,
};
use async_trait::async_trait;
use prism_core::{
    Error, Kind, SubmissionId, SubmissionSource,
    source::Cursor,
    submission::{Payload, Precedence, Submission},
    testing::source::{self, SourceDriver},
};
use rand::{SeedableRng as _, rngs::StdRng};

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

fn reference(submission: &Submission) -> &str {
    let Payload::Published { reference } = &submission.payload else { panic!("{submission:?}") };
    reference
}

async fn start(hotkeys: &[&str]) -> Landing {
    Landing::with(hotkeys, SubnetConfig { max_uids: 64, ..SubnetConfig::default() }).await
}

#[test]
fn bytes_go_into_the_smallest_field_that_holds_them() {
    assert_eq!(Field::of("hello").unwrap(), Field::Raw(b"hello".to_vec()));
    assert!(matches!(Field::of([7; 128]).unwrap(), Field::Raw(_)));
    assert!(matches!(Field::of([7; 129]).unwrap(), Field::BigRaw(_)));
    assert!(matches!(Field::of([7; 512]).unwrap(), Field::BigRaw(_)));
    assert!(matches!(Field::of([7; 513]), Err(CommitmentError::TooLong { length: 513, most: 512, .. })));
    assert!(matches!(Field::of(""), Err(CommitmentError::Empty)));
    let sealed = Field::timelocked(b"hello", 1000, &QUICKNET, &mut rng()).unwrap();
    assert_eq!(sealed.bytes(), None);
    assert!(matches!(
        Field::timelocked(&[7; 800], 1000, &QUICKNET, &mut rng()),
        Err(CommitmentError::TooLong { most: 1024, .. })
    ));
}

#[test]
fn a_commitment_takes_its_bytes_and_a_hundred_at_least() {
    let raw = |length| Field::of(vec![1; length]).unwrap();
    assert_eq!(space_of(&[raw(5)]), 100);
    assert_eq!(space_of(&[raw(60), raw(60)]), 120);
    assert_eq!(space_of(&[raw(512), raw(512), raw(512)]), 1536);
}

#[test]
fn every_field_survives_the_chain_s_form() {
    for field in [
        Field::Raw(vec![7]),
        Field::Raw(vec![0; 128]),
        Field::BigRaw(vec![1; 200]),
        Field::Timelocked { encrypted: vec![3; 300], reveal_round: u64::MAX },
        Field::Other("ResetBondsFlag".to_owned()),
    ] {
        assert_eq!(Field::read(&field.value()), Some(field));
    }
    assert_eq!(Field::read(&Value::u128(3)), None);
    assert_eq!(
        Field::read(&Value::unnamed_variant("BigRaw", [Value::from_bytes([1, 2])])),
        Some(Field::BigRaw(vec![1, 2]))
    );
    assert_eq!(Field::read(&Value::unnamed_variant("Raw2", [Value::u128(300)])), None);
}

#[test]
fn revealed_texts_lose_the_length_before_them_and_nothing_else() {
    let revealed = |bytes: &[u8]| Revealed { bytes: bytes.to_vec(), block: Block(1) };
    assert_eq!(revealed(b"\x14hello").content(), b"hello");
    assert_eq!(revealed(b"hello").content(), b"hello");
    assert_eq!(revealed(b"\x10hello").content(), b"\x10hello");
    assert_eq!(revealed(b"").content(), b"");
    assert_eq!(revealed(b"\x00").content(), b"");
}

/// Made with the official package, for the runtime of finney at spec 393.
#[test]
fn the_call_is_encoded_as_by_the_official_package() {
    let Some(path) = std::env::var_os("PRISM_FINNEY_METADATA") else {
        return println!("skipped: PRISM_FINNEY_METADATA is not set");
    };
    let runtime = Runtime::from_metadata(&std::fs::read(path).unwrap()).unwrap();
    let encode = |netuid, fields: &[Field]| {
        let call = set::call(Netuid(netuid), fields);
        hex::encode(runtime.client().transactions().call_data(&call).unwrap())
    };
    assert_eq!(encode(37, &[Field::of("hello").unwrap()]), "12002500040668656c6c6f");
    let all = [
        Field::Raw(vec![0xaa; 128]),
        Field::BigRaw(vec![0xbb; 129]),
        Field::Timelocked { encrypted: vec![0xcc; 3], reveal_round: 258 },
    ];
    let expected = format!(
        "120001000c{}{}88{}{}{}",
        "81",
        "aa".repeat(128),
        "0502",
        "bb".repeat(129),
        "860ccccccc0201000000000000"
    );
    assert_eq!(encode(1, &all), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commitment_is_made_read_back_and_replaced() {
    let chain = start(&["miner"]).await;
    let (client, miner) = (&chain.client, key("miner"));
    let nothing = client.commitments_of(NETUID, miner.hotkey(), None).await.unwrap();
    assert_eq!(nothing, Commitments::default());
    let first = [Field::of("first").unwrap(), Field::of([7; 300]).unwrap()];
    let committed = chain.land(client.set_commitment(&miner, NETUID, &first)).await.unwrap();
    assert_eq!((committed.space.used, committed.space.most, committed.extrinsic), (305, 3100, 1));
    let second = [Field::of("second").unwrap()];
    let committed = chain.land(client.set_commitment(&miner, NETUID, &second)).await.unwrap();
    assert_eq!(committed.space.left(), 3100 - 405);
    chain.devnet.settle().await;
    let there = client.commitments_of(NETUID, miner.hotkey(), None).await.unwrap();
    let expected = Commitment { block: committed.block, deposit: 0, fields: second.to_vec() };
    assert_eq!((there.current, there.last, there.revealed), (Some(expected), Some(committed.block), vec![]));
    let before = Block(committed.block.0 - 1);
    let then = client.commitments_of(NETUID, miner.hotkey(), Some(before)).await.unwrap();
    assert_eq!(then.current.unwrap().fields, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_chain_would_refuse_is_not_sent() {
    let chain = start(&["miner"]).await;
    let (client, miner) = (&chain.client, key("miner"));
    let refused = |fields: Vec<Field>| {
        let (client, miner) = (client.clone(), miner.clone());
        // No block is made: nothing here waits for one.
        async move { client.set_commitment(&miner, NETUID, &fields).await.unwrap_err() }
    };
    let small = || Field::of("x").unwrap();
    assert!(matches!(refused(vec![]).await, CommitmentError::Empty));
    assert!(matches!(refused(vec![small(); 4]).await, CommitmentError::TooManyFields { count: 4, most: 3 }));
    assert!(matches!(refused(vec![Field::Raw(vec![1; 129])]).await, CommitmentError::TooLong { .. }));
    assert!(matches!(refused(vec![Field::Other("None".into())]).await, CommitmentError::ReadOnly(_)));
    let out = Field::Timelocked { encrypted: vec![1; 300], reveal_round: 1 };
    assert!(matches!(refused(vec![out]).await, CommitmentError::RoundIsOut { round: 1, .. }));
    let stranger = client.set_commitment(&key("stranger"), NETUID, &[small()]).await.unwrap_err();
    assert!(matches!(stranger, CommitmentError::Unregistered { .. }), "{stranger}");

    let large = [Field::of([1; 512]).unwrap(), Field::of([2; 512]).unwrap(), Field::of([3; 512]).unwrap()];
    for _ in 0..2 {
        chain.land(client.set_commitment(&miner, NETUID, &large)).await.unwrap();
    }
    let full = refused(vec![small()]).await;
    let CommitmentError::NoSpace { needed: 100, left: 28, renewed: Some(renewed) } = full else { panic!("{full}") };
    assert_eq!(Error::from(full).kind(), Kind::Limit);
    let (head, _) = chain.devnet.head();
    chain.devnet.produce_blocks(u32::try_from(renewed.0 - head).unwrap()).await;
    let committed = chain.land(client.set_commitment(&miner, NETUID, &[small()])).await.unwrap();
    assert_eq!(committed.space.used, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_a_timelock_is_revealed_by_the_chain_and_still_found() {
    let chain = start(&["miner"]).await;
    let (client, miner) = (&chain.client, key("miner"));
    let beacon = client.beacon().await.unwrap();
    assert_eq!(beacon, chain.devnet.beacon());
    let round = chain.devnet.newest_round() + 2;
    let sealed = Field::timelocked(b"a secret model", round, &beacon, &mut rng()).unwrap();
    let plain = Field::of("in the open").unwrap();
    let fields = [sealed, plain.clone()];
    let committed = chain.land(client.set_commitment(&miner, NETUID, &fields)).await.unwrap();
    chain.devnet.settle().await;
    let hidden = client.commitments_of(NETUID, miner.hotkey(), None).await.unwrap();
    assert_eq!(hidden.current.unwrap().fields, fields);
    while chain.devnet.newest_round() <= round {
        chain.devnet.produce_blocks(20).await;
    }
    chain.devnet.settle().await;
    let all = client.commitments(NETUID, None).await.unwrap();
    let open = &all.by_hotkey[&miner.hotkey()];
    assert_eq!(open, &client.commitments_of(NETUID, miner.hotkey(), Some(all.block)).await.unwrap());
    assert_eq!(open.current.as_ref().unwrap().fields, [plain]);
    assert_eq!(open.last, Some(committed.block));
    let [revealed] = open.revealed.as_slice() else { panic!("{open:?}") };
    assert_eq!(revealed.content(), b"a secret model");
    assert!(revealed.block > committed.block);

    // As submissions: the open text by its commitment, the secret one by its reveal.
    let source = ChainCommitments::new(client.clone(), NETUID);
    let batch = source.poll(None, 10).await.unwrap();
    let came: Vec<_> = batch.submissions.iter().map(|s| (reference(s), s.precedence.block)).collect();
    assert_eq!(came, [("in the open", committed.block), ("a secret model", revealed.block)]);
    let first = source.poll(None, 1).await.unwrap();
    let rest = source.poll(Some(&first.next), 10).await.unwrap();
    assert_eq!(rest.submissions, batch.submissions[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_subnet_are_read_whatever_the_size_of_a_page() {
    let names: Vec<String> = (0..7).map(|n| format!("miner{n}")).collect();
    let chain = start(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
    let fields: Vec<_> = names.iter().map(|name| [Field::of(name.as_str()).unwrap()]).collect();
    let commits = keys.iter().zip(&fields).map(|(key, fields)| chain.client.set_commitment(key, NETUID, fields));
    for committed in chain.land(futures::future::join_all(commits)).await {
        committed.unwrap();
    }
    chain.devnet.settle().await;
    let all = chain.client.commitments(NETUID, None).await.unwrap();
    assert_eq!(all.block.0, chain.devnet.finalized().0);
    assert_eq!(all.by_hotkey.len(), 7);
    for (key, fields) in keys.iter().zip(&fields) {
        assert_eq!(all.by_hotkey[&key.hotkey()].current.as_ref().unwrap().fields, fields);
    }
    let at = chain.client.at_finalized().await.unwrap();
    for page in [1, 2, 3, 7, 8] {
        let found = at.in_pages::<u32>(LAST_COMMITMENT, NETUID, page).await.unwrap();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), all.by_hotkey.keys().copied().collect::<Vec<_>>(), "{page}");
    }
    assert_eq!(chain.client.commitments(Netuid(9), None).await.unwrap().by_hotkey, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_text_is_no_submission_and_a_foreign_cursor_is_an_error() {
    let chain = start(&["a", "b"]).await;
    let source = ChainCommitments::new(chain.client.clone(), NETUID);
    let binary = [Field::of([0xff, 0xfe]).unwrap(), Field::of("second field").unwrap()];
    chain.land(chain.client.set_commitment(&key("a"), NETUID, &binary)).await.unwrap();
    let text = [Field::of("namespace:name").unwrap()];
    let made = chain.land(chain.client.set_commitment(&key("b"), NETUID, &text)).await.unwrap();
    assert_eq!(source.poll(None, 9).await.unwrap().submissions, [], "not final yet");
    chain.devnet.settle().await;
    let batch = source.poll(None, 9).await.unwrap();
    let [only] = batch.submissions.as_slice() else { panic!("{batch:?}") };
    assert_eq!((reference(only), only.hotkey), ("namespace:name", key("b").hotkey()));
    assert_eq!((only.precedence.block, only.precedence.extrinsic), (made.block, made.extrinsic));
    assert!(!only.precedence.local);
    for cursor in ["x", "1.2.3", "1.2.5Grw.c", &format!("1.2.{}.x", key("a").hotkey())] {
        let error = source.poll(Some(&Cursor(cursor.to_owned())), 9).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{cursor}");
    }
}

struct Driver {
    chain: Landing,
    source: ChainCommitments,
    added: u32,
}

#[async_trait]
impl SourceDriver for Driver {
    fn source(&self) -> &dyn SubmissionSource {
        &self.source
    }

    async fn add(&mut self) -> prism_core::Result<SubmissionId> {
        let miner = key(&format!("driver{}", self.added));
        self.added += 1;
        self.chain.devnet.register(NETUID, miner.hotkey(), [9; 32])?;
        self.chain.devnet.produce_blocks(1).await;
        let text = format!("model {}", self.added);
        let fields = [Field::of(text.as_str())?];
        let made = self.chain.land(self.chain.client.set_commitment(&miner, NETUID, &fields)).await?;
        self.chain.devnet.settle().await;
        let precedence =
            Precedence { block: made.block, extrinsic: made.extrinsic, hotkey: miner.hotkey(), local: false };
        Ok(Submission::published(miner.hotkey(), precedence, text).id)
    }

    async fn restart(&mut self) -> prism_core::Result<()> {
        self.source = ChainCommitments::new(self.chain.client.clone(), NETUID);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commitments_keep_the_contract_of_a_source() {
    let fresh = async || -> prism_core::Result<Driver> {
        let chain = start(&[]).await;
        let source = ChainCommitments::new(chain.client.clone(), NETUID);
        Ok(Driver { chain, source, added: 0 })
    };
    source::run(fresh).await.assert_ok();
}
