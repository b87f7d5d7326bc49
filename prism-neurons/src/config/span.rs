//! A duration as people write it.
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// A whole number of `ms`, `s`, `min` or `h`, as in `90s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// A text that is no span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a whole number of ms, s, min or h")]
pub struct SpanError(String);

impl Span {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Span {
    type Err = SpanError;
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError(text.to_owned());
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: u64 = digits.trim().parse().map_err(|_| error())?;
        let millis: u64 = match text.strip_prefix(digits).unwrap_or_default() {
            "ms" => 1,
            "s" => 1000,
            "min" => 60_000,
            "h" => 3_600_000,
            _ => return Err(error()),
        };
        number.checked_mul(millis).map(|m| Self(Duration::from_millis(m))).ok_or_else(error)
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;
    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis.is_multiple_of(1000) { write!(f, "{}s", millis / 1000) } else { write!(f, "{millis}ms") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_printed() {
        for (text, millis) in [("90s", 90_000), ("250ms", 250), ("2min", 120_000), ("1h", 3_600_000), ("0s", 0)] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.0.as_millis(), millis);
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        for bad in ["", "s", "90", "-1s", "1.5s", "9999999999999999999h", "5 days", "18446744073709551615h"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }
}
