//! Datasets made, opened, altered and refused.
use super::*;
use crate::data::{
    Dealer, Resume,
    fixture::stand_in,
    prepare::{Additions, Source, prepare},
    tokenizer::small,
};
use prism_core::{Error, Kind};
use std::path::PathBuf;

/// The stand-in as a dataset.
fn prepared() -> (tempfile::TempDir, PathBuf) {
    prepared_with(|_| Additions::default())
}

fn prepared_with(additions: impl Fn(&Path) -> Additions) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("all.jsonl");
    let corpus = stand_in().unwrap();
    let records = corpus.documents().map(Result::unwrap);
    let records = records.map(|d| serde_json::json!({ "id": d.id, "text": d.text }).to_string());
    fs::write(&lines, records.collect::<Vec<_>>().join("\n")).unwrap();
    let out = folder.path().join("out");
    let source = Source { name: "stand-in".into(), revision: "1".into(), license: "CC0-1.0".into() };
    let additions = additions(folder.path());
    prepare(&[lines], &out, &source, &additions, Limits::default(), &mut |_| Ok(())).unwrap();
    (folder, out)
}

fn refused(out: &Path) -> String {
    Error::from(open(out, Limits::default()).unwrap_err()).chain()
}

#[test]
fn what_was_prepared_opens_and_holds_every_document_once() {
    let (_folder, out) = prepared();
    let (corpus, manifest) = open(&out, Limits::default()).unwrap();
    let stand_in = stand_in().unwrap();
    assert_eq!(corpus.len(), stand_in.len());
    for split in Split::ALL {
        let bytes = |corpus: &Corpus| corpus.of(split).map(|d| d.unwrap().text.len() as u64).sum::<u64>();
        assert_eq!((bytes(&corpus), bytes(&stand_in)), (manifest.splits[&split].text_bytes, bytes(&corpus)));
    }
    assert_eq!(manifest.name, "stand-in");
}

#[test]
fn whatever_was_changed_afterwards_is_refused_with_its_file() {
    let (_folder, out) = prepared();
    let shard = out.join("validation-00000.jsonl");
    let good = fs::read(&shard).unwrap();
    let other = String::from_utf8(good.clone()).unwrap().replacen(" the ", " The ", 1);
    fs::write(&shard, other).unwrap();
    assert!(refused(&out).contains("validation-00000.jsonl has "), "{}", refused(&out));
    fs::write(&shard, &good[1..]).unwrap();
    assert!(refused(&out).contains("bytes, the manifest says"), "{}", refused(&out));
    fs::remove_file(&shard).unwrap();
    assert!(refused(&out).contains("dataset file validation-00000.jsonl"), "{}", refused(&out));
    fs::write(&shard, &good).unwrap();
    fs::write(out.join("train-00099.jsonl"), b"").unwrap();
    assert!(refused(&out).contains("the manifest does not name it"), "{}", refused(&out));
    fs::remove_file(out.join("train-00099.jsonl")).unwrap();
    fs::write(out.join(CONTAMINATION), b"{}").unwrap();
    assert!(refused(&out).contains("CONTAMINATION.json has "), "{}", refused(&out));
}

#[test]
fn a_manifest_that_contradicts_itself_or_the_rule_of_the_splits_is_refused() {
    let (_folder, out) = prepared();
    let good: Manifest = read_manifest(&out).unwrap();
    let with = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        fs::write(out.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
        refused(&out)
    };
    let text = with(&|m| m.schema = "prism.dataset/2".into());
    assert!(text.contains("MANIFEST.json is not of the form prism.dataset/1"), "{text}");
    let text = with(&|m| drop(m.splits.remove(&Split::Test)));
    assert!(text.contains("it has no test part"), "{text}");
    let text = with(&|m| m.splits.get_mut(&Split::Test).unwrap().documents += 1);
    assert!(text.contains("do not add up"), "{text}");
    let text = with(&|m| m.splits.get_mut(&Split::Test).unwrap().shards[0].path = "../secret".into());
    assert!(text.contains("stands where test-00000.jsonl must"), "{text}");
    // The files change places, digests and all: documents are where they do not belong.
    let text = with(&|m| {
        let (test, validation) = (m.splits[&Split::Test].clone(), m.splits[&Split::Validation].clone());
        let renamed = |mut part: Part, split| {
            part.shards.iter_mut().enumerate().for_each(|(n, shard)| shard.path = shard_name(split, n));
            part
        };
        m.splits.insert(Split::Test, renamed(validation, Split::Test));
        m.splits.insert(Split::Validation, renamed(test, Split::Validation));
        let swap = |a: &str, b: &str| {
            let (x, y) = (fs::read(out.join(a)).unwrap(), fs::read(out.join(b)).unwrap());
            fs::write(out.join(a), y).unwrap();
            fs::write(out.join(b), x).unwrap();
        };
        swap("test-00000.jsonl", "validation-00000.jsonl");
    });
    assert!(text.contains("belongs to another split"), "{text}");
}

/// A tokenizer that loses something of a few documents, and a task of each kind.
fn with_all(folder: &Path) -> Additions {
    let lossy = small::with(|json| {
        let pattern = serde_json::json!({ "String": "?" });
        json["normalizer"] = serde_json::json!({ "type": "Replace", "pattern": pattern, "content": "," });
    });
    fs::write(folder.join("lossy.json"), lossy).unwrap();
    let question = |context: &str| serde_json::json!({ "context": context, "choices": [" a", " b"], "answer": 0 });
    let train: Vec<String> = stand_in().unwrap().of(Split::Train).map(|document| document.unwrap().text).collect();
    let known = train.into_iter().find(|text| !text.contains('?')).unwrap();
    let lines = [question("A question that nobody ever asked of anyone before"), question(&known[..200])];
    fs::write(folder.join("quiz.jsonl"), lines.map(|line| line.to_string()).join("\n")).unwrap();
    fs::write(folder.join("far.json"), r#"{"questions":4,"choices":4,"depths":[0.1,0.9]}"#).unwrap();
    let quiz = ("quiz".to_owned(), (benchmark::Kind::MultipleChoice, folder.join("quiz.jsonl")));
    let far = ("far".to_owned(), (benchmark::Kind::Needle, folder.join("far.json")));
    Additions { tokenizer: Some(folder.join("lossy.json")), benchmarks: [quiz, far].into() }
}

#[test]
fn a_tokenizer_and_evaluation_tasks_are_part_of_a_dataset_and_documents_that_lose_something_are_not() {
    let (_folder, out) = prepared_with(with_all);
    let (corpus, manifest) = open(&out, Limits::default()).unwrap();
    let stand_in = stand_in().unwrap();
    let lossless = stand_in.documents().filter(|document| !document.as_ref().unwrap().text.contains('?')).count();
    let held = manifest.tokenizer.clone().unwrap();
    assert!(lossless < stand_in.len() && lossless > 100);
    assert_eq!((corpus.len(), held.left_out), (lossless, (stand_in.len() - lossless) as u64));
    assert_eq!((held.vocabulary, held.sha256), (512, corpus.tokenizer().fingerprint()));
    let tokens: u64 = manifest.splits.values().map(|part| part.tokens.unwrap()).sum();
    assert_eq!(corpus.check_tokens().unwrap(), tokens);
    let names: Vec<_> = corpus.benchmarks().iter().map(|task| (task.name(), task.digest())).collect();
    assert_eq!(names, [("far", manifest.benchmarks["far"].sha256), ("quiz", manifest.benchmarks["quiz"].sha256)]);
    let data = corpus.data_ref();
    assert_eq!((data.vocabulary, data.tokenizer), (512, held.sha256));
    let report: crate::data::contamination::Contamination =
        serde_json::from_slice(&fs::read(out.join(CONTAMINATION)).unwrap()).unwrap();
    assert_eq!((report.benchmarks["quiz"].documents, report.benchmarks["quiz"].touched), (2, 1));
    // The same in memory is the same dataset, tasks and all.
    let documents = corpus.documents().map(|document| document.unwrap());
    let lines = documents.map(|d| serde_json::json!({ "id": d.id, "text": d.text }).to_string() + "\n");
    let held = Corpus::read(lines.collect::<String>().as_bytes(), Limits::default()).unwrap();
    let (held, _) = held.tokenized(corpus.tokenizer().clone()).unwrap();
    assert_ne!(held.data_ref(), data);
    assert_eq!(held.with_benchmarks(corpus.benchmarks().to_vec()).unwrap().data_ref(), data);
}

#[test]
fn additions_that_are_altered_missing_or_contradict_the_shards_are_refused() {
    let (_folder, out) = prepared_with(with_all);
    let good: Manifest = read_manifest(&out).unwrap();
    for file in [TOKENIZER, "benchmark-quiz.jsonl", "needle-far.json"] {
        let bytes = fs::read(out.join(file)).unwrap();
        fs::write(out.join(file), [&bytes[..], b"\n"].concat()).unwrap();
        assert!(refused(&out).contains(&format!("{file} has ")), "{}", refused(&out));
        fs::remove_file(out.join(file)).unwrap();
        assert!(refused(&out).contains(&format!("dataset file {file}")), "{}", refused(&out));
        fs::write(out.join(file), &bytes).unwrap();
    }
    let with = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        fs::write(out.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
        refused(&out)
    };
    let text = with(&|m| m.tokenizer = None);
    assert!(text.contains("tokens of its train part must be counted if it has a tokenizer"), "{text}");
    let text = with(&|m| m.tokenizer.as_mut().unwrap().vocabulary = 256);
    assert!(text.contains("tokenizer.json has 512 token ids, the manifest says 256"), "{text}");
    let text = with(&|m| m.tokenizer.as_mut().unwrap().bytes = u64::MAX);
    assert!(text.contains("tokenizer.json is said to have"), "{text}");
    let text = with(&|m| _ = m.benchmarks.remove("quiz"));
    assert!(text.contains("benchmark-quiz.jsonl lies in the dataset's folder"), "{text}");
    let text = with(&|m| {
        let quiz = m.benchmarks.remove("quiz").unwrap();
        m.benchmarks.insert("../quiz".into(), quiz);
    });
    assert!(text.contains("\"../quiz\" is no name of a benchmark"), "{text}");
    // A file that is what the manifest says, and no task.
    let bytes = b"{\"context\":1}";
    fs::write(out.join("benchmark-quiz.jsonl"), bytes).unwrap();
    let text = with(&|m| {
        let quiz = m.benchmarks.get_mut("quiz").unwrap();
        (quiz.sha256, quiz.bytes) = (Digest::of(bytes), bytes.len() as u64);
    });
    assert!(text.contains("benchmark-quiz.jsonl: line 1: it is no question"), "{text}");
}

#[test]
fn a_count_of_tokens_that_is_wrong_is_found_when_the_document_is_cut() {
    let (_folder, out) = prepared_with(with_all);
    let mut manifest = read_manifest(&out).unwrap();
    let part = manifest.splits.get_mut(&Split::Test).unwrap();
    let path = out.join(&part.shards[0].path);
    let text = fs::read_to_string(&path).unwrap();
    let at = text.find("\"prism_tokens\":").unwrap() + 15;
    let old: String = text[at..].chars().take_while(char::is_ascii_digit).collect();
    let text = text.replacen(&format!("\"prism_tokens\":{old}"), &format!("\"prism_tokens\":{old}1"), 1);
    fs::write(&path, &text).unwrap();
    let more = old.parse::<u64>().unwrap() * 9 + 1;
    part.tokens = part.tokens.map(|tokens| tokens + more);
    let shard = &mut part.shards[0];
    (shard.sha256, shard.bytes) = (Digest::of(text.as_bytes()), text.len() as u64);
    shard.tokens = shard.tokens.map(|tokens| tokens + more);
    fs::write(out.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
    let (corpus, _) = open(&out, Limits::default()).unwrap();
    let error = corpus.check_tokens().unwrap_err().to_string();
    assert!(error.ends_with(&format!("has {old} tokens, its record says {old}1")), "{error}");
}

/// Of a dataset in a folder, where an index alone is in memory, and of the same documents in memory.
#[test]
fn rows_of_shards_are_those_of_the_same_text_in_memory() {
    let (_folder, out) = prepared();
    let (corpus, _) = open(&out, Limits::default()).unwrap();
    let documents = corpus.documents().map(|document| document.unwrap());
    let lines = documents.map(|d| serde_json::json!({ "id": d.id, "text": d.text }).to_string() + "\n");
    let held = Arc::new(Corpus::read(lines.collect::<String>().as_bytes(), Limits::default()).unwrap());
    let corpus = Arc::new(corpus);
    assert_eq!(held.fingerprint(), corpus.fingerprint());
    let task = crate::measure::tasks::task(&held);
    for resumes in [vec![], vec![Resume { attempt: 2, step: 5 }]] {
        let dealer = |corpus| Dealer::resumed(corpus, &task, &resumes).unwrap();
        let (mut a, mut b) = (dealer(&held), dealer(&corpus));
        assert_eq!(a.upcoming(6).unwrap(), b.upcoming(6).unwrap());
        assert_eq!(a.training(200).unwrap(), b.training(200).unwrap());
        assert_eq!(a.held_out(5).unwrap(), b.held_out(5).unwrap());
        let decoys = |dealer: &Dealer| dealer.decoys(5, &mut task.seed.draws()).unwrap();
        assert_eq!(decoys(&a), decoys(&b));
    }
}

#[test]
fn a_shard_that_changes_under_a_run_ends_it() {
    let (_folder, out) = prepared();
    let (corpus, _) = open(&out, Limits::default()).unwrap();
    let corpus = Arc::new(corpus);
    let mut dealer = Dealer::new(&corpus, &crate::measure::tasks::task(&corpus)).unwrap();
    dealer.training(50).unwrap();
    let shard = out.join("train-00000.jsonl");
    let text = fs::read_to_string(&shard).unwrap();
    fs::write(&shard, text.replace(" the ", " eht ")).unwrap();
    let error = dealer.training(500).unwrap_err();
    assert!(error.to_string().starts_with("train-00000.jsonl was changed after it was verified"), "{error}");
    assert_eq!(Error::from(error).kind(), Kind::Corrupt);
    fs::write(&shard, b"").unwrap();
    assert!(dealer.training(500).is_err());
}

/// Rewrites a shard, and the manifest so that it agrees.
fn forge(out: &Path, split: Split, change: impl Fn(Vec<String>) -> Vec<String>) {
    let mut manifest = read_manifest(out).unwrap();
    let shard = &mut manifest.splits.get_mut(&split).unwrap().shards[0];
    let path = out.join(&shard.path);
    let lines = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    let text = change(lines).join("\n") + "\n";
    (shard.sha256, shard.bytes) = (Digest::of(text.as_bytes()), text.len() as u64);
    fs::write(&path, text).unwrap();
    fs::write(out.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
}

#[test]
fn a_shard_that_breaks_a_rule_is_refused_with_its_line_whatever_its_digest() {
    let forged = |additions: bool, change: fn(&mut Vec<String>)| {
        let (_folder, out) = prepared_with(|folder| if additions { with_all(folder) } else { Additions::default() });
        forge(&out, Split::Validation, |mut lines| {
            change(&mut lines);
            lines
        });
        refused(&out)
    };
    let text = forged(false, |lines| lines[2] = "{".into());
    assert!(text.contains("validation-00000.jsonl: corpus line 3 is no record"), "{text}");
    let text = forged(false, |lines| lines.swap(0, 1));
    assert!(text.contains("validation-00000.jsonl line 2: document") && text.contains("out of the order"), "{text}");
    let text = forged(false, |lines| lines[1].insert_str(1, "\"prism_tokens\":7,"));
    assert!(text.contains("line 2: document") && text.contains("has a count of tokens, and the dataset no"), "{text}");
    let text = forged(true, |lines| lines[1] = lines[1].replace("prism_tokens", "tokens"));
    assert!(text.contains("line 2: document") && text.contains("has no count of tokens"), "{text}");
    let text = forged(true, |lines| lines[1] = lines[1].replace("\"prism_tokens\":", "\"prism_tokens\":-"));
    assert!(text.contains("corpus line 2 is no record"), "{text}");
    let text = forged(false, |lines| drop(lines.pop()));
    assert!(text.contains("validation-00000.jsonl has 39 documents, the manifest says 40"), "{text}");
}
