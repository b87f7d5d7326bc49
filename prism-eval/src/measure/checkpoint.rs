//! How far a run has come, for another attempt to go on from.
//!
//! At measuring points the player saves what it goes on from, before it is shown the rows that come next; the host keeps
//! it by its digest. Once the point is taken, both go on record together. So what is saved knows nothing of later rows,
//! a point that is on record stays as it is, and all that the failed attempt saw after it is dealt to nobody again
//! ([`Dealer::resumed`](crate::data::Dealer::resumed)).
use super::run;
use crate::{
    data::Resume,
    player::{Player, Snapshot},
};
use prism_core::{
    Artifacts, Digest, Error, Evidence, Fault, Kind, Result, TrainTask,
    artifacts::ArtifactsExt,
    evidence::{Point, Series, Work},
    trainer::Surroundings,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The version of [`Checkpoint`] that this crate writes.
const CHECKPOINT_SCHEMA: u32 = 1;
/// Longest document that is read: the points and series of some million steps.
const MAX_BYTES: u64 = 1 << 28;

/// The counter of a run that was resumed: the step of the first checkpoint that it went on from. Rows of later steps are
/// its own.
pub(crate) const OWN_ROWS_FROM: &str = "own_rows_from";

/// A run at one of its measuring points. The point is taken, and none of its rows is trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    schema: u32,
    task: TrainTask,
    attempt: u32,
    state: Digest,
    state_bytes: u64,
    step: u64,
    resumes: Vec<Resume>,
    wall_millis: u64,
    /// What led here.
    work: Work,
    /// What attempts did after their last checkpoint.
    lost: Work,
    points: Vec<Point>,
    series: BTreeMap<String, Series>,
    counters: BTreeMap<String, u64>,
}

impl Checkpoint {
    /// Reads the checkpoint of a task.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` for other bytes than the digest's, a document that is none of this version, or that
    /// contradicts itself, or is another run's.
    pub async fn open(artifacts: &dyn Artifacts, digest: Digest, task: &TrainTask) -> Result<Self> {
        let checkpoint = Self::read(artifacts, digest).await?;
        let refuse = |text: &str| {
            let text = format!("checkpoint {} {text}", digest.short());
            Err(Error::new(Kind::Corrupt, Fault::Validator, text))
        };
        if checkpoint.task != *task {
            return refuse("is of another run");
        }
        let taken: Vec<u64> = checkpoint.points.iter().map(|point| point.step).collect();
        if taken.last() != Some(&checkpoint.step) || !task.measuring.points.starts_with(&taken) {
            return refuse("is at no measuring point of its run");
        }
        Ok(checkpoint)
    }

    async fn read(artifacts: &dyn Artifacts, digest: Digest) -> Result<Self> {
        let bytes = artifacts.read(digest, MAX_BYTES).await?;
        let text = || format!("checkpoint {} is not one of this version", digest.short());
        let corrupt = || Error::new(Kind::Corrupt, Fault::Validator, text());
        let checkpoint: Self = serde_json::from_slice(&bytes).map_err(|error| corrupt().because(error))?;
        if checkpoint.schema == CHECKPOINT_SCHEMA { Ok(checkpoint) } else { Err(corrupt()) }
    }

    async fn keep(&self, artifacts: &dyn Artifacts) -> Result<Digest> {
        let bytes = serde_json::to_vec(self).map_err(|e| Error::bug("checkpoint is not JSON").because(e))?;
        artifacts.keep_bytes(&bytes).await
    }

    /// Forgets a checkpoint and the state in it, unless that is the state of its successor too. One that isn't there, or
    /// can't be read, is forgotten as far as it is known.
    ///
    /// # Errors
    /// Those of the artifacts.
    pub async fn forget(artifacts: &dyn Artifacts, digest: Digest, successor: Option<Digest>) -> Result<()> {
        if successor == Some(digest) {
            return Ok(());
        }
        if let Ok(checkpoint) = Self::read(artifacts, digest).await {
            let next = match successor {
                Some(successor) => Self::read(artifacts, successor).await.ok(),
                None => None,
            };
            if next.is_none_or(|next| next.state != checkpoint.state) {
                artifacts.forget(checkpoint.state).await?;
            }
        }
        artifacts.forget(digest).await
    }

    /// What the player saved.
    #[must_use]
    pub fn state(&self) -> Snapshot {
        Snapshot { state: self.state, bytes: self.state_bytes }
    }

    /// Steps done.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Steps that the player's optimizer did: several for each batch where the run's role says so.
    #[must_use]
    pub fn optimizer_steps(&self) -> u64 {
        self.step.saturating_mul(u64::from(self.task.role.inner_steps()))
    }

    /// Where attempts went on, up to and with this one: all that were started after the one that made this checkpoint
    /// went on from it.
    #[must_use]
    pub fn resumes(&self, attempt: u32) -> Vec<Resume> {
        let since = (self.attempt.saturating_add(1)..=attempt).map(|attempt| Resume { attempt, step: self.step });
        self.resumes.iter().copied().chain(since).collect()
    }

    /// Evidence of what is on record, for the attempt that goes on from it.
    #[must_use]
    pub fn evidence(&self, attempt: u32) -> Evidence {
        let resumes = self.resumes(attempt);
        let mut counters = self.counters.clone();
        if let Some(first) = resumes.first() {
            counters.insert(OWN_ROWS_FROM.to_owned(), first.step);
        }
        Evidence {
            points: self.points.clone(),
            series: self.series.clone(),
            counters,
            resumed: u32::try_from(resumes.len()).unwrap_or(u32::MAX),
            work: sum(self.work, self.lost),
            ..run::blank(&self.task)
        }
    }

    pub(super) fn wall(&self) -> Duration {
        Duration::from_millis(self.wall_millis)
    }

    pub(super) fn work(&self) -> Work {
        self.work
    }

    pub(super) fn lost(&self) -> Work {
        self.lost
    }
}

/// Makes the checkpoints of one attempt.
#[derive(Debug)]
pub(super) struct Saver<'a> {
    around: &'a Surroundings,
    resumes: Vec<Resume>,
    lost: Work,
    last: Instant,
    newest: Option<Checkpoint>,
}

impl<'a> Saver<'a> {
    pub(super) fn new(around: &'a Surroundings, from: Option<Checkpoint>) -> Self {
        let resumes = from.as_ref().map(|from| from.resumes(around.attempt)).unwrap_or_default();
        let lost = from.as_ref().map(Checkpoint::lost).unwrap_or_default();
        Self { around, resumes, lost, last: Instant::now(), newest: from }
    }

    /// Lets the player save, when it is time. Before anything is trained a new start serves as well, and better: it is
    /// paired with everybody's rows.
    pub(super) async fn save(&mut self, player: &mut dyn Player, step: u64) -> Result<Option<Snapshot>> {
        let early = step == 0 || self.last.elapsed() < self.around.checkpoint_every;
        if early || self.around.checkpoints.is_none() {
            return Ok(None);
        }
        player.save(&*self.around.artifacts).await
    }

    /// Puts a saved state on record, with all that the run showed up to the point that was taken after it.
    pub(super) async fn record(
        &mut self,
        state: Snapshot,
        evidence: &Evidence,
        work: Work,
        wall: Duration,
    ) -> Result<()> {
        self.last = Instant::now();
        let checkpoint = Checkpoint {
            schema: CHECKPOINT_SCHEMA,
            task: evidence.task.clone(),
            attempt: self.around.attempt,
            state: state.state,
            state_bytes: state.bytes,
            step: evidence.points.last().map_or(0, |point| point.step),
            resumes: self.resumes.clone(),
            wall_millis: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            work,
            lost: self.lost,
            points: evidence.points.clone(),
            series: evidence.series.clone(),
            counters: evidence.counters.clone(),
        };
        self.tell(checkpoint).await
    }

    /// The machine failed: what was done since the last checkpoint is lost, and is work all the same.
    pub(super) async fn failed(&mut self, work: Work) -> Result<()> {
        let Some(mut checkpoint) = self.newest.take() else { return Ok(()) };
        checkpoint.lost = sum(self.lost, less(work, checkpoint.work));
        checkpoint.resumes = checkpoint.resumes(self.around.attempt);
        checkpoint.attempt = self.around.attempt;
        self.tell(checkpoint).await
    }

    async fn tell(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let Some(checkpoints) = &self.around.checkpoints else { return Ok(()) };
        checkpoints.newest(checkpoint.keep(&*self.around.artifacts).await?).await?;
        self.newest = Some(checkpoint);
        Ok(())
    }
}

/// Both together.
pub(super) fn sum(a: Work, b: Work) -> Work {
    Work {
        cpu_millis: a.cpu_millis.saturating_add(b.cpu_millis),
        gpu_millis: a.gpu_millis.saturating_add(b.gpu_millis),
    }
}

fn less(a: Work, b: Work) -> Work {
    Work {
        cpu_millis: a.cpu_millis.saturating_sub(b.cpu_millis),
        gpu_millis: a.gpu_millis.saturating_sub(b.gpu_millis),
    }
}
