//! The red team: bundles that try to take a score without learning, or by learning more than they may.
//!
//! Each runs the whole way of a validator (plan of runs, sandbox, audits, scorer) with no review before it, since review
//! is advice and the sandbox and the measuring are the wall; what a review says of it is shown beside. Its end must be the
//! one in `red_team/table.rs`: failed, or measured with an advantage over the honest bundle below two standard errors on
//! three seeds, at equal work.
//!
//! Without arguments the small suite runs; `PRISM_RED_TEAM=all` runs all, and a name runs one attack.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod ground;
#[path = "red_team/house.rs"]
mod house;
#[path = "red_team/table.rs"]
mod table;

use house::{House, Measured, archive};
use prism_core::reviewer::Grade;
use prism_core::{
    evidence::{Estimate, Evidence, RunOutcome},
    score::Track,
    submission::FailureClass,
};
use prism_eval::{bundle::Bundle, review::Review};
use std::{env, process::ExitCode, sync::Arc, time::Instant};
use table::{ATTACKS, Attack, End, Part};
use tokio::task::JoinSet;

/// The honest bundle with its own hooks: measured as worth nothing over itself.
const HONEST: Attack = Attack { name: "honest", kind: "", part: Part::Training, end: End::NotAbove, core: true };

/// Most bytes of what a guest receives, compressed, as the policy has it.
const MASS: u64 = 24 * 1024;

/// What became of an attack.
#[derive(Debug)]
enum Ended {
    Failed { class: FailureClass, reason: String },
    Measured(Estimate),
    Unscored(String),
}

impl Ended {
    fn of(house: &House, attack: &Attack, measured: &Measured, baseline: &Measured) -> Self {
        let failed = measured.runs.iter().find_map(|run| match &run.outcome {
            RunOutcome::Failed { class, reason } => Some(Self::Failed { class: *class, reason: reason.clone() }),
            RunOutcome::Completed => None,
        });
        if let Some(failed) = failed {
            return failed;
        }
        let card = house.score(measured, baseline);
        let track = match attack.part {
            Part::Architecture | Part::Tuned => Track::Architecture,
            Part::Training | Part::Whole => Track::Training,
        };
        match card.tracks.get(&track) {
            Some(track) => Self::Measured(track.advantage),
            None => Self::Unscored(card.reasons.join("; ")),
        }
    }

    fn is(&self, end: End) -> bool {
        let not_above = |advantage: &Estimate| advantage.mean.get() <= 2.0 * advantage.standard_error.get();
        match (self, end) {
            (Self::Failed { class, .. }, End::Fails(expected) | End::FailsOrNotAbove(expected)) => *class == expected,
            (Self::Measured(advantage), End::NotAbove | End::FailsOrNotAbove(_)) => not_above(advantage),
            _ => false,
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed { class, reason } => {
                let line: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(150).collect();
                write!(f, "failed ({}): {line}", class.as_str())
            }
            Self::Measured(advantage) => {
                let (mean, error) = (advantage.mean.get(), advantage.standard_error.get());
                write!(f, "{mean:+.4} ± {error:.4} bits per byte over the honest bundle")
            }
            Self::Unscored(reason) => write!(f, "no score: {reason}"),
        }
    }
}

fn main() -> ExitCode {
    prism_eval::sandbox::launcher::enter();
    let names: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let all = env::var("PRISM_RED_TEAM").is_ok_and(|value| value == "all");
    let chosen = |attack: &&'static Attack| match names.as_slice() {
        [] => all || attack.core,
        names => names.iter().any(|name| name == attack.name),
    };
    let chosen: Vec<&'static Attack> = ATTACKS.iter().filter(chosen).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let broken = runtime.block_on(play(&chosen));
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays attacks, two at the same time: one learns while the other's auditor starts. Names those that did not end as they
/// must.
async fn play(attacks: &[&'static Attack]) -> Vec<&'static str> {
    let mut broken = Vec::new();
    for tuned in [false, true] {
        let attacks: Vec<&'static Attack> =
            attacks.iter().copied().filter(|attack| attack.is_tuned() == tuned).collect();
        if attacks.is_empty() {
            continue;
        }
        let began = Instant::now();
        let house = Arc::new(House::new(tuned, 3).await);
        let baseline = Arc::new(house.baseline().await);
        let bits: Vec<(f64, u64)> = baseline.runs.iter().map(last_bits).collect();
        println!(
            "honest, tuned {tuned}: bits held out and processor ms {bits:?}, {:.0} s",
            began.elapsed().as_secs_f64()
        );
        let mut waiting = [&HONEST].into_iter().chain(attacks);
        let mut going = JoinSet::new();
        loop {
            while going.len() < 2
                && let Some(attack) = waiting.next()
            {
                let (house, baseline) = (Arc::clone(&house), Arc::clone(&baseline));
                going.spawn(async move { (attack.name, carry_out(attack, &house, &baseline).await) });
            }
            let Some(done) = going.join_next().await else { break };
            let (name, held) = done.unwrap();
            broken.extend((!held).then_some(name));
        }
    }
    println!("{} attacks, broken: {broken:?}", attacks.len());
    broken
}

/// Whether an attack ended as it must.
async fn carry_out(attack: &'static Attack, house: &House, baseline: &Measured) -> bool {
    let began = Instant::now();
    let review = review(attack);
    let (held, ended) = match attack.end {
        End::Rejected(rule) => (review == format!("rejected: {rule}"), "not run".to_owned()),
        end => {
            let measured = house.attack(attack.name, attack.part).await;
            let ended = Ended::of(house, attack, &measured, baseline);
            (ended.is(end), format!("{ended} ({} runs)", measured.runs.len()))
        }
    };
    let (mark, seconds) = (if held { "held" } else { "BROKEN" }, began.elapsed().as_secs_f64());
    println!("{mark:<7}{:<28} {:<42} {review:<26} {ended}, {seconds:.0} s", attack.name, attack.kind);
    held
}

/// What a review says of an attack: the rule that rejects it, or holds it.
fn review(attack: &Attack) -> String {
    let bundle = Bundle::read(&archive(attack.name)).unwrap();
    let found = match Review::of(&bundle, MASS) {
        Ok(review) => review.findings,
        Err(error) => return format!("rejected: {}", error.rule()),
    };
    let graded = |grade| found.iter().find(|finding| finding.grade == grade).map(|finding| &finding.rule);
    match (graded(Grade::Proof), graded(Grade::Suspicion)) {
        (Some(rule), _) => format!("rejected: {rule}"),
        (None, Some(rule)) => format!("held: {rule}"),
        (None, None) => "passes".to_owned(),
    }
}

/// Held-out bits per byte and processor seconds of a run.
fn last_bits(run: &Evidence) -> (f64, u64) {
    let bits = run.held_out.as_ref().and_then(|point| point.bits_per_byte()).map_or(f64::NAN, |bits| bits.get());
    (bits, run.work.cpu_millis)
}
