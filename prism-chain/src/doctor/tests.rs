//! The doctor on the devnet, on the live chain's metadata, and on runtimes that changed; and its table against the code.
use super::*;
use crate::{
    ChainConfig,
    devnet::{Devnet, DevnetConfig, Fault, GenesisNeuron, Hyperparameter, SubnetConfig},
    runtime::tests::{devnet_metadata, finney},
};
use std::{collections::BTreeSet, fs, path::Path};

const NETUID: Netuid = Netuid(1);

fn key(name: &str) -> Hotkey {
    Keypair::from_uri(&format!("//{name}")).unwrap().hotkey()
}

fn row<'a>(report: &'a Report, item: &str) -> &'a Row {
    report.rows.iter().find(|row| row.item == item).unwrap_or_else(|| panic!("no row {item}: {report:?}"))
}

async fn devnet() -> (Devnet, ChainClient) {
    let neuron =
        |name: &str, stake, permit| GenesisNeuron { hotkey: key(name), coldkey: key("coldkey").0, stake, permit };
    let config = DevnetConfig {
        endowments: vec![(key("coldkey").0, 10_000_000_000)],
        subnets: vec![SubnetConfig {
            neurons: vec![neuron("v", 700, true), neuron("m", 0, false)],
            tempo: 20,
            ..SubnetConfig::default()
        }],
        ..DevnetConfig::default()
    };
    let devnet = Devnet::start(config).await.unwrap();
    devnet.produce_blocks(150).await;
    let client = ChainClient::connect(ChainConfig::new(devnet.url())).await.unwrap();
    (devnet, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_can_set_weights_is_told_so_row_by_row() {
    let (_devnet, client) = devnet().await;
    let report = client.examine(&Subject::new(NETUID).hotkey(key("v"))).await.unwrap();
    let blocking: Vec<String> = report.blocking().map(ToString::to_string).collect();
    assert!(report.can_set_weights(), "{blocking:#?}");
    assert_eq!((report.spec_version, report.commit_reveal), (425, Some(false)));
    let call = row(&report, "SubtensorModule.set_mechanism_weights");
    assert_eq!((call.topic, call.status), (Topic::Call, Status::Compatible), "{call}");
    assert!(call.found.starts_with("(netuid: NetUid(u16), mecid: MechId(u8), dests: Vec<u16>"), "{call}");
    assert_eq!(row(&report, "SubtensorModule.SubnetEpochIndex").status, Status::Compatible);
    assert_eq!(row(&report, "a signed extrinsic").status, Status::Same);
    assert_eq!(row(&report, "CheckNonce").status, Status::Same);
    assert_eq!(row(&report, "registration").found, format!("hotkey {} has slot 0 since block 0", key("v")));
    assert_eq!(row(&report, "rate limit").status, Status::Good);
    assert_eq!(row(&report, "fees").found, "its coldkey has 10000000000 rao free");
    assert!(report.rows.iter().all(|row| row.topic != Topic::Clock));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["rows"][0]["topic"], "call");
    assert_eq!(json["rows"][0]["status"], "compatible");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_hotkey_from_setting_weights_has_a_row_and_says_what_to_do() {
    let (devnet, client) = devnet().await;
    let examine = async |subject: Subject| client.examine(&subject).await.unwrap();
    let of = |name: &str| Subject::new(NETUID).hotkey(key(name));
    let blocked = |report: &Report, item: &str, status: Status| {
        let row = row(report, item);
        assert!(row.blocks_weights && row.advice.is_some(), "{row}");
        assert_eq!(row.status, status, "{row}");
        assert!(!report.can_set_weights());
    };
    blocked(&examine(of("stranger")).await, "registration", Status::Bad);
    blocked(&examine(of("m")).await, "validator permit", Status::Bad);
    blocked(&examine(Subject { mechanism: MechanismId(3), ..of("v") }).await, "mechanism", Status::Bad);
    blocked(&examine(Subject { netuid: Netuid(9), ..of("v") }).await, "subnet", Status::Bad);

    devnet.set_hyperparameter(NETUID, Hyperparameter::WeightsVersionKey(5)).unwrap();
    devnet.set_hyperparameter(NETUID, Hyperparameter::StakeThreshold(1_000)).unwrap();
    devnet.set_hyperparameter(NETUID, Hyperparameter::WeightsRateLimit(10_000)).unwrap();
    let late = devnet.register(NETUID, key("late"), key("poor").0).unwrap();
    devnet.grant_permit(NETUID, late).unwrap();
    devnet.produce_blocks(1).await;
    let report = examine(of("late")).await;
    blocked(&report, "version key", Status::Bad);
    blocked(&report, "stake", Status::Bad);
    blocked(&report, "rate limit", Status::Waiting);
    assert_eq!(row(&report, "fees").status, Status::Warning);
    assert!(!row(&report, "fees").blocks_weights);
    assert!(row(&report, "rate limit").advice.as_ref().unwrap().starts_with("wait 9999 blocks"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_a_warning() {
    let (_devnet, client) = devnet().await;
    // Block 150 of a chain that began with 2026, in slots of 12 s.
    let block = Duration::from_millis(1_767_225_600_000) + Duration::from_secs(12) * 150;
    let status = async |now| {
        let subject = Subject { now: Some(now), ..Subject::new(NETUID) };
        let report = client.examine(&subject).await.unwrap();
        assert!(report.can_set_weights());
        row(&report, "clock").status
    };
    assert_eq!(status(block + Duration::from_secs(9)).await, Status::Good);
    assert_eq!(status(block - Duration::from_secs(1)).await, Status::Good);
    assert_eq!(status(block - Duration::from_secs(9)).await, Status::Warning);
    assert_eq!(status(block + Duration::from_secs(100)).await, Status::Warning);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subnet_that_hides_weights_needs_its_commitments_opened() {
    let (devnet, client) = devnet().await;
    devnet.set_hyperparameter(NETUID, Hyperparameter::CommitReveal(true)).unwrap();
    devnet.produce_blocks(1).await;
    let examine = async || client.examine(&Subject::new(NETUID).hotkey(key("v"))).await.unwrap();
    let report = examine().await;
    let blocking: Vec<String> = report.blocking().map(ToString::to_string).collect();
    assert!(report.can_set_weights(), "{blocking:#?}");
    assert_eq!(report.commit_reveal, Some(true));
    assert_eq!(row(&report, "beacon").status, Status::Good);
    devnet.inject(Fault::BeaconSilence).unwrap();
    devnet.produce_blocks(40).await;
    let report = examine().await;
    assert_eq!(row(&report, "beacon").status, Status::Warning, "{}", row(&report, "beacon"));
}

#[test]
fn finality_that_stalls_has_to_be_waited_for() {
    assert_eq!(finality(100, 97).status, Status::Good);
    let stalled = finality(100, 50);
    assert_eq!((stalled.status, stalled.blocks_weights), (Status::Waiting, true));
}

#[test]
fn the_live_chain_s_runtime_takes_all_that_weights_need() {
    let Some(finney) = finney() else { return };
    let report = Report::of_runtime(&finney);
    let blocking: Vec<String> = report.blocking().map(ToString::to_string).collect();
    assert!(report.can_set_weights(), "{blocking:#?}");
    assert_eq!((report.spec_version, report.commit_reveal), (393, None));
    let status = |item: &str| row(&report, item).status;
    for item in [
        "SubtensorModule.set_mechanism_weights",
        "SubtensorModule.commit_timelocked_mechanism_weights",
        "SubtensorModule.commit_mechanism_weights",
        "SubtensorModule.reveal_mechanism_weights",
        "Commitments.set_commitment",
        "SubtensorModule.Weights",
        "System.Account",
        "Aura.SlotDuration",
        "CheckMetadataHash",
    ] {
        assert_eq!(status(item), Status::Same, "{}", row(&report, item));
    }
    // Limited prices and dynamic tempo came later; extensions of the chain's own hold nothing.
    assert_eq!(status("SubtensorModule.LastEpochBlock"), Status::Missing);
    assert_eq!(
        row(&report, "SubtensorModule.LastEpochBlock").advice.as_deref(),
        Some("nothing: epochs follow the closed form")
    );
    assert_eq!(status("SubtensorTransactionExtension"), Status::Compatible);
    let missing: Vec<&str> =
        report.rows.iter().filter(|row| row.status == Status::Missing).map(|row| row.item.as_str()).collect();
    let since = ["register_limit", "LastEpochBlock", "PendingEpochAt", "SubnetEpochIndex"]
        .map(|name| format!("SubtensorModule.{name}"));
    assert!(missing.iter().all(|item| since.iter().any(|known| known == item)), "{missing:?}");
}

/// The devnet's metadata with a name written otherwise wherever it stands.
async fn renamed(from: &str, to: &str) -> Report {
    assert_eq!(from.len(), to.len());
    let mut changed = devnet_metadata().await;
    let at: Vec<usize> = changed
        .windows(from.len())
        .enumerate()
        .filter_map(|(at, window)| (window == from.as_bytes()).then_some(at))
        .collect();
    assert!(!at.is_empty(), "{from}");
    for at in at {
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    Report::of_runtime(&Runtime::from_metadata(&changed).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_takes_away_what_weights_need_is_named() {
    let report = renamed("set_mechanism_weights", "set_mechanism_weightz").await;
    let row_of = |report: &Report, item: &str| row(report, item).clone();
    let gone = row_of(&report, "SubtensorModule.set_mechanism_weights");
    assert_eq!((gone.status, gone.blocks_weights), (Status::Missing, true), "{gone}");
    assert!(gone.advice.unwrap().starts_with("update PRISM"));

    let report = renamed("mecid", "mecix").await;
    let changed = row_of(&report, "SubtensorModule.set_mechanism_weights");
    assert!(changed.blocks_weights && changed.found.contains("it has no mecid"), "{changed}");

    let report = renamed("CheckNonce", "CheckNoncf").await;
    assert!(row_of(&report, "CheckNonce").blocks_weights);
    let strange = row_of(&report, "CheckNoncf");
    assert!(strange.blocks_weights && strange.status == Status::Missing, "{strange}");

    let report = renamed("Incentive", "Incentivf").await;
    let shown = row_of(&report, "SubtensorModule.Incentive");
    assert_eq!((shown.status, shown.blocks_weights), (Status::Missing, false), "{shown}");
}

/// A name as the table and the code have it: kind, place, name.
type Name = (&'static str, String, String);

/// What the table lists.
fn listed() -> BTreeSet<Name> {
    let name = |kind, place: &str, name: &str| (kind, place.to_owned(), name.to_owned());
    let names = SURFACE.iter().filter_map(|(item, _)| match item {
        Item::Call(place, call, _) => Some(name("call", place, call)),
        Item::Storage(place, entry, ..) => Some(name("storage", place, entry)),
        Item::Constant(place, constant, _) => Some(name("constant", place, constant)),
        Item::Api(interface, method, ..) => Some(name("api", interface, method)),
        Item::Event(place, event) => Some(name("event", place, event)),
        // subxt names these.
        Item::Extension(_) => None,
    });
    names.collect()
}

/// What the sources of this crate name, tests and devnet aside.
fn named_by_code() -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut |text| read_source(text, &mut names));
    names
}

fn walk(folder: &Path, read: &mut dyn FnMut(&str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match path.is_dir() {
            true if !["devnet", "doctor", "tests"].contains(&name) => walk(&path, read),
            false if name.ends_with(".rs") && name != "tests.rs" && name != "conformance.rs" => {
                read(&fs::read_to_string(&path).unwrap());
            }
            _ => {}
        }
    }
}

/// Whether an event's name stands in the code, where it isn't beside its pallet's.
fn is_spelled_out(name: &str) -> bool {
    let mut found = false;
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut |text| {
        found |= text.contains(&format!("\"{name}\""));
    });
    found
}

fn read_source(text: &str, names: &mut BTreeSet<Name>) {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    // Comments name things, too, and doctests call them.
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    pairs(&code, "storage", "Entry::new(", None, names);
    pairs(&code, "storage", "Entry::subtensor(", Some("SubtensorModule"), names);
    pairs(&code, "api", "Api::new(", None, names);
    pairs(&code, "constant", "constant(", None, names);
    pairs(&code, "call", "dynamic::tx(", None, names);
    for before in ["=", "(", ",", "{", ";", "&", "|", ">", "["] {
        pairs(&code, "call", &format!("{before}subtensor("), Some("SubtensorModule"), names);
        // Events are told by a pair of names.
        pairs(&code, "event", &format!("{before}("), None, names);
    }
}

/// Takes in the strings that follow a pattern, as in `new("A","B"`.
fn pairs(code: &str, kind: &'static str, pattern: &str, alone: Option<&str>, names: &mut BTreeSet<Name>) {
    for (at, _) in code.match_indices(pattern) {
        let mut found = Vec::new();
        let mut rest = &code[at + pattern.len()..];
        while let Some(text) = rest.strip_prefix('"') {
            let Some(end) = text.find('"') else { break };
            found.push(text[..end].to_owned());
            rest = text[end + 1..].strip_prefix(',').unwrap_or("");
        }
        let is_name = |text: &String| text.starts_with(|c: char| c.is_ascii_uppercase());
        match (found.as_slice(), alone) {
            ([name, ..], Some(place)) => names.insert((kind, place.to_owned(), name.clone())),
            ([place, name, ..], None) if is_name(place) && (kind != "event" || is_name(name)) => {
                names.insert((kind, place.clone(), name.clone()))
            }
            _ => false,
        };
    }
}

#[test]
fn the_table_lists_exactly_what_the_code_names() {
    let (listed, named) = (listed(), named_by_code());
    let unlisted: Vec<_> = named.difference(&listed).collect();
    assert!(unlisted.is_empty(), "the code names these, and the table of doctor/surface.rs does not: {unlisted:#?}");
    let unnamed = listed.difference(&named).filter(|(kind, _, name)| *kind != "event" || !is_spelled_out(name));
    let unnamed: Vec<_> = unnamed.collect();
    assert!(unnamed.is_empty(), "the table of doctor/surface.rs lists these, and no code names them: {unnamed:#?}");
    assert!(named.len() > 40, "{named:?}");
}
