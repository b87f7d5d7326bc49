//! The queue: which run is next, and whose it is. A claim is one compare-and-set, so that no two processes on one database
//! ever carry out the same run.
use super::{
    Store, StoreError,
    column::{Columns, execute, first, int, millis, rows, word},
    leases::{self, Devices, Free},
    runs::moved_one,
};
use prism_core::{Digest, Evidence, TaskId, TrainTask, evidence::RunOutcome};
use prism_eval::policy::{ExecutionTargets, GpuPolicy};
use rusqlite::{Connection, params};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// Attempts whose process may end before a run is given up. More than failures that are reported: mostly the operator ends
/// a process, but a run that ends it each time must not be tried for ever. One that is stopped in order counts nowhere.
pub const MOST_ORPHANED: u32 = 8;
/// What owners of a store that nobody else may claim from begin with: of those at most one lives.
pub(super) const SOLE: &str = "sole-";
/// When a hotkey was served last; 0 where it never was.
pub(super) const LAST_TURN_OF: &str = "SELECT coalesce(max(turn), 0) AS turn FROM runs WHERE hotkey = ?1";
/// The number of the next claim. Partial indexes answer this and [`ASK`], however many runs there were.
pub(super) const NEXT_TURN: &str = "SELECT coalesce(max(turn), 0) + 1 AS turn FROM runs WHERE turn IS NOT NULL";
/// Puts a run behind those that wait for devices already.
pub(super) const ASK: &str =
    "UPDATE runs SET asked = (SELECT coalesce(max(asked), 0) + 1 FROM runs WHERE asked IS NOT NULL)
     WHERE task = ?1 AND asked IS NULL";

/// Under what a run is claimed. Nothing of it comes from a miner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Without a sign of life for so long a run is another's.
    pub lease: Duration,
    /// How many devices a run is given.
    pub gpu: GpuPolicy,
    /// Which devices there are.
    pub targets: ExecutionTargets,
}

/// What is next in a cohort.
#[derive(Debug)]
pub enum Next {
    /// This one.
    Run(Box<Claim>),
    /// Nothing yet.
    Later {
        /// When something may change by itself; `None` when a run has to end first.
        at: Option<SystemTime>,
        /// Devices that a run waits for and no enabled target has.
        lacking: Option<u32>,
    },
    /// Nothing is left, but for what this process carries out.
    Nothing,
}

/// A run that this process carries out in one attempt. Dropped without an end, it goes back to the queue.
#[derive(Debug)]
pub struct Claim {
    /// What is to be done.
    pub task: TrainTask,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Which of those that nobody ended from outside, from 1: what the attempts at a run are counted by.
    pub tries: u32,
    /// The devices that it has to itself; none for a run on the processor.
    pub devices: Option<Devices>,
    /// When it is another's, unless there is a sign of life.
    pub expires: SystemTime,
    owner: String,
    _held: Held,
}

/// The tasks that this process carries out now, each with its attempt: one that was lost and claimed again lives twice.
pub(super) type Live = Arc<Mutex<BTreeSet<(TaskId, u32)>>>;

fn lock(live: &Live) -> MutexGuard<'_, BTreeSet<(TaskId, u32)>> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Held {
    live: Live,
    attempt: (TaskId, u32),
}

impl Held {
    fn new(live: &Live, task: TaskId, attempt: u32) -> Self {
        let attempt = (task, attempt);
        lock(live).insert(attempt);
        Self { live: Arc::clone(live), attempt }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.live).remove(&self.attempt);
    }
}

impl Store {
    /// Claims the next run of a cohort.
    ///
    /// Baselines come first: without them nobody is scored. Then hotkeys take turns, whoever was served longest ago first,
    /// and of one hotkey the oldest run; one that several submissions need is the earliest one's. A run that waits for
    /// devices holds back its own hotkey's later runs on devices and nobody else's, and keeps its place among those who
    /// wait. What failed comes again when its pause is over.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn claim_run(&self, cohort: u64, terms: Terms, now: SystemTime) -> Result<Next, StoreError> {
        let (me, live) = (self.owner().to_owned(), self.live());
        self.write(move |db| {
            requeue(db, &me, &live, now)?;
            Claimer { db, terms: &terms, me: &me, live: &live, now }.next(cohort)
        })
        .await
    }

    /// A sign of life of a running run.
    ///
    /// # Errors
    /// `State` when it is another's by now: then it must be stopped, and nothing of it counts.
    pub async fn beat_run(&self, claim: &Claim, lease: Duration, now: SystemTime) -> Result<SystemTime, StoreError> {
        let (task, attempt, owner) = claim.key();
        let expires = now + lease;
        self.write(move |db| {
            let sql = "UPDATE runs SET expires = ?4
                       WHERE task = ?1 AND attempts = ?2 AND owner = ?3 AND status = 'running'";
            let moved = execute(db, sql, params![task.to_string(), attempt, owner, millis(expires)])?;
            moved_one(db, moved, task, "running in this attempt")?;
            Ok(expires)
        })
        .await
    }

    /// Records a claimed run's evidence and says under which digest.
    ///
    /// # Errors
    /// `State` when it is another's by now, or the evidence is another run's.
    pub async fn finish_run(&self, claim: &Claim, evidence: &Evidence, now: SystemTime) -> Result<Digest, StoreError> {
        let (task, attempt, owner) = claim.key();
        let answers = evidence.task.id();
        if answers != task {
            let found = format!("answered with the evidence of run {answers}");
            return Err(StoreError::State { what: "run", id: task.to_string(), found, expected: "its own" });
        }
        let bytes = serde_json::to_vec(evidence).map_err(|source| StoreError::Json { column: "evidence", source })?;
        let class = match &evidence.outcome {
            RunOutcome::Completed => None,
            RunOutcome::Failed { class, .. } => Some(word("class", class)?),
        };
        self.write(move |db| {
            let digest = Digest::of(&bytes);
            let sql = "UPDATE runs SET status = 'done', evidence = ?4, digest = ?5, class = ?6, error = NULL,
                       checkpoint = NULL, ended_at = ?7, expires = NULL
                       WHERE task = ?1 AND attempts = ?2 AND owner = ?3 AND status = 'running'";
            let values = params![task.to_string(), attempt, owner, bytes, digest.to_string(), class, millis(now)];
            let moved = execute(db, sql, values)?;
            moved_one(db, moved, task, "running in this attempt")?;
            leases::release(db, &task.to_string())?;
            Ok(digest)
        })
        .await
    }

    /// Records that this machine failed at a claimed run: to be done again, from `again` on, or given up without. One that
    /// was stopped says nothing about the machine, and is no try.
    ///
    /// # Errors
    /// `State` when it is another's by now.
    pub async fn fail_run(
        &self,
        claim: &Claim,
        error: String,
        again: Option<SystemTime>,
        stopped: bool,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        let (task, attempt, owner) = claim.key();
        self.write(move |db| {
            let status = if again.is_some() { "pending" } else { "abandoned" };
            let sql = "UPDATE runs SET status = ?4, error = ?5, ended_at = ?6, not_before = ?7, stopped = stopped + ?8,
                       owner = NULL, expires = NULL
                       WHERE task = ?1 AND attempts = ?2 AND owner = ?3 AND status = 'running'";
            let (id, again) = (task.to_string(), again.map(millis));
            let values = params![id, attempt, owner, status, error, millis(now), again, stopped];
            let moved = execute(db, sql, values)?;
            moved_one(db, moved, task, "running in this attempt")?;
            leases::release(db, &task.to_string())
        })
        .await
    }

    /// Runs that were going on when their process ended are to be done again, or are given up where that happened too often.
    /// Their attempts stay counted. How many.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn recover_runs(&self, now: SystemTime) -> Result<usize, StoreError> {
        let (me, live) = (self.owner().to_owned(), self.live());
        self.write(move |db| requeue(db, &me, &live, now)).await
    }
}

impl Claim {
    fn key(&self) -> (TaskId, u32, String) {
        (self.task.id(), self.attempt, self.owner.clone())
    }
}

/// Puts back what nobody carries out any more.
fn requeue(db: &Connection, me: &str, live: &Live, now: SystemTime) -> Result<usize, StoreError> {
    let sql = "SELECT task, owner, expires, attempts, orphaned FROM runs WHERE status = 'running'";
    let running = rows(db, sql, [], |row| {
        let (task, owner): (TaskId, _) = (row.parsed("task")?, row.text_option("owner")?);
        Ok((task, owner, row.time_option("expires")?, row.number::<u32>("attempts")?, row.number::<u32>("orphaned")?))
    })?;
    let mut stale = 0;
    for (task, owner, expires, attempts, orphaned) in running {
        let over = match owner.as_deref() {
            None => true,
            Some(owner) if owner == me => !lock(live).contains(&(task, attempts)),
            // Whoever had this store to himself before us is gone.
            Some(owner) => {
                owner.starts_with(SOLE) && me.starts_with(SOLE) || expires.is_none_or(|expires| expires <= now)
            }
        };
        if !over {
            continue;
        }
        stale += 1;
        let orphaned = orphaned.saturating_add(1);
        let status = if orphaned >= MOST_ORPHANED { "abandoned" } else { "pending" };
        let error = format!("its process ended in {orphaned} of {attempts} attempts");
        let sql = "UPDATE runs SET status = ?2, error = ?3, orphaned = ?4, owner = NULL, expires = NULL
                   WHERE task = ?1 AND status = 'running'";
        execute(db, sql, params![task.to_string(), status, error, orphaned])?;
        leases::release(db, &task.to_string())?;
    }
    Ok(stale)
}

/// A run that may be claimed.
struct Candidate {
    task: TaskId,
    attempts: u32,
    /// Attempts that this machine failed at.
    failed: u32,
    /// On whose behalf; `None` for a baseline.
    hotkey: Option<String>,
    asked: Option<i64>,
}

impl Candidate {
    fn from_row(row: Columns<'_>) -> Result<Self, StoreError> {
        let hotkey = row.text("hotkey")?;
        Ok(Self {
            task: row.parsed("task")?,
            attempts: row.number("attempts")?,
            failed: row.number("failed")?,
            hotkey: (row.text("role")? != "baseline").then_some(hotkey),
            asked: row.number_option("asked")?,
        })
    }
}

/// What may be claimed now, in order.
struct Queue {
    /// Those who were refused devices, longest ago first.
    waiting: Vec<Candidate>,
    /// Baselines, then hotkeys by their last turn; each with its other runs, oldest first, and whether one was refused.
    groups: Vec<(Vec<Candidate>, bool)>,
    /// The number of this claim.
    turn: i64,
}

impl Queue {
    fn of(db: &Connection, cohort: u64, now: SystemTime) -> Result<Self, StoreError> {
        let sql = "SELECT r.task, r.attempts, max(r.attempts - r.orphaned - r.stopped, 0) AS failed, r.asked, e.role,
                   e.hotkey FROM runs r
                   JOIN entrant_runs er ON er.task = r.task AND er.cohort = ?1
                   JOIN entrants e ON e.cohort = er.cohort AND e.submission = er.submission
                   WHERE r.status = 'pending' AND coalesce(r.not_before, 0) <= ?2
                   ORDER BY e.role <> 'baseline', e.block, e.extrinsic, e.hotkey, e.submission, er.place";
        let mut seen = BTreeSet::new();
        let mut all = rows(db, sql, params![int(cohort), millis(now)], Candidate::from_row)?;
        all.retain(|candidate| seen.insert(candidate.task));
        // Of those who wait only: all that were ever served are more with every cohort.
        let mut turns: BTreeMap<String, i64> = BTreeMap::new();
        for hotkey in all.iter().filter_map(|candidate| candidate.hotkey.as_ref()) {
            if !turns.contains_key(hotkey) {
                let last = first(db, LAST_TURN_OF, [hotkey], |row| row.number("turn"))?;
                turns.insert(hotkey.clone(), last.unwrap_or(0));
            }
        }
        let turn = first(db, NEXT_TURN, [], |row| row.number("turn"))?;

        // Runs on record come in order of arrival, and so do hotkeys that were never served.
        let mut groups: BTreeMap<(bool, i64, usize), (Vec<Candidate>, bool)> = BTreeMap::new();
        let mut places: BTreeMap<Option<String>, (bool, i64, usize)> = BTreeMap::new();
        let mut waiting = Vec::new();
        for candidate in all {
            let arrived = places.len();
            let key = *places.entry(candidate.hotkey.clone()).or_insert_with_key(|hotkey| {
                let last = hotkey.as_ref().and_then(|hotkey| turns.get(hotkey)).copied().unwrap_or(0);
                (hotkey.is_some(), last, arrived)
            });
            let (group, waits) = groups.entry(key).or_default();
            match candidate.asked {
                Some(_) => {
                    *waits = true;
                    waiting.push(candidate);
                }
                None => group.push(candidate),
            }
        }
        waiting.sort_by_key(|candidate| candidate.asked);
        Ok(Self { waiting, groups: groups.into_values().collect(), turn: turn.unwrap_or(1) })
    }
}

/// Whoever claims, in one transaction.
struct Claimer<'a> {
    db: &'a Connection,
    terms: &'a Terms,
    me: &'a str,
    live: &'a Live,
    now: SystemTime,
}

impl Claimer<'_> {
    fn next(&self, cohort: u64) -> Result<Next, StoreError> {
        let Queue { waiting, groups, turn } = Queue::of(self.db, cohort, self.now)?;
        let mut free = Free::of(&self.terms.targets, &leases::taken(self.db)?);
        let mut lacking = None;
        let mut refuse = |count: u32, free: &mut Free| {
            lacking = lacking.max(Some(count).filter(|count| *count as usize > self.terms.targets.largest()));
            free.reserve(count as usize);
        };
        for candidate in waiting {
            let (task, count) = self.open(&candidate)?;
            if count == 0 {
                return self.claim(candidate, task, None, turn);
            }
            match free.grant(count as usize) {
                Some(devices) => return self.claim(candidate, task, Some(devices), turn),
                None => refuse(count, &mut free),
            }
        }
        for (group, mut waits) in groups {
            for candidate in group {
                let (task, count) = self.open(&candidate)?;
                if count == 0 {
                    return self.claim(candidate, task, None, turn);
                }
                if waits {
                    continue;
                }
                if let Some(devices) = free.grant(count as usize) {
                    return self.claim(candidate, task, Some(devices), turn);
                }
                waits = true;
                refuse(count, &mut free);
                execute(self.db, ASK, [candidate.task.to_string()])?;
            }
        }
        self.later(cohort, lacking)
    }

    /// When nothing can be claimed: whether anything is left.
    fn later(&self, cohort: u64, lacking: Option<u32>) -> Result<Next, StoreError> {
        let sql = "SELECT r.task, r.status, r.attempts, r.not_before, r.expires FROM runs r
                   JOIN entrant_runs er ON er.task = r.task AND er.cohort = ?1
                   WHERE r.status IN ('pending', 'running')";
        let left = rows(self.db, sql, [int(cohort)], |row| {
            let attempt: (TaskId, u32) = (row.parsed("task")?, row.number("attempts")?);
            let pending = row.text("status")? == "pending";
            let at = row.time_option(if pending { "not_before" } else { "expires" })?;
            Ok((attempt, pending, at))
        })?;
        let ours = lock(self.live);
        let left: Vec<_> =
            left.into_iter().filter(|(attempt, pending, _)| *pending || !ours.contains(attempt)).collect();
        if left.is_empty() {
            return Ok(Next::Nothing);
        }
        Ok(Next::Later { at: left.into_iter().filter_map(|(_, _, at)| at).filter(|at| *at > self.now).min(), lacking })
    }

    /// A candidate's task and how many devices it is given.
    fn open(&self, candidate: &Candidate) -> Result<(TrainTask, u32), StoreError> {
        let (sql, id) = ("SELECT task_json FROM runs WHERE task = ?1", candidate.task.to_string());
        let found = first(self.db, sql, [&id], |row| row.json::<TrainTask>("task_json"))?;
        let task = found.ok_or(StoreError::NotFound { what: "run", id })?;
        let count = self.terms.gpu.of(&task);
        Ok((task, count))
    }

    fn claim(
        &self,
        candidate: Candidate,
        task: TrainTask,
        devices: Option<Devices>,
        turn: i64,
    ) -> Result<Next, StoreError> {
        let (id, expires) = (candidate.task, self.now + self.terms.lease);
        let sql = "UPDATE runs SET status = 'running', attempts = attempts + 1, started_at = ?2, owner = ?3,
                   expires = ?4, hotkey = ?5, turn = ?6, asked = NULL, not_before = NULL
                   WHERE task = ?1 AND status = 'pending'";
        let values = params![id.to_string(), millis(self.now), self.me, millis(expires), candidate.hotkey, turn];
        let moved = execute(self.db, sql, values)?;
        moved_one(self.db, moved, id, "pending")?;
        let (attempt, tries) = (candidate.attempts.saturating_add(1), candidate.failed.saturating_add(1));
        if let Some(devices) = &devices {
            leases::take(self.db, devices, id, self.me, attempt, self.now)?;
        }
        // On the list of what lives before the transaction ends: nobody sees it running and unattended.
        let _held = Held::new(self.live, id, attempt);
        let owner = self.me.to_owned();
        Ok(Next::Run(Box::new(Claim { task, attempt, tries, devices, expires, owner, _held })))
    }
}
