//! One wrong implementation per clause: each suite finds exactly what is wrong with it.
use super::Report;

/// One test per clause: the implementation that breaks it, given by the clause's number, breaks no other.
macro_rules! mutants {
    ($report:expr; $($test:ident $clause:literal)+) => { $(
        #[test]
        fn $test() {
            let report: $crate::testing::Report = ($report)($clause);
            assert_eq!(report.broken(), [$clause], "{report}");
        }
    )+ };
}

mod artifacts;
mod chain_view;
mod clock;
mod nonces;
mod observer;
mod reviewer;
mod reward;
mod sandbox;
mod scorer;
mod source;
mod trainer;
mod weight_setter;

/// The numbers of the clauses in the documentation of a trait.
fn documented(file: &str, seam: &str) -> Vec<u8> {
    let head = format!("pub trait {seam}:");
    let before = file.split(&head).next().unwrap();
    let mut numbers: Vec<u8> = before
        .lines()
        .rev()
        .take_while(|line| line.starts_with("///") || line.starts_with("#["))
        .filter_map(|line| line.strip_prefix("/// ")?.split_once(". ")?.0.parse().ok())
        .collect();
    numbers.reverse();
    numbers
}

/// Every clause of the trait has one check, and the check has its number.
#[track_caller]
fn assert_covers(report: &Report, file: &str) {
    let checked: Vec<u8> = report.clauses.iter().map(|clause| clause.number).collect();
    assert_eq!(checked, documented(file, report.seam));
    for clause in &report.clauses {
        assert!(clause.name.starts_with(&format!("clause_{}_", clause.number)), "{}", clause.name);
    }
}
