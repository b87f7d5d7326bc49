//! The arguments that `cargo test` passes on, as libtest understands them.

/// Which attacks to carry out, and how.
#[derive(Debug, Default)]
pub(crate) struct CommandLine {
    filters: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    ignored_only: bool,
    /// Name them instead.
    pub(crate) list: bool,
    /// How many at a time.
    pub(crate) threads: Option<usize>,
}

/// Flags of libtest with a value that mean nothing here.
const WITH_VALUE: [&str; 5] = ["--format", "--color", "--logfile", "--shuffle-seed", "-Z"];

impl CommandLine {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let mut line = Self::default();
        let mut arguments = arguments.flat_map(|argument| match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') => vec![flag.to_owned(), value.to_owned()],
            _ => vec![argument],
        });
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => line.exact = true,
                "--list" => line.list = true,
                "--ignored" => line.ignored_only = true,
                "--skip" => line.skipped.extend(arguments.next()),
                "--test-threads" => line.threads = arguments.next().and_then(|number| number.parse().ok()),
                flag if WITH_VALUE.contains(&flag) => drop(arguments.next()),
                flag if flag.starts_with('-') => {}
                _ => line.filters.push(argument),
            }
        }
        line
    }

    /// Whether a test of this name is asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let fits = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        !self.ignored_only
            && (self.filters.is_empty() || self.filters.iter().any(fits))
            && !self.skipped.iter().any(fits)
    }
}
