use super::assert_covers;
use crate::{
    cancel::Cancel,
    error::Result,
    reviewer::{Finding, Grade, Reviewer, Source},
    testing::{
        Report, block_on,
        fakes::{Reading, ScriptedReviewer},
        reviewer::{Files, ReviewerDriver, run},
    },
};
use async_trait::async_trait;
use std::{future::pending, sync::Arc};

struct Driver(Box<dyn Reviewer>);

impl ReviewerDriver for Driver {
    fn reviewer(&self) -> &dyn Reviewer {
        &*self.0
    }
    fn guilty(&self) -> Files {
        vec![("model.py".into(), b"import socket\n".to_vec())]
    }
    fn endless(&self) -> Files {
        vec![("long.py".into(), vec![b'\n'; 10])]
    }
}

fn scripted() -> ScriptedReviewer {
    ScriptedReviewer::new(false, |source| {
        let finding = |file: &str| Finding {
            rule: "no-network".into(),
            file: file.into(),
            line: 1,
            text: "opens a socket".into(),
            grade: Grade::Suspicion,
        };
        match source.files {
            [(path, _)] if path == "long.py" => Reading::Endless,
            files => {
                let guilty = files.iter().filter(|(_, bytes)| bytes.starts_with(b"import socket"));
                Reading::Found(guilty.map(|(path, _)| finding(path)).collect())
            }
        }
    })
}

fn report(make: impl Fn(ScriptedReviewer) -> Box<dyn Reviewer>) -> Report {
    block_on(run(async || Ok(Driver(make(scripted())))))
}

#[derive(Debug)]
struct Mutant {
    inner: ScriptedReviewer,
    breaks: u8,
}

#[async_trait]
impl Reviewer for Mutant {
    fn name(&self) -> &str {
        "mutant"
    }
    fn may_prove(&self) -> bool {
        false
    }
    async fn review(&self, source: &Source<'_>, cancel: &Cancel) -> Result<Vec<Finding>> {
        if self.breaks == 3 && source.files.iter().any(|(path, _)| path == "long.py") {
            pending::<()>().await;
        }
        let mut findings = self.inner.review(source, cancel).await?;
        for finding in &mut findings {
            match self.breaks {
                1 => finding.file = "module model".into(),
                2 => finding.grade = Grade::Proof,
                _ => {}
            }
        }
        Ok(findings)
    }
}

fn mutant(breaks: u8) -> Report {
    report(|inner| Box::new(Mutant { inner, breaks }))
}

#[test]
fn the_fake_passes_as_itself_in_a_box_and_in_an_arc() {
    report(|reviewer| Box::new(reviewer)).assert_ok();
    report(|reviewer| Box::new(Box::new(reviewer))).assert_ok();
    report(|reviewer| Box::new(Arc::new(reviewer))).assert_ok();
    assert_covers(&mutant(0), include_str!("../../reviewer.rs"));
    mutant(0).assert_ok();
}

mutants! { mutant;
    mutant_1_fails_exactly_clause_1 1
    mutant_2_fails_exactly_clause_2 2
    mutant_3_fails_exactly_clause_3 3
}
