//! Rows dealt from the stand-in, in bytes and in the tokens of a file.
use super::*;
use crate::{
    data::{
        Limits,
        fixture::stand_in,
        tokenizer::{Tokenizer, small},
    },
    measure::tasks::task,
};
use prism_core::Seed;
use std::collections::BTreeSet;

/// The text of each row, as it stands in its document.
fn words(dealer: &Dealer, rows: &Rows) -> Vec<String> {
    let character = |token: &u32| char::from(dealer.alphabet().id(*token).unwrap() as u8);
    rows.tokens.chunks(rows.columns as usize).map(|row| row.iter().map(character).collect()).collect()
}

fn small_corpus(lines: &str) -> Arc<Corpus> {
    Arc::new(Corpus::read(lines.as_bytes(), Limits::default()).unwrap())
}

fn text(corpus: &Arc<Corpus>, tokens: usize) -> Text {
    let alphabet = Alphabet::of(&Seed::of("test", &[]), corpus.tokenizer());
    Text { corpus: Arc::clone(corpus), alphabet, tokens }
}

#[test]
fn one_pass_visits_every_long_document_once_and_the_next_in_another_order() {
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYabcdefghijklmno".chars();
    let line = |letter: char| format!("{{\"id\":\"{letter}\",\"text\":\"{}\"}}\n", letter.to_string().repeat(9));
    let lines: String = letters.map(line).collect();
    let short = "{\"id\":\"short\",\"text\":\"zzzz\"}\n";
    let corpus = small_corpus(&format!("{short}{lines}"));
    let text = text(&corpus, 5);
    let documents = text.eligible(Split::Train).unwrap();
    let long = corpus.of(Split::Train).filter(|d| d.as_ref().unwrap().text.len() == 9).count();
    assert_eq!(documents.len(), long);
    let mut passes = Passes::new(documents, Seed::of("test", &[]).draws());
    let mut pass = || (0..long).map(|_| passes.row(&text)).collect::<Vec<_>>();
    let (first, second) = (pass(), pass());
    assert_eq!(first.iter().map(|place| place.document).collect::<BTreeSet<_>>().len(), long);
    assert_ne!(first, second);
    let deal = text.deal(first.into_iter()).unwrap();
    assert!(deal.rows.columns == 5 && !deal.rows.tokens.contains(&text.alphabet.token(u32::from(b'z'))));
}

#[test]
fn every_offset_of_a_document_is_dealt() {
    let text = text(&small_corpus("{\"id\":\"a\",\"text\":\"0123456789\"}"), 4);
    let mut draws = Seed::of("test", &[]).draws();
    let starts: BTreeSet<usize> = (0..200).map(|_| text.place(0, &mut draws).token).collect();
    assert_eq!(starts, (0..=6).collect());
    let deal = text.deal((0..=6).map(|token| Place { document: 0, token }).collect::<Vec<_>>().into_iter()).unwrap();
    let first: Vec<u32> = deal.rows.tokens.chunks(4).map(|row| row[0]).collect();
    assert_eq!(first, (b'0'..=b'6').map(|byte| text.alphabet.token(u32::from(byte))).collect::<Vec<_>>());
}

/// As dealt when all rows were bytes of documents in memory: digests of that program's rows.
#[test]
fn rows_of_bytes_are_those_that_they_always_were() {
    let corpus = stand_in().unwrap();
    let task = task(&corpus);
    let resume = Resume { attempt: 2, step: 5 };
    let golden = [
        "6d8757ba082f71bdcaf7bf792efe90bc3f97ce89373faaa50dee33dea1f3adbb",
        "94bf1322536c35c7afe4d3dd0990a22b9a391d60982785965c5bdf292c21e67e",
    ];
    for (resumes, golden) in [&[][..], &[resume]].into_iter().zip(golden) {
        let mut dealer = Dealer::resumed(&corpus, &task, resumes).unwrap();
        let mut tokens = dealer.upcoming(6).unwrap().rows.tokens;
        tokens.extend(dealer.training(40).unwrap().rows.tokens);
        tokens.extend(dealer.held_out(5).unwrap().rows.tokens);
        tokens.extend(dealer.decoys(5, &mut task.seed.draws()).unwrap().tokens);
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        assert_eq!(prism_core::Digest::of(&bytes).to_string(), golden);
    }
}

/// What the tokens of rows stand for is found in a document as it is, and the bytes that are counted are those.
#[test]
fn rows_in_the_tokens_of_a_file_are_cut_at_their_borders_and_count_their_bytes() {
    let text = "na\u{ef}ve caf\u{e9} \u{20ac}5 \u{1d11e}\u{1d122} the other words of the text are these ";
    let lines: String = (0..400)
        .map(|n| {
            serde_json::json!({ "id": n.to_string(), "text": format!("{n} {}", text.repeat(4)) }).to_string() + "\n"
        })
        .collect();
    let plain = small_corpus(&lines);
    for file in [small::byte_level(), small::byte_fallback()] {
        let (corpus, left_out) = plain.tokenized(Tokenizer::File(file)).unwrap();
        assert_eq!((left_out, corpus.len()), (0, 400));
        let corpus = Arc::new(corpus);
        let mut task = task(&corpus);
        task.data = corpus.data_ref();
        assert_ne!(task.data.tokenizer, plain.data_ref().tokenizer);
        assert_eq!(task.data.dataset, plain.fingerprint());
        let mut dealer = Dealer::new(&corpus, &task).unwrap();
        let all: Vec<Vec<u8>> = corpus.documents().map(|document| document.unwrap().text.into_bytes()).collect();
        let (mut dealt, mut split) = (0, 0);
        for deal in [dealer.training(60).unwrap(), dealer.held_out(5).unwrap()] {
            for (row, bytes) in deal.rows.tokens.chunks(33).zip(&deal.bytes) {
                let ids: Vec<u32> = row.iter().map(|token| dealer.alphabet().id(*token).unwrap()).collect();
                let piece = |id: &u32| corpus.tokenizer().piece(*id).into_owned();
                let (first, rest) = (piece(&ids[0]), ids[1..].iter().flat_map(piece).collect::<Vec<u8>>());
                assert_eq!(rest.len(), *bytes as usize);
                // A space before the document may be part of its first token.
                let whole = [first, rest].concat();
                let found = |row: &[u8]| all.iter().any(|text| text.windows(row.len()).any(|window| window == row));
                assert!(found(&whole) || found(&whole[1..]));
                dealt += 1;
                split += usize::from(std::str::from_utf8(&whole).is_err());
            }
        }
        assert!(dealt == 65 && split > 5, "{split} of {dealt} rows begin or end within a character");
    }
}

#[test]
fn looking_ahead_changes_nothing_that_is_dealt() {
    let corpus = stand_in().unwrap();
    let task = task(&corpus);
    let (mut plain, mut peeking) = (Dealer::new(&corpus, &task).unwrap(), Dealer::new(&corpus, &task).unwrap());
    let ahead = peeking.upcoming(7).unwrap();
    assert_eq!(ahead, peeking.upcoming(7).unwrap());
    let mut dealt = peeking.training(3).unwrap().rows.tokens;
    dealt.extend(peeking.training(4).unwrap().rows.tokens);
    assert_eq!(dealt, ahead.rows.tokens);
    assert_eq!(dealt, plain.training(7).unwrap().rows.tokens);
    assert_eq!(peeking.training(2).unwrap(), plain.training(2).unwrap());
}

#[test]
fn held_out_rows_are_of_the_validation_split_and_do_not_depend_on_training() {
    let corpus = stand_in().unwrap();
    let task = task(&corpus);
    let (mut a, mut b) = (Dealer::new(&corpus, &task).unwrap(), Dealer::new(&corpus, &task).unwrap());
    a.training(50).unwrap();
    let rows = a.held_out(20).unwrap();
    assert_eq!(rows, b.held_out(20).unwrap());
    let within = |row: &String| corpus.of(Split::Validation).any(|document| document.unwrap().text.contains(row));
    assert!(words(&a, &rows.rows).iter().all(within));
    assert_eq!(rows.bytes, vec![task.budget.sequence; 20]);
}

/// Which documents the rows are of; a row of a few dozen bytes is in one document alone.
fn documents(dealer: &Dealer, corpus: &Corpus, rows: &Rows) -> BTreeSet<String> {
    let all: Vec<_> = corpus.documents().map(Result::unwrap).collect();
    let of = |row: String| all.iter().find(|document| document.text.contains(&row)).unwrap().id.clone();
    words(dealer, rows).into_iter().map(of).collect()
}

#[test]
fn measured_documents_come_once_and_decoys_never() {
    let corpus = stand_in().unwrap();
    let task = task(&corpus);
    let mut dealer = Dealer::new(&corpus, &task).unwrap();
    assert!(dealer.measures_unseen());
    let decoys = dealer.decoys(39, &mut Seed::of("test", &[b"decoys"]).draws()).unwrap();
    let decoys = documents(&dealer, &corpus, &decoys);
    assert_eq!(decoys.len(), 39);
    let (mut before, mut measured) = (BTreeSet::new(), BTreeSet::new());
    for step in 0..12u64 {
        if task.measuring.points.contains(&step) {
            let rows = dealer.upcoming(task.measuring.rows).unwrap().rows;
            let here = documents(&dealer, &corpus, &rows);
            assert_eq!(here.len(), 6);
            assert!(here.is_disjoint(&before) && here.is_disjoint(&measured), "before step {step}");
            measured.extend(here);
        }
        let rows = dealer.training(task.budget.batch).unwrap().rows;
        before.extend(documents(&dealer, &corpus, &rows));
    }
    // Long after the last point, in later passes, they do not come again.
    let rows = dealer.training(1500).unwrap().rows;
    let later = documents(&dealer, &corpus, &rows);
    assert!(later.is_disjoint(&measured) && later.is_disjoint(&decoys) && before.is_disjoint(&decoys));
    assert!(later.len() > 1000);
}

#[test]
fn a_corpus_too_small_to_set_documents_apart_is_dealt_all_the_same() {
    let corpus = stand_in().unwrap();
    let mut task = task(&corpus);
    task.measuring.rows = 400;
    let mut dealer = Dealer::new(&corpus, &task).unwrap();
    assert!(!dealer.measures_unseen());
    assert_eq!(dealer.upcoming(400).unwrap().rows.rows, 400);
}

#[test]
fn more_held_out_rows_than_documents_are_refused_and_so_is_a_corpus_without_a_decoy() {
    let corpus = stand_in().unwrap();
    let mut greedy = task(&corpus);
    greedy.measuring.held_out_rows = 41;
    let error = Dealer::new(&corpus, &greedy).unwrap_err();
    assert_eq!(error, DealerError::HeldOut { rows: 41, tokens: 33, documents: 40 });
    assert_eq!(Error::from(error).fault(), Fault::Validator);
    let text = "x".repeat(40);
    let corpus = small_corpus(&format!("{{\"id\":\"a\",\"text\":\"{text}\"}}\n{{\"id\":\"b\",\"text\":\"{text}\"}}"));
    let mut lone = task(&corpus);
    lone.measuring.held_out_rows = 1;
    let dealer = Dealer::new(&corpus, &lone).unwrap();
    assert_eq!(dealer.decoys(1, &mut lone.seed.draws()), Err(DealerError::Decoys));
}

#[test]
fn rows_follow_the_cohort_and_not_the_runs_seed() {
    let corpus = stand_in().unwrap();
    let base = task(&corpus);
    let dealt = |task: &TrainTask| Dealer::new(&corpus, task).unwrap().training(4).unwrap();
    let mut other = base.clone();
    other.seed = Seed::of("test", &[b"another run"]);
    assert_eq!(dealt(&base), dealt(&other));
    other.cohort = Seed::of("test", &[b"another cohort"]);
    assert_ne!(dealt(&base), dealt(&other));
}

#[test]
fn rows_after_a_resume_are_the_attempts_own_and_nobody_saw_them_before() {
    let corpus = stand_in().unwrap();
    let task = task(&corpus);
    let rows = |dealer: &mut Dealer, steps: u64| -> Vec<Vec<u32>> {
        let mut dealt = Vec::new();
        for step in steps..12 {
            if task.measuring.points.iter().any(|point| *point == step && step > steps) {
                dealt.push(dealer.upcoming(task.measuring.rows).unwrap().rows);
            }
            dealt.push(dealer.training(task.budget.batch).unwrap().rows);
        }
        dealt.push(dealer.held_out(task.measuring.held_out_rows).unwrap().rows);
        dealt.iter().flat_map(|rows| rows.tokens.chunks(33).map(<[u32]>::to_vec)).collect()
    };
    let resume = |attempt, step| Resume { attempt, step };
    // The third attempt went on from where the second did, the fourth from further on.
    let chains: [&[Resume]; 4] =
        [&[], &[resume(2, 5)], &[resume(2, 5), resume(3, 5)], &[resume(2, 5), resume(3, 5), resume(4, 10)]];
    let mut seen: BTreeSet<Vec<u32>> = BTreeSet::new();
    let mut documents_seen = BTreeSet::new();
    for chain in chains {
        let mut dealer = Dealer::resumed(&corpus, &task, chain).unwrap();
        let start = chain.last().map_or(0, |resume| resume.step);
        let own: BTreeSet<Vec<u32>> = rows(&mut dealer, start).into_iter().collect();
        assert!(own.is_disjoint(&seen), "{chain:?}");
        let tokens: Vec<u32> = own.iter().flatten().copied().collect();
        let all = Rows { rows: own.len() as u32, columns: 33, tokens };
        let here = documents(&dealer, &corpus, &all);
        assert!(here.is_disjoint(&documents_seen), "{chain:?}");
        let again = Dealer::resumed(&corpus, &task, chain).unwrap();
        assert_eq!(rows(&mut { again }, start).into_iter().collect::<BTreeSet<_>>(), own, "drawn anew alike");
        seen.extend(own);
        documents_seen.extend(here);
    }
    assert_eq!(
        Dealer::resumed(&corpus, &task, &[]).unwrap().training(4).unwrap(),
        Dealer::new(&corpus, &task).unwrap().training(4).unwrap()
    );
}

#[test]
fn a_corpus_without_unseen_documents_goes_on_with_other_offsets() {
    let corpus = stand_in().unwrap();
    let mut task = task(&corpus);
    task.budget.steps = 1000;
    task.measuring.points = vec![0, 500, 900];
    let mut first = Dealer::new(&corpus, &task).unwrap();
    let mut measured = Vec::new();
    for step in 0..1000 {
        if task.measuring.points.contains(&step) {
            measured.push(first.upcoming(6).unwrap().rows);
        }
        first.training(4).unwrap();
    }
    let resume = Resume { attempt: 2, step: 500 };
    let mut dealer = Dealer::resumed(&corpus, &task, &[resume]).unwrap();
    let mut trained = BTreeSet::new();
    for _ in 500..900 {
        let rows = dealer.training(4).unwrap().rows;
        trained.extend(documents(&dealer, &corpus, &rows));
    }
    let here = dealer.upcoming(6).unwrap().rows;
    assert_ne!(here, measured[2]);
    assert_eq!(documents(&dealer, &corpus, &here), documents(&dealer, &corpus, &measured[2]));
    assert!(trained.len() > 1000 && trained.is_disjoint(&documents(&dealer, &corpus, &here)));
}

#[test]
fn a_task_over_other_data_is_refused() {
    let corpus = stand_in().unwrap();
    let mut foreign = task(&corpus);
    foreign.data.dataset = corpus.tokenizer().fingerprint();
    assert!(matches!(Dealer::new(&corpus, &foreign), Err(DealerError::Dataset { .. })));
    let mut foreign = task(&corpus);
    foreign.data.vocabulary = 50_000;
    let error = Dealer::new(&corpus, &foreign).unwrap_err();
    assert!(matches!(error, DealerError::Tokenizer { vocabulary: 256, .. }), "{error}");
    let mut long = task(&corpus);
    long.budget.sequence = 100_000;
    let error = Dealer::new(&corpus, &long).unwrap_err();
    assert_eq!(error, DealerError::Short { split: Split::Train, tokens: 100_001 });
}
