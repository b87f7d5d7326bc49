use crate::{
    cancel::Cancel,
    error::{Error, Fault, Kind, Result},
    reviewer::{Finding, Reviewer, Source},
};
use async_trait::async_trait;
use std::fmt;

/// How a scripted review goes.
#[derive(Debug)]
pub enum Reading {
    /// Ends with these findings.
    Found(Vec<Finding>),
    /// Fails.
    Failed(Error),
    /// Goes on until it is cancelled.
    Endless,
}

/// A reviewer from a function of what it reads.
pub struct ScriptedReviewer {
    may_prove: bool,
    script: Box<dyn Fn(&Source<'_>) -> Reading + Send + Sync>,
}

impl ScriptedReviewer {
    /// A reviewer that does as the script says.
    pub fn new(may_prove: bool, script: impl Fn(&Source<'_>) -> Reading + Send + Sync + 'static) -> Self {
        Self { may_prove, script: Box::new(script) }
    }
}

impl fmt::Debug for ScriptedReviewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedReviewer").field("may_prove", &self.may_prove).finish_non_exhaustive()
    }
}

#[async_trait]
impl Reviewer for ScriptedReviewer {
    fn name(&self) -> &str {
        "scripted"
    }
    fn may_prove(&self) -> bool {
        self.may_prove
    }
    async fn review(&self, source: &Source<'_>, cancel: &Cancel) -> Result<Vec<Finding>> {
        match (self.script)(source) {
            Reading::Found(findings) => Ok(findings),
            Reading::Failed(error) => Err(error),
            Reading::Endless => {
                cancel.cancelled().await;
                let text = format!("review of {} was cancelled", source.submission.short());
                Err(Error::new(Kind::Cancelled, Fault::Policy, text))
            }
        }
    }
}
