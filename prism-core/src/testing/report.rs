//! What a suite found.
use super::drive::{catching, message, within};
use crate::error::Error;
use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// How long one clause may take before it counts as broken.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What breaks a clause, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub String);

impl From<String> for Broken {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self(format!("unexpected error {error:?}"))
    }
}

/// What one check found.
pub type Check = Result<(), Broken>;

/// One clause and whether it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// Its number in the trait's documentation.
    pub number: u8,
    /// The check's name.
    pub name: &'static str,
    /// What the check found.
    pub result: Check,
}

/// What a suite found, clause by clause.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Report {
    /// The trait.
    pub seam: &'static str,
    /// Its clauses, in order.
    pub clauses: Vec<Clause>,
}

impl Report {
    /// A report about a trait, without clauses yet.
    pub fn new(seam: &'static str) -> Self {
        Self { seam, clauses: Vec::new() }
    }

    /// The numbers of the clauses that don't hold.
    #[must_use]
    pub fn broken(&self) -> Vec<u8> {
        self.clauses.iter().filter(|clause| clause.result.is_err()).map(|clause| clause.number).collect()
    }

    /// For tests.
    ///
    /// # Panics
    /// Names every clause that doesn't hold, and why.
    #[track_caller]
    pub fn assert_ok(&self) {
        assert!(self.broken().is_empty(), "{self}");
    }

    /// Awaits a check and records what it found. A panic or a hanging check breaks the clause.
    pub async fn check(&mut self, number: u8, name: &'static str, check: impl Future<Output = Check>) {
        let result = match within(PATIENCE, catching(check)).await {
            Some(Ok(result)) => result,
            Some(Err(panic)) => Err(Broken(panic)),
            None => Err(Broken(format!("no answer within {} s", PATIENCE.as_secs()))),
        };
        self.clauses.push(Clause { number, name, result });
    }

    /// Runs a check that doesn't wait and records what it found. A panic breaks the clause.
    pub fn check_now(&mut self, number: u8, name: &'static str, check: impl FnOnce() -> Check) {
        let result =
            catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|payload| Err(Broken(message(payload.as_ref()))));
        self.clauses.push(Clause { number, name, result });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:", self.seam)?;
        for Clause { number, name, result } in &self.clauses {
            match result {
                Ok(()) => writeln!(f, "  {number} ok      {name}")?,
                Err(Broken(text)) => writeln!(f, "  {number} BROKEN  {name}: {text}")?,
            }
        }
        Ok(())
    }
}

/// Breaks the clause with a text unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        // Not `!$holds`: a comparison with NaN must break the clause, and clippy would have it turned around.
        match $holds {
            true => {}
            false => return Err($crate::testing::Broken(format!($($text)+))),
        }
    };
}

/// The door of a suite whose checks wait: one fresh driver per clause.
macro_rules! suite {
    ($seam:literal, $driver:ident, $($number:literal => $clause:ident),+ $(,)?) => {
        /// Checks every clause, each on a fresh driver.
        pub async fn run<D: $driver>(fresh: impl AsyncFn() -> $crate::Result<D>) -> $crate::testing::Report {
            let mut report = $crate::testing::Report::new($seam);
            $(
                let check = async {
                    let mut driver = fresh().await?;
                    $clause(&mut driver).await
                };
                report.check($number, stringify!($clause), Box::pin(check)).await;
            )+
            report
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;

    #[test]
    fn errors_and_panics_break_their_clause_and_no_other() {
        let mut report = Report::new("Seam");
        block_on(async {
            report.check(1, "holds", async { Ok(()) }).await;
            report.check(2, "errs", async { Err(Error::bug("oops"))? }).await;
            report.check(3, "panics", async { panic!("ouch") }).await;
        });
        report.check_now(4, "panics_now", || panic!("ouch"));
        assert_eq!(report.broken(), [2, 3, 4]);
        let text = report.to_string();
        assert!(text.contains("1 ok      holds") && text.contains("2 BROKEN  errs: unexpected error Bug"), "{text}");
        assert!(text.contains("3 BROKEN  panics: panicked: ouch"), "{text}");
    }
}
