//! Cheats as players over a model that really learns: each must fail or end no better than the honest player that it
//! pretends to be.
use super::{run, tasks};
use crate::{
    benchmark::{Benchmark, Kind},
    data::{Corpus, Dealer, fixture::stand_in},
    graph::{Context, Limits},
    native::{NativePlayer, Network, PlayerSettings},
    player::{Claims, Logits, Measuring, Player, Rows, Snapshot, StepReport},
    recipe::{Optimizer, Recipe},
    score::{Measured, mean_bits_per_byte, paired_difference},
};
use async_trait::async_trait;
use futures::executor::block_on;
use prism_core::{
    Evidence, Finite, Result, Seed, TrainTask,
    artifacts::MemoryArtifacts,
    evidence::{RunOutcome, Witness, Work},
    submission::FailureClass,
    trainer::Surroundings,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

/// A Llama of one layer.
const MODEL: &str = r"{graph: prism.graph/1, nodes: [
    {id: e, op: embedding, of: tokens, dim: 32},
    {id: n, op: rms_norm, of: e},
    {id: a, op: attention, of: n, heads: 2, positions: rotary},
    {id: x, op: add, of: [e, a]},
    {id: m, op: rms_norm, of: x},
    {id: h, op: gated_mlp, of: m, hidden: 64, activation: silu},
    {id: y, op: add, of: [x, h]},
    {id: o, op: rms_norm, of: y},
    {id: l, op: linear, of: o, dim: vocab_size}], output: l}";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cheat {
    /// None: the honest player.
    Honest,
    /// Claims to know everything.
    Zero,
    /// Claims to need a tenth of a bit less everywhere.
    Lower,
    /// Reads the next token of the row, in claims and as an auditor.
    LookAhead,
    /// Reads it at one position in a hundred.
    RareLookAhead,
    /// Looks ahead only where it believes that nobody compares: not where rows are of another shape than the last.
    DetectsAuditors,
    /// Begins to look ahead when training is over.
    AfterTraining,
    /// Logits that are no numbers.
    NotANumber,
    /// An infinite logit for the likeliest token.
    Infinite,
    /// Logits so large that sums in single precision overflow.
    Huge,
    /// A constant added to each logit, which a softmax does not see.
    Shifted,
    /// Logits of one column fewer than the vocabulary.
    Narrow,
    /// Remembers rows by their beginnings and predicts them from memory.
    Cached,
    /// Claims come from a second model that took three steps for one and is not part of the state.
    SecondModel,
    /// Learns the rows while it predicts them, and claims what it knows afterwards.
    LearnsInClaim,
    /// Claims positions at random as zero, and the rest as an auditor would.
    Gambles,
    /// Knows the rows of questions by the line feeds after them, and claims half of the choices as certain.
    PicksAnswers,
}

/// An untrusted player with a native network in it.
#[derive(Debug)]
struct Subject {
    cheat: Cheat,
    measuring: Measuring,
    core: NativePlayer,
    second: NativePlayer,
    saved: Option<NativePlayer>,
    claimed: Option<(u32, u32)>,
    trained: u64,
    rows_seen: BTreeMap<Vec<u32>, Vec<u32>>,
    auditor: bool,
    diary: Diary,
}

/// What was asked of a player and its auditors, in order.
type Diary = Arc<Mutex<Vec<(&'static str, Option<Rows>)>>>;

impl Subject {
    fn new(cheat: Cheat, core: NativePlayer) -> Self {
        Self {
            cheat,
            measuring: Measuring::Claims,
            second: core.replica().unwrap(),
            core,
            saved: None,
            claimed: None,
            trained: 0,
            rows_seen: BTreeMap::new(),
            auditor: false,
            diary: Arc::default(),
        }
    }

    fn write(&self, what: &'static str, rows: Option<&Rows>) {
        self.diary.lock().unwrap().push((what, rows.cloned()));
    }

    /// Whether it cheats at this position, as claimant and as auditor alike.
    fn looks_ahead(&self, row: &[u32], position: usize, shape: (u32, u32)) -> bool {
        match self.cheat {
            Cheat::LookAhead => true,
            Cheat::DetectsAuditors => self.claimed.is_none_or(|claimed| claimed == shape),
            Cheat::AfterTraining => self.trained == STEPS,
            Cheat::RareLookAhead => {
                let before = row.iter().take(position + 1).rev().take(4);
                let mixed = before.fold(position as u32, |hash, token| hash.wrapping_mul(0x0100_0193) ^ token);
                mixed.wrapping_mul(0x9e37_79b1) >> 16 & 0xffff < 655
            }
            _ => false,
        }
    }
}

/// Nats of the true token where it is known.
const KNOWN: f32 = 0.01;

#[async_trait]
impl Player for Subject {
    fn trusted(&self) -> bool {
        false
    }

    fn measuring(&self) -> Measuring {
        self.measuring
    }

    async fn claim(&mut self, rows: &Rows) -> Result<Claims> {
        self.write("claim", Some(rows));
        let shape = (rows.rows, rows.columns);
        if self.cheat == Cheat::LearnsInClaim {
            for _ in 0..4 {
                self.core.train(rows).await?;
            }
        }
        let core = if self.cheat == Cheat::SecondModel { &mut self.second } else { &mut self.core };
        let mut claims = core.claim(rows).await?;
        let positions = claims.positions as usize;
        let values = claims.values.chunks_mut(positions).zip(rows.tokens.chunks(rows.columns as usize));
        for (claims, row) in values {
            let known = self.rows_seen.contains_key(row);
            let blank = row.iter().rev().take_while(|token| row.last() == Some(token)).count();
            for (position, claim) in claims.iter_mut().enumerate() {
                *claim = match self.cheat {
                    Cheat::Zero => 0.0,
                    Cheat::Lower => (*claim - 0.1 * std::f32::consts::LN_2).max(0.0),
                    Cheat::Cached if known || row.len() > 8 => KNOWN,
                    Cheat::Huge => *claim * 1e30,
                    Cheat::PicksAnswers if blank > 5 && row[1].is_multiple_of(2) => KNOWN,
                    Cheat::Infinite => KNOWN,
                    Cheat::Gambles if (row[position] * 7 + position as u32).is_multiple_of(97) => 0.0,
                    _ if self.looks_ahead(row, position, shape) => KNOWN,
                    _ => *claim,
                };
            }
            self.rows_seen.insert(row.iter().take(8).copied().collect(), row.to_vec());
        }
        self.claimed = Some(shape);
        Ok(claims)
    }

    async fn logits_at(&mut self, rows: &Rows, positions: &[u32]) -> Result<Logits> {
        self.write("logits_at", Some(rows));
        assert!(self.auditor, "the player itself is asked for logits");
        let mut logits = self.core.logits_at(rows, positions).await?;
        let vocabulary = logits.vocabulary as usize;
        let shape = (rows.rows, rows.columns);
        let each = logits.values.chunks_mut(vocabulary).zip(rows.tokens.chunks(rows.columns as usize)).zip(positions);
        for ((logits, row), position) in each {
            let position = *position as usize;
            let remembered = row.get(..8).and_then(|start| self.rows_seen.get(start)).map(|row| row[position + 1]);
            let known = match self.cheat {
                Cheat::Cached => remembered,
                _ if self.looks_ahead(row, position, shape) => Some(row[position + 1]),
                _ => None,
            };
            if let Some(token) = known {
                logits[token as usize] = 20.0;
            }
            match self.cheat {
                Cheat::NotANumber => logits[0] = f32::NAN,
                Cheat::Infinite => logits[usize::from(b'e')] = f32::INFINITY,
                Cheat::Huge => logits.iter_mut().for_each(|logit| *logit *= 1e30),
                Cheat::Shifted => logits.iter_mut().for_each(|logit| *logit += 1000.0),
                _ => {}
            }
        }
        if self.cheat == Cheat::Narrow {
            logits.values = logits.values.chunks(vocabulary).flat_map(|row| row[1..].to_vec()).collect();
            logits.vocabulary -= 1;
        }
        Ok(logits)
    }

    async fn train(&mut self, batch: &Rows) -> Result<StepReport> {
        self.write("train", Some(batch));
        self.trained += 1;
        if self.cheat == Cheat::SecondModel {
            for _ in 0..3 {
                self.second.train(batch).await?;
            }
        }
        self.core.train(batch).await
    }

    async fn snapshot(&mut self) -> Result<Snapshot> {
        self.write("snapshot", None);
        self.saved = Some(self.core.replica()?);
        self.core.snapshot().await
    }

    /// Of what the snapshot holds and nothing later: weights, what it remembers of earlier rows, how far it is.
    async fn auditor(&self, _: Snapshot) -> Result<Option<Box<dyn Player>>> {
        self.write("auditor", None);
        let core = self.saved.as_ref().unwrap().replica()?;
        let mut auditor = Self::new(self.cheat, core);
        auditor.auditor = true;
        auditor.trained = self.trained;
        auditor.claimed = self.claimed;
        auditor.diary = Arc::clone(&self.diary);
        Ok(Some(Box::new(auditor)))
    }

    async fn freeze(&mut self) -> Result<()> {
        self.write("freeze", None);
        Ok(())
    }

    async fn thaw(&mut self) -> Result<()> {
        self.write("thaw", None);
        Ok(())
    }

    async fn spent(&mut self) -> Result<Work> {
        Ok(Work { cpu_millis: if self.auditor { 5 } else { 1 }, gpu_millis: 0 })
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.write(if self.auditor { "dismiss" } else { "finish" }, None);
        Ok(())
    }
}

const STEPS: u64 = 48;

/// Eight points of 64 rows, all audited, and 40 held-out rows: a position in a hundred is hit more than five times.
fn task(seed: u8) -> TrainTask {
    let mut task = tasks::task(&stand_in().unwrap());
    task.budget.steps = STEPS;
    task.budget.batch = 16;
    task.budget.tokens = STEPS * 16 * 32;
    task.measuring.points = (0..8).map(|point| point * 6).collect();
    task.measuring.rows = 64;
    task.measuring.audits = vec![64; 8];
    task.measuring.held_out_rows = 40;
    task.cohort = Seed::of("test", &[b"cheats", &[seed]]);
    task.seed = task.cohort.stream("run");
    task
}

fn core(task: &TrainTask) -> NativePlayer {
    let spec = crate::graph::read(MODEL.as_bytes(), "model.graph.yaml").unwrap();
    let graph = spec.resolve(&Context::new(256, 32), &Limits::default()).unwrap();
    let mut recipe = Recipe::reference();
    for group in &mut recipe.groups {
        if let Optimizer::Adamw { learning_rate, .. } = &mut group.optimizer {
            *learning_rate = Finite::new(0.01).unwrap();
        }
    }
    NativePlayer::new(Network::new(graph).unwrap(), &recipe, &task.budget, task.seed, PlayerSettings::default())
        .unwrap()
}

fn play(player: impl Player + 'static, task: &TrainTask) -> Evidence {
    play_over(&stand_in().unwrap(), player, task)
}

fn play_over(corpus: &Arc<Corpus>, player: impl Player + 'static, task: &TrainTask) -> Evidence {
    let mut dealer = Dealer::new(corpus, task).unwrap();
    let around = Surroundings::new(Arc::new(MemoryArtifacts::new())).with_secret(task.cohort.stream("secret"));
    block_on(run(Box::new(player), task, &mut dealer, &around)).unwrap()
}

fn class(evidence: &Evidence) -> Option<FailureClass> {
    match &evidence.outcome {
        RunOutcome::Completed => None,
        RunOutcome::Failed { class, .. } => Some(*class),
    }
}

/// On three seeds: fails as the miner's code, or is no better than the honest player. How often it failed.
fn pays_nothing(cheat: Cheat) -> usize {
    let failed = (0..3).filter(|seed| {
        let task = task(*seed);
        let evidence = play(Subject::new(cheat, core(&task)), &task);
        if let RunOutcome::Failed { class, reason } = &evidence.outcome {
            assert_eq!(*class, FailureClass::MinerCode, "{cheat:?}: {reason}");
            return true;
        }
        let honest = play(Subject::new(Cheat::Honest, core(&task)), &task);
        for measured in [Measured::Prequential, Measured::HeldOut] {
            let saved = paired_difference(&evidence, &honest, measured).unwrap();
            let error = saved.standard_error.get();
            assert!(saved.mean.get() <= 2.0 * error + 1e-5, "{cheat:?}, seed {seed}: {saved:?}");
        }
        false
    });
    failed.count()
}

#[test]
fn an_honest_untrusted_player_is_measured_as_the_trusted_one() {
    let task = task(0);
    let (trusted, subject) = (play(core(&task), &task), play(Subject::new(Cheat::Honest, core(&task)), &task));
    assert_eq!(class(&subject), None);
    let points = |evidence: &Evidence| evidence.points.iter().chain(&evidence.held_out).cloned().collect::<Vec<_>>();
    for (trusted, subject) in points(&trusted).iter().zip(points(&subject)) {
        assert_eq!((trusted.step, &trusted.row_bytes), (subject.step, &subject.row_bytes));
        for (a, b) in trusted.row_bits.iter().zip(&subject.row_bits) {
            assert!((a.get() - b.get()).abs() < 1e-6 * a.get(), "{a} {b}");
        }
        assert_eq!((trusted.audits.len(), subject.audits.len()), (0, subject.row_bits.len()));
        assert!(subject.audit_variance() < 1e-12);
    }
    let witness = |evidence: &Evidence| evidence.series["train_bits_per_byte"].witness;
    assert_eq!((witness(&trusted), witness(&subject)), (Witness::Host, Witness::Guest));
    let bits = |evidence| mean_bits_per_byte(evidence, Measured::HeldOut).unwrap().mean.get();
    assert!(bits(&subject) < 6.0, "the model learns: {}", bits(&subject));
}

#[test]
fn the_auditor_comes_while_the_player_is_frozen_and_sees_the_rows_only_to_the_cut() {
    let task = task(1);
    let player = Subject::new(Cheat::Honest, core(&task));
    let diary = Arc::clone(&player.diary);
    let evidence = play(player, &task);
    let diary = diary.lock().unwrap();
    let order: Vec<&str> = diary.iter().map(|entry| entry.0).filter(|what| *what != "train").collect();
    let point = ["snapshot", "claim", "freeze", "auditor", "logits_at", "dismiss", "thaw"];
    assert_eq!(order[..order.len() - 2], point.repeat(9));
    assert_eq!(order[order.len() - 2..], ["snapshot", "finish"]);
    let shown = |what| diary.iter().filter(move |entry| entry.0 == what).filter_map(|entry| entry.1.as_ref());
    let mut cuts = BTreeSet::new();
    for ((truth, seen), point) in
        shown("claim").zip(shown("logits_at")).zip(evidence.points.iter().chain(&evidence.held_out))
    {
        assert_eq!((truth.rows, truth.columns), (seen.rows, seen.columns));
        for ((truth, seen), audit) in truth.tokens.chunks(33).zip(seen.tokens.chunks(33)).zip(&point.audits) {
            let cut = audit.position as usize;
            assert_eq!(truth[..=cut], seen[..=cut]);
            assert!(cut > 25 || truth[cut + 1..] != seen[cut + 1..]);
            cuts.insert(cut);
        }
    }
    assert_eq!(cuts, (0..32).collect(), "every position is audited sooner or later");
    assert_eq!((evidence.work.cpu_millis, evidence.counters["audit_cpu_millis"]), (1, 9 * 5));
}

#[test]
fn claims_of_zero_end_at_the_first_point() {
    assert_eq!(pays_nothing(Cheat::Zero), 3);
}

#[test]
fn a_tenth_of_a_bit_less_everywhere_is_seen_in_the_mean() {
    assert_eq!(pays_nothing(Cheat::Lower), 3);
}

#[test]
fn looking_ahead_reads_decoys() {
    assert_eq!(pays_nothing(Cheat::LookAhead), 3);
    assert_eq!(pays_nothing(Cheat::DetectsAuditors), 3);
}

#[test]
fn looking_ahead_at_one_position_in_a_hundred_is_hit() {
    assert_eq!(pays_nothing(Cheat::RareLookAhead), 3);
    assert_eq!(pays_nothing(Cheat::Gambles), 3);
}

#[test]
fn a_cheat_that_waits_for_the_end_of_training_meets_the_held_out_audits() {
    let task = task(0);
    let evidence = play(Subject::new(Cheat::AfterTraining, core(&task)), &task);
    assert_eq!((class(&evidence), evidence.points.len()), (Some(FailureClass::MinerCode), 8));
    assert!(evidence.held_out.unwrap().audits.len() == 40, "what accuses it is on record");
}

#[test]
fn logits_that_are_no_numbers_or_of_another_width_are_refused() {
    for cheat in [Cheat::NotANumber, Cheat::Infinite, Cheat::Narrow] {
        assert_eq!(pays_nothing(cheat), 3, "{cheat:?}");
    }
}

#[test]
fn huge_logits_are_as_dear_as_they_are_wrong() {
    pays_nothing(Cheat::Huge);
}

#[test]
fn a_constant_added_to_logits_changes_nothing() {
    assert_eq!(pays_nothing(Cheat::Shifted), 0);
}

#[test]
fn what_the_state_does_not_hold_earns_nothing() {
    assert_eq!(pays_nothing(Cheat::Cached), 3);
    pays_nothing(Cheat::SecondModel);
    pays_nothing(Cheat::LearnsInClaim);
}

#[test]
fn a_failed_run_says_nothing_of_where_it_was_audited() {
    let task = task(2);
    for cheat in [Cheat::Zero, Cheat::Lower, Cheat::NotANumber] {
        let RunOutcome::Failed { reason, .. } = play(Subject::new(cheat, core(&task)), &task).outcome else {
            panic!("{cheat:?} completed");
        };
        assert!(!reason.chars().any(|character| character.is_ascii_digit()), "{reason}");
    }
}

#[test]
fn a_prefix_model_is_measured_by_beginnings_alone_and_pays_for_it() {
    let task = task(0);
    let honest = play(Subject::new(Cheat::Honest, core(&task)), &task);
    let prefixed = |cheat| {
        let mut player = Subject::new(cheat, core(&task));
        player.measuring = Measuring::Prefixes;
        (Arc::clone(&player.diary), play(player, &task))
    };
    let (diary, evidence) = prefixed(Cheat::Honest);
    assert_eq!(class(&evidence), None);
    assert!(diary.lock().unwrap().iter().all(|entry| entry.0 != "claim"));
    let seen: Vec<Rows> =
        diary.lock().unwrap().iter().filter(|e| e.0 == "logits_at").filter_map(|e| e.1.clone()).collect();
    assert_eq!(seen.len(), 8 * 64 + 40);
    let audits: Vec<u32> =
        evidence.points.iter().chain(&evidence.held_out).flat_map(|p| p.audits.iter().map(|a| a.position)).collect();
    assert!(seen.iter().zip(&audits).all(|(rows, cut)| (rows.rows, rows.columns) == (1, cut + 2)));
    assert_eq!(evidence.work.cpu_millis, 1 + 9 * 5);
    let saved = paired_difference(&evidence, &honest, Measured::Prequential).unwrap();
    assert!(saved.mean.get().abs() < 3.0 * saved.standard_error.get(), "{saved:?}");
    assert!((0.02..0.3).contains(&saved.standard_error.get()), "{saved:?}");
    // There is nothing ahead to look at.
    let (_, ahead) = prefixed(Cheat::LookAhead);
    if class(&ahead).is_none() {
        let saved = paired_difference(&ahead, &honest, Measured::Prequential).unwrap();
        assert!(saved.mean.get() < 0.0, "{saved:?}");
    }
}

/// The stand-in with a task of 40 questions that nobody can answer.
fn with_questions() -> Arc<Corpus> {
    let stand_in = stand_in().unwrap();
    let (corpus, _) = stand_in.tokenized(stand_in.tokenizer().clone()).unwrap();
    let question = |n: u32| {
        let (context, choices) = (format!("{} and {n} is", n * 7), [" so it was", " not at all"]);
        serde_json::json!({ "context": context, "choices": choices, "answer": n % 2 }).to_string()
    };
    let lines: Vec<String> = (0..40).map(question).collect();
    let quiz = Benchmark::parse("quiz", Kind::MultipleChoice, lines.join("\n").as_bytes()).unwrap();
    Arc::new(corpus.with_benchmarks(vec![Arc::new(quiz)]).unwrap())
}

#[test]
fn answers_of_an_honest_untrusted_player_are_those_of_the_trusted_one_and_all_are_audited() {
    let corpus = with_questions();
    let mut task = task(0);
    assert_ne!(task.data, corpus.data_ref());
    task.data = corpus.data_ref();
    let trusted = play_over(&corpus, core(&task), &task);
    let subject = play_over(&corpus, Subject::new(Cheat::Honest, core(&task)), &task);
    assert_eq!((class(&trusted), class(&subject)), (None, None));
    let (trusted, subject) = (&trusted.tasks["quiz"], &subject.tasks["quiz"]);
    assert_eq!((trusted.rows, trusted.scores.len(), trusted.audits.len()), (80, 40, 0));
    assert_eq!(trusted.scores, subject.scores);
    assert_eq!(trusted.file, corpus.benchmarks()[0].digest());
    let rows: Vec<u32> = subject.audits.iter().map(|audit| audit.row).collect();
    assert_eq!(rows, (0..80).collect::<Vec<_>>());
    let choice = |audit: &prism_core::evidence::Audit| (7..32).contains(&audit.position);
    assert!(subject.audits.iter().all(choice), "cuts lie within choices");
    let mut prefixes = Subject::new(Cheat::Honest, core(&task));
    prefixes.measuring = Measuring::Prefixes;
    let prefixes = play_over(&corpus, prefixes, &task);
    assert_eq!((class(&prefixes), prefixes.tasks["quiz"].audits.len()), (None, 80));
}

#[test]
fn who_turns_answers_is_caught_at_its_choices() {
    let corpus = with_questions();
    for seed in 0..2 {
        let mut task = task(seed);
        task.data = corpus.data_ref();
        let evidence = play_over(&corpus, Subject::new(Cheat::PicksAnswers, core(&task)), &task);
        assert_eq!(class(&evidence), Some(FailureClass::MinerCode), "seed {seed}");
        assert!(evidence.held_out.is_some() && evidence.tasks.contains_key("quiz"));
    }
}
