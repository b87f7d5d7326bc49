//! Copies, renamed copies, variants and strangers, by the rule.
use super::*;
use crate::{
    bundle,
    examination::Examination,
    graph::{Context, GraphSpec, Limits, baselines},
    policy::DuplicateNumbers,
};
use prism_core::{Block, Evidence, FamilyId, Finite, Hotkey, SubmissionId, submission::Precedence, testing::sample};
use proptest::prelude::*;
use std::collections::BTreeMap;

const ALICE: Hotkey = Hotkey([1; 32]);
const BOB: Hotkey = Hotkey([2; 32]);
const CAROL: Hotkey = Hotkey([3; 32]);

const MODEL: &str = include_str!("../../../examples/bundles/python-min-gru/src/model.py");
const TRAINING: &str = include_str!("../../../examples/bundles/python-min-gru/src/train.py");

fn full(model: &str, training: &str) -> Examination {
    let manifest = "kind: full\narchitecture: { entrypoint: model.py }\ntraining: { entrypoint: train.py }\n";
    examine(&[("prism.yaml", manifest), ("model.py", model), ("train.py", training)])
}

fn native(graph: &str, recipe: Option<&str>) -> Examination {
    let manifest = match recipe {
        Some(_) => {
            "kind: full\narchitecture: { entrypoint: model.graph.yaml }\ntraining: { entrypoint: recipe.yaml }\n"
        }
        None => "kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n",
    };
    let recipe =
        recipe.map(|rate| format!("recipe: prism.recipe/1\noptimizer: {{ kind: adamw, learning_rate: {rate} }}\n"));
    let files = [("prism.yaml", manifest), ("model.graph.yaml", graph)];
    let recipe = recipe.as_deref().map(|text| ("recipe.yaml", text));
    examine(&files.into_iter().chain(recipe).collect::<Vec<_>>())
}

fn examine(files: &[(&str, &str)]) -> Examination {
    let files: BTreeMap<String, String> = files.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Examination::of(&bundle::pack(&files).unwrap(), &Context::new(256, 64), &Limits::default()).unwrap()
}

fn print(examination: &Examination) -> Fingerprint {
    Fingerprint::of(examination, examination.family().unwrap()).unwrap()
}

fn place(hotkey: Hotkey, extrinsic: u32) -> Precedence {
    Precedence { block: Block(5), extrinsic, hotkey, local: true }
}

fn id(extrinsic: u32) -> SubmissionId {
    SubmissionId::of_parts("test", &[&extrinsic.to_le_bytes()])
}

/// A little history, oldest first; whoever has no hotkey published.
#[derive(Default)]
struct History {
    entries: Vec<Entry>,
    next: u32,
}

impl History {
    fn with(mut self, hotkey: Option<Hotkey>, examination: &Examination) -> Self {
        let fingerprint = print(examination);
        let precedence = place(hotkey.unwrap_or(Hotkey([0; 32])), self.next);
        self.entries.extend(fingerprint.parts.iter().map(|part| Entry {
            submission: id(self.next),
            hotkey,
            family: fingerprint.family,
            precedence,
            part: part.part,
            work: fingerprint.work,
            structure: part.structure,
            sketch: part.sketch.as_ref().map(Sketch::compact),
        }));
        self.next += 1;
        self
    }

    fn report(&self, hotkey: Hotkey, examination: &Examination) -> DuplicateReport {
        let fingerprint = print(examination);
        let subject = Subject { submission: id(900), precedence: place(hotkey, 900), fingerprint: &fingerprint };
        let report = report(&subject, &self.entries, &DuplicateNumbers::default());
        assert_eq!(DuplicateReport::from_json(&report.to_json()).unwrap(), report);
        report
    }

    fn says(&self, hotkey: Hotkey, examination: &Examination) -> (Grade, Action) {
        let report = self.report(hotkey, examination);
        (report.grade, report.action)
    }
}

fn replaced(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

fn renamed() -> String {
    replaced(MODEL, &[("MinGRU", "Fast"), ("self.table", "self.words"), ("kernel", "taps")])
}

/// The table of what the first versions got wrong, turned round.
#[test]
fn a_copy_attaches_honest_tuning_is_free_and_a_renamed_copy_is_the_same_family() {
    let original = full(MODEL, TRAINING);
    let history = History::default().with(Some(ALICE), &original);
    assert_eq!(history.says(BOB, &original), (Grade::Exact, Action::Attach));
    let commented = full(&format!("# mine\n{MODEL}"), TRAINING);
    assert_eq!(history.says(BOB, &commented), (Grade::Exact, Action::Attach));
    let copy = full(&renamed(), TRAINING);
    assert_ne!(copy.bundle.files(), original.bundle.files());
    assert_eq!(history.says(BOB, &copy), (Grade::Exact, Action::Attach));
    assert_eq!(history.report(BOB, &copy).family, original.family());

    // The same miner tunes: nothing stands against it, though it is very much alike.
    let tuned = full(MODEL, &replaced(TRAINING, &[("0.9", "0.95")]));
    assert_eq!(history.says(ALICE, &tuned), (Grade::None, Action::Allow));
    let report = history.report(ALICE, &tuned);
    assert_eq!(report.closest[0].without_consequence, Some(super::report::Excuse::Own));
    assert_eq!(history.says(ALICE, &original), (Grade::None, Action::Allow));

    // Another loop for the same architecture belongs to its family, and is measured.
    let looped = full(
        MODEL,
        "def train_step(model, batch, optimizer, ctx):\n    loss = model(batch.tokens).mean()\n    loss.backward()\n    optimizer.step()\n    return loss\n",
    );
    assert_eq!(history.says(BOB, &looped), (Grade::Structural, Action::Attach));
}

#[test]
fn a_report_holds_nothing_of_anybodys_source() {
    let history = History::default().with(Some(ALICE), &full(MODEL, TRAINING));
    let text = history.report(BOB, &full(&renamed(), TRAINING)).to_json();
    for word in ["MinGRU", "Fast", "model.py", "def ", "import"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

#[test]
fn who_came_later_copied_nothing() {
    let original = full(MODEL, TRAINING);
    let fingerprint = print(&original);
    let mut history = History::default().with(Some(BOB), &original);
    history.entries.iter_mut().for_each(|entry| entry.precedence = place(BOB, 901));
    let subject = Subject { submission: id(900), precedence: place(ALICE, 900), fingerprint: &fingerprint };
    let report = report(&subject, &history.entries, &DuplicateNumbers::default());
    assert_eq!((report.grade, report.closest.len()), (Grade::None, 0));
}

fn llama() -> &'static str {
    baselines::document("llama").unwrap()
}

/// A miner's architecture that no published one resembles.
pub(super) const RECURRENT: &str = include_str!("gated_shift.graph.yaml");

#[test]
fn a_trivial_variant_of_a_declared_architecture_is_near_and_another_one_is_not() {
    let history = History::default().with(None, &native(llama(), None)).with(Some(ALICE), &native(RECURRENT, None));
    let says = |changes: &[(&str, &str)]| history.says(BOB, &native(&replaced(RECURRENT, changes), None));
    assert_eq!(says(&[("hidden: 128", "hidden: 192")]), (Grade::Near, Action::Attribute));
    assert_eq!(says(&[("times: 2", "times: 3")]), (Grade::Near, Action::Attribute));
    let names = replaced(RECURRENT, &[("kept", "held"), ("table", "words")]);
    assert_eq!(history.says(BOB, &native(&names, None)), (Grade::Exact, Action::Attach));
    let gpt = native(baselines::document("gpt").unwrap(), None);
    assert_eq!(history.says(BOB, &gpt), (Grade::None, Action::Allow));
}

#[test]
fn what_lies_in_the_band_is_held_unless_it_is_nobodys_or_ones_own() {
    let changes = [("id: final_norm, op: rms_norm", "id: final_norm, op: layer_norm")];
    let original = native(RECURRENT, None);
    let variant = native(&replaced(RECURRENT, &changes), None);
    let history = History::default().with(Some(ALICE), &original);
    let first = history.report(BOB, &variant);
    let similarity = first.closest.first().map(|one| one.similarity.get());
    assert_eq!((first.grade, first.action), (Grade::Borderline, Action::Hold), "{similarity:?}");
    assert_eq!(first.family, original.family());
    assert_eq!(history.says(ALICE, &variant), (Grade::None, Action::Allow));
    // Published: nobody's.
    let published = History::default().with(None, &original);
    assert_eq!(published.says(BOB, &variant), (Grade::Borderline, Action::Attribute));
    // Both took it from what is published.
    let both = History::default().with(None, &original).with(Some(ALICE), &original);
    assert_eq!(both.says(BOB, &variant).1, Action::Attribute);
    // Bob had it before Alice made something like it: what he sends now is his own.
    let before = History::default().with(Some(BOB), &original).with(Some(ALICE), &variant);
    let later = native(&replaced(RECURRENT, &[changes[0], ("hidden: 128", "hidden: 192")]), None);
    assert_eq!(before.says(BOB, &later), (Grade::None, Action::Allow));
    assert_eq!(before.says(CAROL, &later), (Grade::Near, Action::Attribute));
    // An operator who wants no holds gets the report all the same.
    let fingerprint = print(&variant);
    let subject = Subject { submission: id(900), precedence: place(BOB, 900), fingerprint: &fingerprint };
    let numbers = DuplicateNumbers { hold: Finite::ZERO, ..DuplicateNumbers::default() };
    let report = super::report(&subject, &history.entries, &numbers);
    assert_eq!((report.grade, report.action), (Grade::Borderline, Action::Attribute));
}

#[test]
fn what_is_merely_alike_excuses_no_copy() {
    let original = native(RECURRENT, None);
    let variant =
        native(&replaced(RECURRENT, &[("id: final_norm, op: rms_norm", "id: final_norm, op: layer_norm")]), None);
    let wider = native(&replaced(RECURRENT, &[("hidden: 128", "hidden: 192")]), None);
    // Bob had something like it before Alice made it, and then sends hers.
    let own = History::default().with(Some(BOB), &original).with(Some(ALICE), &variant);
    let report = own.report(BOB, &variant);
    assert_eq!((report.grade, report.action, report.family), (Grade::Exact, Action::Attach, variant.family()));
    // Another size of a published architecture is as alike to it as can be, and Alice's all the same.
    let published = History::default().with(None, &original).with(Some(ALICE), &wider);
    let report = published.report(BOB, &wider);
    assert_eq!((report.grade, report.action, report.closest[0].hotkey), (Grade::Exact, Action::Attach, Some(ALICE)));
    assert_eq!((report.closest[1].hotkey, report.closest[1].similarity), (None, Finite::ONE));
    // His own exact work, and what is published, excuse what equals them.
    let before = History::default().with(Some(BOB), &variant).with(Some(ALICE), &variant);
    assert_eq!(before.says(BOB, &variant), (Grade::None, Action::Allow));
    let public = History::default().with(None, &wider).with(Some(ALICE), &wider);
    assert_eq!(public.report(BOB, &wider).closest[0].hotkey, None);
}

#[test]
fn a_tune_is_near_ones_own_in_what_has_to_be_looked_at() {
    let original = native(RECURRENT, None);
    let changed = replaced(RECURRENT, &[("id: final_norm, op: rms_norm", "id: final_norm, op: layer_norm")]);
    let (cleared, tune) = (native(&changed, None), native(&changed, Some("0.003")));
    let other = native(llama(), Some("0.003"));
    let history = History::default().with(Some(ALICE), &original).with(Some(BOB), &cleared).with(Some(BOB), &other);
    let of = |hotkey, examination: &Examination| {
        let fingerprint = print(examination);
        let subject = Subject { submission: id(900), precedence: place(hotkey, 900), fingerprint: &fingerprint };
        tuned(&subject, &history.entries, &DuplicateNumbers::default())
    };
    assert_eq!(history.says(BOB, &tune), (Grade::Borderline, Action::Hold));
    assert_eq!(of(BOB, &tune), [id(1)], "not what has the same recipe only");
    assert_eq!(of(CAROL, &tune), []);
    assert_eq!(of(BOB, &native(llama(), None)), [], "nothing has to be looked at");
}

#[test]
fn declared_recipes_are_compared_within_a_family_and_never_held() {
    let history = History::default().with(Some(ALICE), &native(RECURRENT, Some("0.003")));
    let same = native(RECURRENT, Some("0.003"));
    assert_eq!(history.says(BOB, &same), (Grade::Exact, Action::Attach));
    let faster = native(RECURRENT, Some("0.03"));
    assert_eq!(history.says(BOB, &faster), (Grade::Structural, Action::Attach));
    // The same dozen numbers for another architecture are no reason to stop anybody.
    let (grade, action) = history.says(BOB, &native(llama(), Some("0.003")));
    assert_eq!((grade, action), (Grade::Near, Action::Attribute));
    let slightly = native(llama(), Some("0.01"));
    assert_ne!(history.says(BOB, &slightly).1, Action::Hold);
}

#[test]
fn honest_examples_are_not_held_for_each_other() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/bundles/");
    let read = |name: &str| std::fs::read_to_string(format!("{folder}{name}")).unwrap();
    let manifest = "kind: full\narchitecture: { entrypoint: model.py }\n";
    let single = |text: &str| examine(&[("prism.yaml", manifest), ("model.py", text)]);
    let gpt = single(&read("python-gpt/model.py"));
    let gru = full(MODEL, TRAINING);
    let baseline = single(crate::guest::baselines::source("gpt-python").unwrap());
    let history = History::default().with(None, &baseline).with(Some(ALICE), &gpt);
    let gru_report = history.report(BOB, &gru);
    assert_ne!(gru_report.action, Action::Hold, "{gru_report:?}");
    let history = History::default().with(None, &baseline).with(Some(CAROL), &gru);
    let gpt_report = history.report(BOB, &gpt);
    assert_ne!(gpt_report.action, Action::Hold, "{gpt_report:?}");
}

#[test]
fn losses_of_one_model_under_two_seeds_go_together_and_a_reports_schema_is_checked() {
    let report = History::default().report(ALICE, &native(llama(), None));
    assert_eq!((report.grade, report.family, report.closest.len()), (Grade::None, None, 0));
    let other = report.to_json().replace("duplicate_report.v1", "duplicate_report.v2");
    assert_eq!(DuplicateReport::from_json(&other), Err(ReportError::Schema("duplicate_report.v2".into())));
    let more = report.to_json().replacen('{', "{\"source\":\"x\",", 1);
    assert!(matches!(DuplicateReport::from_json(&more), Err(ReportError::Form(_))));

    let run = |f: &dyn Fn(f64) -> f64| -> Evidence {
        let mut task = sample::task();
        task.measuring.rows = 32;
        let mut evidence = sample::evidence(&task, 4.0);
        let mut row = 0.0;
        for bits in evidence.points.iter_mut().flat_map(|point| &mut point.row_bits) {
            row += 1.0;
            *bits = Finite::new(30.0 + f(row)).unwrap();
        }
        evidence
    };
    let base = [run(&|_| 0.0)];
    let (one, twin) = ([run(&|n| (n * 1.7).sin())], [run(&|n| (n * 1.7).sin() + 0.1 * (n * 9.1).cos())]);
    let stranger = [run(&|n| (n * 0.9).cos())];
    let alike = likeness(&one, &twin, &base).unwrap();
    assert!(alike.correlation.get() > 0.9 && alike.rows >= 16, "{alike:?}");
    let unlike = likeness(&one, &stranger, &base).unwrap();
    assert!(unlike.correlation.get().abs() < 0.5, "{unlike:?}");
    assert_eq!(likeness(&one, &[], &base), None);
    assert_eq!(likeness(&base, &one, &base), None, "the baseline differs from itself by nothing");
}

#[test]
fn a_variant_in_python_is_near_and_another_model_for_the_same_contract_is_far() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/bundles/");
    let gpt = std::fs::read_to_string(format!("{folder}python-gpt/model.py")).unwrap();
    let sketch = |model: &str| print(&full(model, TRAINING)).parts[0].sketch.clone().unwrap();
    let original = sketch(MODEL);
    let figures = [
        ("another number", replaced(MODEL, &[("kernel=4", "kernel=8")])),
        (
            "one more norm",
            replaced(MODEL, &[("x = self.table(tokens)", "x = F.layer_norm(self.table(tokens), (64,))")]),
        ),
        ("another activation", replaced(MODEL, &[("F.silu", "F.gelu")])),
        ("no convolution", replaced(MODEL, &[("x = F.silu(self.convolution(late)).transpose(1, 2)", "x = F.silu(x)")])),
        ("a GPT", gpt),
    ]
    .map(|(name, text)| (name, original.similarity(&sketch(&text))));
    let of = |name: &str| figures.iter().find(|(one, _)| *one == name).unwrap().1;
    assert_eq!(of("another number"), 1.0);
    assert!(of("one more norm") > 0.8 && of("another activation") > 0.8, "{figures:?}");
    assert!(of("no convolution") > 0.65 && of("a GPT") < 0.5, "{figures:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn names_leave_no_trace_in_a_fingerprint(suffix in "[a-z]{1,8}", at in 0_usize..6) {
        let ids = ["table", "before", "kept", "mixed", "transformed", "blocks"];
        let declared = RECURRENT.replace(ids[at], &format!("{}_{suffix}", ids[at]));
        prop_assert_eq!(print(&native(RECURRENT, None)), print(&native(&declared, None)));
        let code = MODEL.replace("MinGRU", &format!("Z{suffix}"));
        prop_assert_eq!(print(&full(MODEL, TRAINING)), print(&full(&code, TRAINING)));
    }

    #[test]
    fn a_fingerprint_is_found_under_its_own_keys(rate in 0.0001_f64..0.9) {
        let one = print(&native(RECURRENT, Some(&format!("{rate:.6}"))));
        for part in &one.parts {
            prop_assert_eq!(one.keys(part), one.keys(part));
            prop_assert!(one.keys(part).iter().all(|key| *key < 1 << 47));
        }
        let keys: std::collections::BTreeSet<u64> = one.parts.iter().flat_map(|part| one.keys(part)).collect();
        prop_assert_eq!(keys.len(), 2 * 27);
    }
}

#[test]
fn every_published_architecture_has_a_fingerprint() {
    for name in baselines::NAMES {
        let spec = GraphSpec::read(baselines::document(name).unwrap().as_bytes(), "b.graph.yaml").unwrap();
        let graph = spec.resolve(&Context::new(256, 64), &Limits::default()).unwrap();
        let print = Fingerprint::of_graph(&graph);
        assert!(print.parts[0].sketch.is_some(), "{name}");
    }
    let (part, family) = crate::guest::baselines::architecture("gpt-python").unwrap().unwrap();
    let published = Fingerprint::of_code(&part, family).unwrap();
    assert_eq!(published.family, FamilyId(published.parts[0].structure.0));
    let source = crate::guest::baselines::source("gpt-python").unwrap();
    let manifest = "kind: architecture_only\narchitecture: { entrypoint: model.py }\n";
    let copy = print(&examine(&[("prism.yaml", manifest), ("model.py", source)]));
    assert_eq!(copy.parts[0].sketch, published.parts[0].sketch);
    assert_eq!(copy.work, published.work);
}
