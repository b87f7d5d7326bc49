//! What a manifest must hold beyond its form, and where it doesn't.
use prism_core::Finite;
use std::fmt;

/// A rule that a manifest breaks. It reads as one phrase: the JSON place, then what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where, as in `metrics.loss_vs_tokens[3].x`.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place, self.problem)
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Violation>);

impl Faults {
    pub(super) fn say(&mut self, place: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Violation { place: place.into(), problem: problem.into() });
    }

    /// A rule that must hold at a place.
    pub(super) fn must(&mut self, holds: bool, place: impl Into<String>, problem: impl FnOnce() -> String) {
        if !holds {
            self.say(place, problem());
        }
    }

    /// Two places that must say the same.
    pub(super) fn same<T: PartialEq + Told>(&mut self, place: &str, value: &T, other: &str, expected: &T) {
        self.must(value == expected, place, || format!("is {}, {other} is {}", value.told(), expected.told()));
    }

    pub(super) fn at_least<T: PartialOrd + Told>(&mut self, place: impl Into<String>, value: &T, least: &T) {
        self.must(value >= least, place, || format!("is {}, below {}", value.told(), least.told()));
    }

    pub(super) fn not_negative(&mut self, place: impl Into<String>, value: Option<Finite>) {
        if let Some(value) = value {
            self.at_least(place, &value, &Finite::ZERO);
        }
    }

    pub(super) fn at_most(&mut self, place: &str, count: usize, most: usize) {
        self.must(count <= most, place, || format!("has {count} entries, at most {most} are read"));
    }

    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.0
    }
}

/// A value as a violation shows it.
pub(super) trait Told {
    fn told(&self) -> String;
}

macro_rules! told { ($($type:ty),*) => { $(
    impl Told for $type {
        fn told(&self) -> String {
            self.to_string()
        }
    }
)* } }
told!(u32, u64, Finite, prism_core::Digest, super::Label);

impl<T: Told> Told for Option<T> {
    fn told(&self) -> String {
        self.as_ref().map_or_else(|| "null".to_owned(), Told::told)
    }
}
