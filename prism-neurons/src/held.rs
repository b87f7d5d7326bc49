//! What an operator sees of held submissions and says about them: the same over the command line and over HTTP.
use crate::{
    store::{
        Store, StoreError,
        holds::{Answer, Ending, HoldRecord, Resolution},
    },
    wire::{FindingView, HeldDetail, HeldList, HoldAnswer, HoldView, Resolve},
};
use prism_core::{Error, Fault, Kind, SubmissionId};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most characters of an operator's name.
const MAX_OPERATOR: usize = 64;
/// Most characters of a reason.
const MAX_REASON: usize = 1000;

/// Why an answer is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeldError {
    /// A text that is empty, too long, or can't be printed.
    #[error("`{field}` must be 1 to {most} printable characters")]
    Text {
        /// Where it stands.
        field: &'static str,
        /// The limit.
        most: usize,
    },
    /// A word that is no answer, or a family where there must be none.
    #[error("`answer` must be `allow`, `reject`, or `attach` with a `family`, and no other has one")]
    Answer,
    /// Never held, and like nothing.
    #[error("submission {0} was never held, and resembles nothing on record")]
    Unknown(SubmissionId),
    /// The store's reasons: another answer is on record, no such family.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<HeldError> for Error {
    fn from(error: HeldError) -> Self {
        let kind = match error {
            HeldError::Store(error) => return error.into(),
            HeldError::Unknown(_) => Kind::NotFound,
            _ => Kind::Invalid,
        };
        Self::new(kind, Fault::Validator, error.to_string())
    }
}

/// The open holds, oldest first, at most `most`.
///
/// # Errors
/// Those of the store.
pub async fn list(store: &Store, most: usize) -> Result<HeldList, HeldError> {
    Ok(HeldList { held: store.open_holds(most).await?.iter().map(view).collect() })
}

/// All that is known of a submission that is or was held, or that resembles another.
///
/// # Errors
/// `Unknown`, and those of the store.
pub async fn show(store: &Store, id: SubmissionId) -> Result<HeldDetail, HeldError> {
    let (holds, report) = (store.holds_of(id).await?, store.duplicate_report(id).await?);
    if holds.is_empty() && report.is_none() {
        return Err(HeldError::Unknown(id));
    }
    let findings = store.findings(id).await?.into_iter();
    Ok(HeldDetail {
        holds: holds.iter().map(view).collect(),
        report,
        findings: findings.map(|(reviewer, finding)| FindingView { reviewer, finding }).collect(),
    })
}

/// Answers a hold: see [`Store::resolve`].
///
/// # Errors
/// An answer that makes no sense; `Unknown`; those of the store.
pub async fn resolve(store: &Store, id: SubmissionId, said: Resolve, now: SystemTime) -> Result<HoldView, HeldError> {
    let answer = match (said.answer, said.family) {
        (Ending::Allow, None) => Answer::Allow,
        (Ending::Attach, Some(family)) => Answer::Attach(family),
        (Ending::Reject, None) => Answer::Reject,
        _ => return Err(HeldError::Answer),
    };
    let operator = text("operator", &said.operator, MAX_OPERATOR)?;
    let note = text("reason", &said.reason, MAX_REASON)?;
    if store.holds_of(id).await?.is_empty() {
        return Err(HeldError::Unknown(id));
    }
    let resolution = Resolution { answer, hold: said.hold, operator, note };
    Ok(view(&store.resolve(id, resolution, now).await?))
}

fn text(field: &'static str, text: &str, most: usize) -> Result<String, HeldError> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or(HeldError::Text { field, most })
}

fn view(hold: &HoldRecord) -> HoldView {
    let record = &hold.submission;
    HoldView {
        hold: hold.number,
        submission: record.submission.id,
        hotkey: record.submission.hotkey,
        name: record.name.clone(),
        kind: record.kind,
        status: record.status,
        rule: hold.reason.rule.clone(),
        reason: hold.reason.text.clone(),
        since: millis(hold.since),
        expires: hold.expiry.map(|expiry| millis(expiry.at)),
        expiry: hold.expiry.map(|expiry| expiry.ending),
        answer: hold.ended.as_ref().map(|ended| HoldAnswer {
            answer: ended.ending,
            family: ended.family,
            operator: ended.operator.clone(),
            reason: ended.note.clone(),
            at: millis(ended.at),
        }),
    }
}

fn millis(time: SystemTime) -> u64 {
    let span = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
