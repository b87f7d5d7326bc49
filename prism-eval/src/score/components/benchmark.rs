//! Whether what was learnt answers questions.
use super::{Pair, Read, counted, reading};
use prism_core::{
    Evidence, Finite,
    evidence::{Estimate, TaskAnswers},
};
use std::collections::BTreeMap;

/// Difference in accuracy over chance that gives or takes full marks.
const SCALE: f64 = 0.25;

/// `1/2 + 1/2 · clamp(advantage / 0.25, -1, 1)`, above one half only with an advantage in bits: more questions answered
/// than by the baseline, in accuracy over chance, on the same questions.
///
/// Question by question the seeds' scores are averaged and the baseline's taken off. The mean over questions is the
/// task's advantage, its standard error that of the differences; tasks are weighed by the policy's numbers
/// `benchmark.NAME`, those that both sides answered among themselves, and alike where it knows none of them. An
/// advantage within its noise is none: at small budgets most are. A task that a side did not answer is not read.
pub(in crate::score) fn benchmark_sanity(pair: &Pair<'_>, policy: &BTreeMap<String, Finite>) -> Read {
    let (subject, _) = pair.heads()?;
    let tasks: Vec<(&str, Estimate)> = subject
        .tasks
        .iter()
        .filter_map(|(name, answers)| Some((name.as_str(), advantage(pair, name, answers)?)))
        .collect();
    if tasks.is_empty() {
        return Err("no evaluation task was answered on both sides".into());
    }
    let known = |name: &str| policy.get(&format!("benchmark.{name}")).map_or(0.0, |weight| weight.get().max(0.0));
    let any = tasks.iter().any(|(name, _)| known(name) > 0.0);
    let (mut weights, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for (name, advantage) in &tasks {
        let weight = if any { known(name) } else { 1.0 };
        weights += weight;
        mean += weight * advantage.mean.get();
        squares += (weight * advantage.standard_error.get()).powi(2);
    }
    let finite = |value: f64| Finite::new(value).ok_or("numbers too large");
    let all = Estimate { mean: finite(mean / weights)?, standard_error: finite(squares.sqrt() / weights)? };
    let value = pair.gated(0.5 + 0.5 * (counted(all, &pair.numbers) / SCALE).clamp(-1.0, 1.0))?;
    reading(value.value.get(), 0.5 * all.standard_error.get() / SCALE)
}

/// Of one task, where all runs of both sides were asked the same.
fn advantage(pair: &Pair<'_>, name: &str, asked: &TaskAnswers) -> Option<Estimate> {
    let ours = scores(&pair.subject, name, asked)?;
    let theirs = scores(&pair.baseline, name, asked)?;
    let differences: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours - theirs).collect();
    Estimate::of(&differences)
}

/// The mean over seeds of each question's score.
fn scores(runs: &[&Evidence], name: &str, asked: &TaskAnswers) -> Option<Vec<f64>> {
    let mut sums = vec![0.0; asked.scores.len()];
    for run in runs {
        let same = |answers: &&TaskAnswers| answers.file == asked.file && answers.scores.len() == sums.len();
        let answers = run.tasks.get(name).filter(same)?;
        sums.iter_mut().zip(&answers.scores).for_each(|(sum, score)| *sum += score.get());
    }
    let count = runs.len().max(1) as f64;
    Some(sums.into_iter().map(|sum| sum / count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        policy::ScoreNumbers,
        score::fixture::{run, with_points},
    };
    use prism_core::Digest;

    fn answers(right: usize, of: usize) -> TaskAnswers {
        let score = |n| if n < right { Finite::ONE } else { Finite::new(-1.0 / 3.0).unwrap() };
        let scores = (0..of).map(score).collect();
        TaskAnswers { file: Digest::of(b"quiz"), scores, rows: of as u32 * 4, left_out: 0, audits: vec![] }
    }

    /// A run that saved so many bits and answered so many of 100 questions of each task.
    fn with(saved: f64, right: &[(&str, usize)]) -> Evidence {
        let bits = 10.0 - saved;
        let tasks = right.iter().map(|(name, right)| ((*name).to_owned(), answers(*right, 100))).collect();
        Evidence { tasks, ..with_points(&run("any"), &[&[bits, bits]]) }
    }

    fn value(subject: &[&Evidence], baseline: &[&Evidence], policy: &[(&str, f64)]) -> Result<f64, String> {
        let numbers = ScoreNumbers { seed_deviation: Finite::ZERO, ..ScoreNumbers::default() };
        let pair = Pair::of(subject.to_vec(), baseline.to_vec(), numbers).unwrap();
        let policy = policy.iter().map(|(name, weight)| ((*name).to_owned(), Finite::new(*weight).unwrap())).collect();
        benchmark_sanity(&pair, &policy).map(|reading| reading.value.get())
    }

    #[test]
    fn more_right_answers_are_worth_something_only_with_an_advantage_in_bits_and_fewer_always_cost() {
        let baseline = with(0.0, &[("quiz", 40)]);
        // 15 more of 100 are 0.2 over chance.
        let better = value(&[&with(0.5, &[("quiz", 55)])], &[&baseline], &[]).unwrap();
        assert!((better - 0.9).abs() < 1e-9, "{better}");
        assert_eq!(value(&[&with(0.0, &[("quiz", 55)])], &[&baseline], &[]), Ok(0.5));
        let worse = value(&[&with(0.5, &[("quiz", 25)])], &[&baseline], &[]).unwrap();
        assert!((worse - 0.1).abs() < 1e-9, "{worse}");
        assert_eq!(value(&[&with(0.5, &[("quiz", 99)])], &[&baseline], &[]), Ok(1.0));
        assert_eq!(value(&[&with(0.5, &[("quiz", 42)])], &[&baseline], &[]), Ok(0.5), "within its noise");
    }

    #[test]
    fn seeds_are_averaged_and_tasks_weighed_by_the_policy() {
        let baseline = with(0.0, &[("arc", 40), ("needle", 40)]);
        let subject = with(0.5, &[("arc", 55), ("needle", 40)]);
        let repeat = with(0.5, &[("arc", 40), ("needle", 40)]);
        let at = |policy: &[(&str, f64)]| value(&[&subject], &[&baseline], policy).unwrap();
        assert!((at(&[]) - 0.7).abs() < 1e-9, "{}", at(&[]));
        assert!((at(&[("benchmark.arc", 0.1), ("benchmark.mmlu", 0.9)]) - 0.9).abs() < 1e-9);
        assert!((at(&[("benchmark.arc", 0.1), ("benchmark.needle", 0.3)]) - 0.6).abs() < 1e-9);
        let two = value(&[&subject, &repeat], &[&baseline], &[]).unwrap();
        assert!((two - 0.6).abs() < 1e-9, "{two}");
    }

    #[test]
    fn what_one_side_was_not_asked_or_asked_otherwise_is_not_read() {
        let none = Err("no evaluation task was answered on both sides".to_owned());
        let asked = with(0.5, &[("quiz", 50)]);
        assert_eq!(value(&[&asked], &[&with(0.0, &[])], &[]), none);
        assert_eq!(value(&[&with(0.5, &[])], &[&asked], &[]), none);
        let mut other = with(0.0, &[("quiz", 40)]);
        other.tasks.get_mut("quiz").unwrap().file = Digest::of(b"other");
        assert_eq!(value(&[&asked], &[&other], &[]), none);
        let fewer = Evidence { tasks: [("quiz".to_owned(), answers(9, 99))].into(), ..other };
        assert_eq!(value(&[&asked], &[&fewer], &[]), none);
    }
}
