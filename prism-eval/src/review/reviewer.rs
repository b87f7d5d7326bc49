//! The rules as a [`Reviewer`].
use super::{error::PythonError, rules, sources::Sources};
use async_trait::async_trait;
use prism_core::{
    Cancel, Error, Fault, Kind, Result, Reviewer,
    reviewer::{Finding, Grade, Source},
};
use std::collections::BTreeMap;

/// Applies the rules to every Python file. Its findings are deterministic evidence: rule, file and line, the same for
/// everybody who looks. Files that are no Python are proof too; what can't be parsed on this machine is an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct StaticReviewer;

#[async_trait]
impl Reviewer for StaticReviewer {
    fn name(&self) -> &str {
        "static"
    }

    fn may_prove(&self) -> bool {
        true
    }

    async fn review(&self, source: &Source<'_>, cancel: &Cancel) -> Result<Vec<Finding>> {
        if cancel.is_cancelled() {
            return Err(Error::new(Kind::Cancelled, Fault::Infrastructure, "review was cancelled"));
        }
        let mut files = BTreeMap::new();
        for (path, bytes) in source.files.iter().filter(|(path, _)| path.ends_with(".py")) {
            match std::str::from_utf8(bytes) {
                Ok(text) => files.insert(path.clone(), text.to_owned()),
                Err(_) => return Ok(vec![proof("python.syntax", path, 0, "is not UTF-8")]),
            };
        }
        match Sources::parse(&files) {
            Ok(sources) => Ok(rules::findings(&sources)),
            Err(error) => match error.place().filter(|_| error.is_proof()) {
                Some((file, line)) => Ok(vec![proof(error.rule(), file, line, &error.to_string())]),
                None => Err(PythonError::into(error)),
            },
        }
    }
}

fn proof(rule: &str, file: &str, line: u32, text: &str) -> Finding {
    Finding { rule: rule.to_owned(), file: file.to_owned(), line, text: text.to_owned(), grade: Grade::Proof }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::testing::{
        block_on,
        reviewer::{Files, ReviewerDriver, run},
    };

    struct Driver;

    impl ReviewerDriver for Driver {
        fn reviewer(&self) -> &dyn Reviewer {
            &StaticReviewer
        }
        fn guilty(&self) -> Files {
            vec![("train.py".into(), b"exec(input())".to_vec())]
        }
        fn endless(&self) -> Files {
            vec![("train.py".into(), "x = (1, -2, 'three')\n".repeat(40_000).into_bytes())]
        }
    }

    #[test]
    fn it_conforms() {
        block_on(run(async || Ok(Driver))).assert_ok();
    }

    #[test]
    fn a_file_that_is_no_python_is_proof() {
        for (bytes, rule) in [(&b"def"[..], "python.syntax"), (b"\xff", "python.syntax"), (b"((((", "python.syntax")] {
            let files = [("ok.py".to_owned(), b"x = 1".to_vec()), ("bad.py".to_owned(), bytes.to_vec())];
            let submission = prism_core::SubmissionId([0; 32]);
            let source = Source { submission, files: &files };
            let found = block_on(StaticReviewer.review(&source, &Cancel::new())).unwrap();
            assert_eq!((found[0].rule.as_str(), found[0].file.as_str()), (rule, "bad.py"));
            assert_eq!(found[0].grade, Grade::Proof);
        }
    }
}
