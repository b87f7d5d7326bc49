//! Every reason for which a submission is not accepted, with its status, rule and fault.
use crate::{
    store::StoreError,
    wire::{Refusal, Refused},
};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use prism_chain::request::{RequestError, VerifyError};
use prism_core::{Error, Fault, Hotkey, Netuid, SubmissionId};
use std::time::Duration;

/// Why a submission was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// More bytes than are read.
    #[error("body is larger than {most} bytes")]
    TooLarge {
        /// The limit.
        most: usize,
    },
    /// The body broke off.
    #[error("body did not arrive whole")]
    Unread(#[source] axum::Error),
    /// The whole request took too long.
    #[error("request took longer than {} s", .0.as_secs())]
    Deadline(Duration),
    /// As many requests as are handled at once are being handled.
    #[error("{most} submissions are being read at this moment, no more are at once")]
    Busy {
        /// How many.
        most: usize,
    },
    /// The body is no JSON.
    #[error("body is not JSON: {0}")]
    Json(serde_json::Error),
    /// A field is missing, unknown, repeated or of another type.
    #[error("body: {0}")]
    Field(serde_json::Error),
    /// The bundle is not encoded as it must be.
    #[error("`code` is not strict base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// The bundle is empty.
    #[error("bundle is empty")]
    Empty,
    /// A name that can't be shown.
    #[error("`{field}` must be at most {most} printable characters")]
    Name {
        /// Where it stands.
        field: &'static str,
        /// The limit.
        most: usize,
    },
    /// Shape, time, signature or nonce of the request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Only registered hotkeys may submit.
    #[error("hotkey {hotkey} is not registered on subnet {netuid}")]
    Unregistered {
        /// Whose request.
        hotkey: Hotkey,
        /// Where it would have to be registered.
        netuid: Netuid,
    },
    /// A validator doesn't judge itself.
    #[error("hotkey {0} is this validator's own")]
    OwnHotkey(Hotkey),
    /// The bundle breaks a rule.
    #[error("{message}")]
    Bundle {
        /// The rule's stable name, such as `bundle.symlink`.
        rule: String,
        /// What is wrong, and where.
        message: String,
    },
    /// The same work of the same hotkey.
    #[error("this hotkey sent the same bundle before, as submission {0}")]
    Duplicate(SubmissionId),
    /// As many as a hotkey may send to one cohort.
    #[error("hotkey has sent {quota} submissions to the open cohort, the most it may")]
    Quota {
        /// How many.
        quota: u32,
    },
    /// The chain can't be read.
    #[error("chain can't be read at this moment")]
    Chain(#[source] Error),
    /// The submission can't be kept.
    #[error("submission can't be kept at this moment")]
    Store(#[from] StoreError),
    /// The bundle can't be kept.
    #[error("bundle can't be kept at this moment")]
    Artifacts(#[source] Error),
    /// A part of this validator failed.
    #[error("submission can't be checked at this moment")]
    Check(#[source] Error),
}

impl IntakeError {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Deadline(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Unread(_) | Self::Json(_) | Self::Field(_) | Self::Base64(_) | Self::Empty | Self::Name { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::Request(RequestError::NonceReused) | Self::Duplicate(_) => StatusCode::CONFLICT,
            Self::Request(
                RequestError::Stale { .. }
                | RequestError::Future { .. }
                | RequestError::Receiver
                | RequestError::Signature
                | RequestError::WeakKey,
            ) => StatusCode::UNAUTHORIZED,
            Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::Unregistered { .. } | Self::OwnHotkey(_) => StatusCode::FORBIDDEN,
            Self::Bundle { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Quota { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy { .. } | Self::Chain(_) | Self::Store(_) | Self::Artifacts(_) | Self::Check(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The rule's stable name.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::TooLarge { .. } => "request.size",
            Self::Unread(_) => "request.body",
            Self::Deadline(_) => "request.deadline",
            Self::Busy { .. } => "intake.busy",
            Self::Json(_) => "request.json",
            Self::Field(_) => "request.field",
            Self::Base64(_) => "request.base64",
            Self::Empty => "bundle.empty",
            Self::Name { .. } => "request.name",
            Self::Request(error) => error.rule(),
            Self::Unregistered { .. } => "hotkey.unregistered",
            Self::OwnHotkey(_) => "hotkey.own",
            Self::Bundle { rule, .. } => rule,
            Self::Duplicate(_) => "submission.duplicate",
            Self::Quota { .. } => "submission.quota",
            Self::Chain(_) => "chain.unavailable",
            Self::Store(_) | Self::Artifacts(_) | Self::Check(_) => "validator.unavailable",
        }
    }

    /// Who has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Quota { .. } => Fault::Policy,
            Self::Busy { .. } | Self::Chain(_) => Fault::Infrastructure,
            Self::Store(_) | Self::Artifacts(_) | Self::Check(_) => Fault::Validator,
            _ => Fault::Miner,
        }
    }

    /// When the same request may succeed.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { .. } => Some(Duration::from_secs(1)),
            Self::Chain(_) | Self::Store(_) | Self::Artifacts(_) | Self::Check(_) => Some(Duration::from_secs(10)),
            _ => None,
        }
    }
}

impl From<VerifyError> for IntakeError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Request(error) => Self::Request(error),
            VerifyError::Busy { most } => Self::Busy { most },
            VerifyError::Deadline(after) => Self::Deadline(after),
            other => Self::Check(other.into()),
        }
    }
}

impl IntoResponse for IntakeError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            let cause = std::error::Error::source(&self).map(ToString::to_string);
            tracing::error!(rule = self.rule(), cause, "{self}");
        }
        let retry_after = self.retry_after();
        let mut response = refusal(status, self.rule(), self.to_string(), self.fault());
        if let Some(span) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(span.as_secs()));
        }
        response
    }
}

/// The answer to anything refused.
pub(crate) fn refusal(status: StatusCode, rule: &str, message: String, fault: Fault) -> Response {
    let fault = match fault {
        Fault::Miner => "miner",
        Fault::Policy => "policy",
        Fault::Infrastructure => "infrastructure",
        _ => "validator",
    };
    let error = Refusal { rule: rule.to_owned(), message, fault: fault.to_owned() };
    (status, Json(Refused { error })).into_response()
}
