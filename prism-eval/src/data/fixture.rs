//! The stand-in for FineWeb-Edu that ships with this crate: real prose, for wiring and demonstrations, never a score.
//! Its README says what it is and where it comes from.
use super::corpus::{Corpus, CorpusError, Limits};
use std::sync::{Arc, LazyLock};

const PACKED: &[u8] = include_bytes!("fixture/stand-in.jsonl.gz");

static CORPUS: LazyLock<Result<Arc<Corpus>, CorpusError>> =
    LazyLock::new(|| Corpus::read_gz(PACKED, Limits::default()).map(Arc::new));

/// The stand-in, read once per process.
///
/// # Errors
/// None, unless the file was damaged before this crate was built.
pub fn stand_in() -> Result<Arc<Corpus>, CorpusError> {
    CORPUS.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;

    /// The figures of the fixture's README.
    #[test]
    fn the_stand_in_is_the_one_described() {
        let corpus = stand_in().unwrap();
        let part = |split| {
            let bytes: usize = corpus.of(split).map(|document| document.unwrap().text.len()).sum();
            (corpus.of(split).count(), bytes)
        };
        assert_eq!(part(Split::Train), (1263, 1_916_290));
        assert_eq!(part(Split::Validation), (40, 60_943));
        assert_eq!(part(Split::Test), (30, 47_893));
        assert!(corpus.documents().all(|document| document.unwrap().text.is_ascii()));
    }
}
