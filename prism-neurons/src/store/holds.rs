//! Holds: submissions that wait for an operator or a missing part, and who decided what about them.
use super::{
    Store, StoreError,
    cohorts::open_cohort,
    column::{Columns, execute, first, int, millis, rows, word},
    duplicates::{self, Provenance},
    submissions::{Reason, ReviewerFinding, SubmissionRecord, keep_findings, moved_one},
};
use prism_core::{FamilyId, SubmissionId, submission::SubmissionKind};
use prism_eval::duplicate::DuplicateReport;
use rusqlite::{Connection, Transaction, params};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// The rule by which an operator's no is on record.
pub const REJECTED: &str = "hold.rejected";
/// The rule by which a hold that nobody answered is rejected.
pub const EXPIRED: &str = "hold.expired";
/// Holds that one step ends.
const BATCH: i64 = 64;

/// What a hold ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It goes on by itself: what it was held for is no reason any more.
    Allow,
    /// It goes on as a member of a family that is there.
    Attach,
    /// It is rejected.
    Reject,
    /// It is examined once more, as if it had never been.
    Examine,
}

impl Ending {
    /// The word used in JSON and SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Attach => "attach",
            Self::Reject => "reject",
            Self::Examine => "examine",
        }
    }
}

/// How a hold ends when nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// When.
    pub at: SystemTime,
    /// How.
    pub ending: Ending,
    /// The family for [`Ending::Attach`]; without one on record it is [`Ending::Allow`].
    pub family: Option<FamilyId>,
}

/// Why a submission is held, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// What it brings.
    pub kind: SubmissionKind,
    /// Why.
    pub reason: Reason,
    /// How it ends when nobody answers; none where it waits for what is missing.
    pub expiry: Option<Expiry>,
    /// What was found out about duplicates.
    pub provenance: Option<Provenance>,
}

/// What an operator says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A family of its own, or whatever its structure says.
    Allow,
    /// A member of this family.
    Attach(FamilyId),
    /// No.
    Reject,
}

impl Answer {
    fn ending(&self) -> (Ending, Option<FamilyId>) {
        match self {
            Self::Allow => (Ending::Allow, None),
            Self::Attach(family) => (Ending::Attach, Some(*family)),
            Self::Reject => (Ending::Reject, None),
        }
    }
}

/// An answer with its author and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// What is said.
    pub answer: Answer,
    /// To which hold: the one that is open, or was last, when absent. Whoever answers twice should name it, or the second
    /// answer may meet a hold that came after the first.
    pub hold: Option<u64>,
    /// Who says so.
    pub operator: String,
    /// Why.
    pub note: String,
}

/// How a hold ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// In what.
    pub ending: Ending,
    /// The family that the submission was attached to.
    pub family: Option<FamilyId>,
    /// Who answered; none where nobody did.
    pub operator: Option<String>,
    /// Why.
    pub note: String,
    /// When.
    pub at: SystemTime,
}

/// A hold on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRecord {
    /// Its number, from 1.
    pub number: u64,
    /// The submission, as it stands now.
    pub submission: SubmissionRecord,
    /// Why it was held.
    pub reason: Reason,
    /// Since when.
    pub since: SystemTime,
    /// How it ends when nobody answers; none where it waits for what is missing.
    pub expiry: Option<Expiry>,
    /// How it ended.
    pub ended: Option<Ended>,
    /// What the submission resembles.
    pub report: Option<DuplicateReport>,
}

/// What was decided about a submission so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rulings {
    /// Suspicions of reviewers are no reason to hold it any more.
    pub reviewed: bool,
    /// What it resembles is no reason to hold it any more.
    pub compared: bool,
    /// The family that it belongs to.
    pub family: Option<FamilyId>,
}

/// The rules whose holds are about what a submission resembles begin so.
pub const DUPLICATE_RULES: &str = "duplicate.";

impl Store {
    /// Holds a pending submission, with what was found out about it.
    ///
    /// # Errors
    /// `State` when the submission is not pending.
    pub async fn hold(
        &self,
        id: SubmissionId,
        holding: Holding,
        findings: Vec<ReviewerFinding>,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        self.write(move |db| {
            let Holding { kind, reason, expiry, provenance } = &holding;
            let sql = "UPDATE submissions SET status = 'held', rule = ?2, reason = ?3, kind = ?4, updated_at = ?5
                       WHERE id = ?1 AND status = 'pending'";
            let kind = word("kind", kind)?;
            let moved = execute(db, sql, params![id.to_string(), reason.rule, reason.text, kind, millis(now)])?;
            moved_one(db, moved, id, "pending")?;
            open(db, id, reason, *expiry, now)?;
            if let Some(provenance) = provenance {
                duplicates::keep(db, id, provenance, now)?;
            }
            keep_findings(db, id, &findings)
        })
        .await
    }

    /// The open holds, oldest first, at most `most`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn open_holds(&self, most: usize) -> Result<Vec<HoldRecord>, StoreError> {
        self.read(move |db| {
            let numbers = rows(
                db,
                "SELECT number FROM holds WHERE answer IS NULL ORDER BY number LIMIT ?1",
                [int(most as u64)],
                |row| row.number("number"),
            )?;
            let found = numbers.into_iter().filter_map(|number| by_number(db, number).transpose());
            found.collect()
        })
        .await
    }

    /// All holds of a submission, oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn holds_of(&self, id: SubmissionId) -> Result<Vec<HoldRecord>, StoreError> {
        self.read(move |db| {
            let sql = "SELECT number FROM holds WHERE submission = ?1 ORDER BY number";
            let numbers = rows(db, sql, [id.to_string()], |row| row.number("number"))?;
            numbers.into_iter().filter_map(|number| by_number(db, number).transpose()).collect()
        })
        .await
    }

    /// What was decided about a submission so far, by operators or by time.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rulings(&self, id: SubmissionId) -> Result<Rulings, StoreError> {
        self.read(move |db| decided(db, id, false)).await
    }

    /// What operators decided about a submission so far: a hold that nobody answered clears nobody else.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn answers(&self, id: SubmissionId) -> Result<Rulings, StoreError> {
        self.read(move |db| decided(db, id, true)).await
    }

    /// Answers a hold: compare and set, on record with who said so and why. The submission goes on in the cohort that is
    /// open, or is rejected. The same answer again changes nothing and is none the worse for it.
    ///
    /// # Errors
    /// `NotFound` for a submission that was never held, or a family that is not on record; `State` when the hold was
    /// answered otherwise.
    pub async fn resolve(
        &self,
        id: SubmissionId,
        resolution: Resolution,
        now: SystemTime,
    ) -> Result<HoldRecord, StoreError> {
        self.write(move |db| {
            let missing = || StoreError::NotFound { what: "hold of submission", id: id.to_string() };
            let sql = "SELECT number FROM holds WHERE submission = ?1 AND (?2 IS NULL OR number = ?2)
                       ORDER BY answer IS NOT NULL, number DESC LIMIT 1";
            let number = first(db, sql, params![id.to_string(), resolution.hold.map(int)], |row| row.number("number"))?;
            let number: u64 = number.ok_or_else(missing)?;
            let hold = by_number(db, number)?.ok_or_else(missing)?;
            let (ending, family) = resolution.answer.ending();
            if let Some(ended) = &hold.ended {
                if (ended.ending, ended.family) == (ending, family) {
                    return by_number(db, number)?.ok_or_else(missing);
                }
                let by =
                    ended.operator.as_ref().map_or_else(|| "itself".to_owned(), |operator| format!("{operator:?}"));
                let found = format!("answered with {} by {by}", ended.ending.as_str());
                return Err(StoreError::State { what: "hold", id: number.to_string(), found, expected: "open" });
            }
            if let Some(family) = family {
                let on_record = first(db, "SELECT 1 FROM families WHERE id = ?1", [family.to_string()], |_| Ok(()))?;
                on_record.ok_or(StoreError::NotFound { what: "family", id: family.to_string() })?;
            }
            let ended = Ended { ending, family, operator: Some(resolution.operator), note: resolution.note, at: now };
            end(db, &hold, &ended, REJECTED)?;
            by_number(db, number)?.ok_or_else(missing)
        })
        .await
    }

    /// Ends the holds whose time is over, each as it was to end. Which, and how.
    ///
    /// # Errors
    /// `NotFound` while no cohort is open.
    pub async fn expire_holds(&self, now: SystemTime) -> Result<Vec<(SubmissionId, Ending)>, StoreError> {
        self.write(move |db| {
            let sql = "SELECT number FROM holds WHERE answer IS NULL AND expires <= ?1 ORDER BY number LIMIT ?2";
            let numbers = rows(db, sql, params![millis(now), BATCH], |row| row.number("number"))?;
            let mut done = Vec::new();
            for number in numbers {
                let Some(hold) = by_number(db, number)? else { continue };
                let Some(expiry) = hold.expiry else { continue };
                let on_record = match expiry.family {
                    Some(family) => {
                        first(db, "SELECT 1 FROM families WHERE id = ?1", [family.to_string()], |_| Ok(()))?
                    }
                    None => None,
                };
                let family = expiry.family.filter(|_| expiry.ending == Ending::Attach && on_record.is_some());
                let ending = match expiry.ending {
                    Ending::Attach if family.is_none() => Ending::Allow,
                    ending => ending,
                };
                let note = "nobody answered in time".to_owned();
                end(db, &hold, &Ended { ending, family, operator: None, note, at: now }, EXPIRED)?;
                done.push((hold.submission.submission.id, ending));
            }
            Ok(done)
        })
        .await
    }
}

fn decided(db: &Connection, id: SubmissionId, answered: bool) -> Result<Rulings, StoreError> {
    let sql = "SELECT rule, family FROM holds WHERE submission = ?1 AND answer IN ('allow', 'attach')
                 AND (operator IS NOT NULL OR NOT ?2)
               ORDER BY number";
    let mut rulings = Rulings::default();
    for (rule, family) in rows(db, sql, params![id.to_string(), answered], |row| {
        Ok((row.text("rule")?, row.parsed_option::<FamilyId>("family")?))
    })? {
        let compared = rule.starts_with(DUPLICATE_RULES) || family.is_some();
        rulings.compared |= compared;
        rulings.reviewed |= !rule.starts_with(DUPLICATE_RULES);
        rulings.family = family.or(rulings.family);
    }
    Ok(rulings)
}

/// Puts a hold on record, beside the step that holds.
pub(super) fn open(
    db: &Transaction<'_>,
    id: SubmissionId,
    reason: &Reason,
    expiry: Option<Expiry>,
    now: SystemTime,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO holds (submission, rule, reason, since, expires, expiry, attach)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let values = params![
        id.to_string(),
        reason.rule,
        reason.text,
        millis(now),
        expiry.map(|expiry| millis(expiry.at)),
        expiry.map(|expiry| expiry.ending.as_str()),
        expiry.and_then(|expiry| expiry.family).map(|family| family.to_string()),
    ];
    execute(db, sql, values)?;
    Ok(())
}

/// Ends the holds of a rule: what was missing is there.
pub(super) fn release(db: &Transaction<'_>, rule: &str, now: SystemTime) -> Result<(), StoreError> {
    let sql = "UPDATE holds SET answer = 'examine', note = 'what was missing is there', ended_at = ?2
               WHERE rule = ?1 AND answer IS NULL";
    execute(db, sql, params![rule, millis(now)])?;
    Ok(())
}

/// Ends an open hold and moves its submission on.
fn end(db: &Transaction<'_>, hold: &HoldRecord, ended: &Ended, rejected: &str) -> Result<(), StoreError> {
    let id = hold.submission.submission.id;
    let sql = "UPDATE holds SET answer = ?2, family = ?3, operator = ?4, note = ?5, ended_at = ?6
               WHERE number = ?1 AND answer IS NULL";
    let family = ended.family.map(|family| family.to_string());
    let word = ended.ending.as_str();
    let values = params![int(hold.number), word, family, ended.operator, ended.note, millis(ended.at)];
    if execute(db, sql, values)? != 1 {
        let (what, expected) = ("hold", "open");
        return Err(StoreError::State { what, id: hold.number.to_string(), found: "answered".into(), expected });
    }
    let moved = if ended.ending == Ending::Reject {
        let text = format!("{}; held by {}: {}", ended.note, hold.reason.rule, hold.reason.text);
        let sql = "UPDATE submissions SET status = 'rejected', rule = ?2, reason = ?3, updated_at = ?4
                   WHERE id = ?1 AND status = 'held'";
        execute(db, sql, params![id.to_string(), rejected, text, millis(ended.at)])?
    } else {
        let cohort = open_cohort(db)?.number;
        let sql = "UPDATE submissions SET status = 'pending', rule = NULL, reason = NULL, material = NULL, cohort = ?2,
                   updated_at = ?3 WHERE id = ?1 AND status = 'held'";
        execute(db, sql, params![id.to_string(), int(cohort), millis(ended.at)])?
    };
    moved_one(db, moved, id, "held")
}

fn by_number(db: &Connection, number: u64) -> Result<Option<HoldRecord>, StoreError> {
    let sql =
        "SELECT submission, rule, reason, since, expires, expiry, attach, answer, family, operator, note, ended_at
               FROM holds WHERE number = ?1";
    let Some((id, mut hold)) = first(db, sql, [int(number)], |row| partial(row, number))? else { return Ok(None) };
    let sql = format!("SELECT {} FROM submissions WHERE id = ?1", SubmissionRecord::COLUMNS);
    let Some(submission) = first(db, &sql, [id.to_string()], SubmissionRecord::from_row)? else { return Ok(None) };
    hold.report = duplicates::report_of(db, id)?;
    Ok(Some(hold.of(submission)))
}

/// A hold without its submission.
struct Partial {
    number: u64,
    reason: Reason,
    since: SystemTime,
    expiry: Option<Expiry>,
    ended: Option<Ended>,
    report: Option<DuplicateReport>,
}

impl Partial {
    fn of(self, submission: SubmissionRecord) -> HoldRecord {
        let Self { number, reason, since, expiry, ended, report } = self;
        HoldRecord { number, submission, reason, since, expiry, ended, report }
    }
}

fn partial(row: Columns<'_>, number: u64) -> Result<(SubmissionId, Partial), StoreError> {
    let expiry = match (row.time_option("expires")?, row.variant_option("expiry")?) {
        (Some(at), Some(ending)) => Some(Expiry { at, ending, family: row.parsed_option("attach")? }),
        _ => None,
    };
    let ended = match (row.variant_option("answer")?, row.time_option("ended_at")?) {
        (Some(ending), Some(at)) => Some(Ended {
            ending,
            family: row.parsed_option("family")?,
            operator: row.text_option("operator")?,
            note: row.text_option("note")?.unwrap_or_default(),
            at,
        }),
        _ => None,
    };
    let reason = Reason { rule: row.text("rule")?, text: row.text("reason")? };
    let hold = Partial { number, reason, since: row.time("since")?, expiry, ended, report: None };
    Ok((row.parsed("submission")?, hold))
}
