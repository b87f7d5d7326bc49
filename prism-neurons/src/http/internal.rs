//! The operator's HTTP face: an address of its own, off unless it is configured, and a token for every route.
//!
//! | route | answer |
//! |---|---|
//! | `GET /internal/v1/held` | [`HeldList`](crate::wire::HeldList) |
//! | `GET /internal/v1/held/{id}` | [`HeldDetail`](crate::wire::HeldDetail) |
//! | `POST /internal/v1/held/{id}/resolve` | [`HoldView`](crate::wire::HoldView); 409 when it was answered otherwise |
//! | `GET /internal/v1/{submissions/{id},leaderboard,architectures,training-variants}` | as under `/v1`, for all that is settled: others see it once the weights that follow from it are revealed |
use super::{boards::operator_boards, no_method, no_route};
use crate::{
    held::{self, HeldError},
    intake::refusal,
    store::{Store, StoreError},
    wire::{HeldDetail, HeldList, HoldView, Resolve},
};
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use prism_core::{Clock, Error, Fault, Kind, SubmissionId};
use sha2::{Digest as _, Sha256};
use std::{fmt, hint::black_box, path::Path as FilePath, sync::Arc};

/// Most holds of a list.
const MOST: usize = 500;
/// Longest body.
const MAX_BODY: usize = 16 * 1024;
/// Shortest token: what can be guessed is none.
const MIN_TOKEN: usize = 16;
/// Longest token.
const MAX_TOKEN: usize = 4096;

/// What the routes ask for. Only its digest is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// The token of a text: 16 to 4096 visible characters.
    ///
    /// # Errors
    /// `Invalid` for another text.
    pub fn new(text: &str) -> prism_core::Result<Self> {
        let fits = (MIN_TOKEN..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            let text = format!("token of the internal API must be {MIN_TOKEN} to {MAX_TOKEN} visible characters");
            return Err(Error::new(Kind::Invalid, Fault::Validator, text));
        }
        Ok(Self(Sha256::digest(text.as_bytes()).into()))
    }

    /// The token in a file; spaces and line ends around it don't count.
    ///
    /// # Errors
    /// `NotFound` for a file that can't be read; those of [`Token::new`].
    pub fn from_file(path: &FilePath) -> prism_core::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let text = format!("token file {} can't be read", path.display());
            Error::new(Kind::NotFound, Fault::Validator, text).because(error)
        })?;
        Self::new(text.trim())
    }

    /// Whether a request brings it. Digests are compared, all of their bytes whatever the first difference, so that the
    /// time tells nothing of the token.
    fn is_in(self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(given) = given.and_then(|value| value.strip_prefix("Bearer ")) else { return false };
        let given: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        let difference = given.iter().zip(&self.0).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
        black_box(difference) == 0
    }
}

/// What the routes look at.
#[derive(Debug, Clone)]
pub struct InternalApi {
    /// Where holds are.
    pub store: Store,
    /// When an answer was given.
    pub clock: Arc<dyn Clock>,
}

/// All routes, each behind the token.
pub fn internal_router(api: InternalApi, token: Token) -> Router {
    Router::new()
        .route("/internal/v1/held", get(list))
        .route("/internal/v1/held/{id}", get(show))
        .route("/internal/v1/held/{id}/resolve", post(resolve))
        .merge(operator_boards(api.store.clone()))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(token, admit))
        .with_state(api)
}

async fn admit(State(token): State<Token>, request: Request, next: Next) -> Response {
    if token.is_in(request.headers()) {
        return next.run(request).await;
    }
    let message = "the internal API asks for `Authorization: Bearer` and its token".to_owned();
    let mut answer = refusal(StatusCode::UNAUTHORIZED, "internal.token", message, Fault::Miner);
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

/// Why an operator is not served.
#[derive(Debug, thiserror::Error)]
enum InternalError {
    #[error("`{0}` is not an id of 64 lowercase hexadecimal digits")]
    Id(String),
    #[error("body is longer than {MAX_BODY} bytes, or did not arrive whole")]
    Unread,
    #[error("body: {0}")]
    Body(serde_json::Error),
    #[error(transparent)]
    Held(#[from] HeldError),
}

impl IntoResponse for InternalError {
    fn into_response(self) -> Response {
        let (status, rule) = match &self {
            Self::Id(_) => (StatusCode::BAD_REQUEST, "held.id"),
            Self::Unread => (StatusCode::PAYLOAD_TOO_LARGE, "request.size"),
            Self::Body(_) => (StatusCode::BAD_REQUEST, "request.field"),
            Self::Held(HeldError::Text { .. } | HeldError::Answer) => (StatusCode::UNPROCESSABLE_ENTITY, "held.answer"),
            Self::Held(HeldError::Unknown(_)) => (StatusCode::NOT_FOUND, "held.unknown"),
            Self::Held(HeldError::Store(StoreError::State { .. })) => (StatusCode::CONFLICT, "held.answered"),
            Self::Held(HeldError::Store(StoreError::NotFound { .. })) => (StatusCode::NOT_FOUND, "held.unknown"),
            Self::Held(HeldError::Store(error)) => {
                tracing::error!(?error, "holds can't be read or written");
                (StatusCode::SERVICE_UNAVAILABLE, "validator.unavailable")
            }
        };
        refusal(status, rule, self.to_string(), Fault::Validator)
    }
}

fn id(text: String) -> Result<SubmissionId, InternalError> {
    text.parse().map_err(|_| InternalError::Id(text))
}

async fn list(State(api): State<InternalApi>) -> Result<Json<HeldList>, InternalError> {
    Ok(Json(held::list(&api.store, MOST).await?))
}

async fn show(State(api): State<InternalApi>, Path(text): Path<String>) -> Result<Json<HeldDetail>, InternalError> {
    Ok(Json(held::show(&api.store, id(text)?).await?))
}

async fn resolve(
    State(api): State<InternalApi>,
    Path(text): Path<String>,
    body: Body,
) -> Result<Json<HoldView>, InternalError> {
    let id = id(text)?;
    let body = to_bytes(body, MAX_BODY).await.map_err(|_| InternalError::Unread)?;
    let said: Resolve = serde_json::from_slice(&body).map_err(InternalError::Body)?;
    Ok(Json(held::resolve(&api.store, id, said, api.clock.now()).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{
            holds::Holding,
            submissions::{Examined, Reason},
        },
        wire::Refused,
    };
    use prism_core::{
        Block, Digest, FamilyId, Hotkey,
        source::{Batch, Cursor},
        submission::{Precedence, Submission, SubmissionKind, SubmissionStatus},
        testing::fakes::ManualClock,
    };
    use serde::de::DeserializeOwned;
    use tower::ServiceExt;

    const TOKEN: &str = "0123456789abcdef";

    async fn ask<T: DeserializeOwned>(
        router: &Router,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> Result<T, (u16, String)> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let response = router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        if status.is_success() {
            return Ok(serde_json::from_slice(&body).unwrap());
        }
        Err((status.as_u16(), serde_json::from_slice::<Refused>(&body).unwrap().error.rule))
    }

    async fn held() -> (Store, Router, SubmissionId) {
        let store = Store::in_memory().unwrap();
        store.open_cohort(Block(1)).await.unwrap();
        let hotkey = Hotkey([1; 32]);
        let of = |place: u32| {
            let precedence = Precedence { block: Block(7), extrinsic: place, hotkey, local: true };
            Submission::bundle(hotkey, precedence, Digest::of(&place.to_le_bytes()), 4)
        };
        let (one, two) = (of(1), of(2));
        let batch = Batch { submissions: vec![one.clone(), two.clone()], next: Cursor("2".into()) };
        let now = std::time::UNIX_EPOCH;
        store.take_in("http", batch, now).await.unwrap();
        let kind = SubmissionKind::ArchitectureOnly;
        let (family, material) = (FamilyId([9; 32]), std::collections::BTreeMap::new());
        let examined = Examined { kind, family, founds: Some(material.clone()), material, provenance: None };
        store.pass(one.id, examined, vec![], now).await.unwrap();
        let reason = Reason::new("duplicate.borderline", "looks like another");
        let holding = Holding { kind, reason, expiry: None, provenance: None };
        store.hold(two.id, holding, vec![], now).await.unwrap();
        let api = InternalApi { store: store.clone(), clock: Arc::new(ManualClock::default()) };
        (store, internal_router(api, Token::new(TOKEN).unwrap()), two.id)
    }

    #[tokio::test]
    async fn nothing_is_answered_without_the_token() {
        let (_, router, id) = held().await;
        let path = format!("/internal/v1/held/{id}");
        let resolve = format!("{path}/resolve");
        for (method, path) in [("GET", "/internal/v1/held"), ("GET", &path), ("POST", &resolve), ("GET", "/else")] {
            for token in
                [None, Some("Bearer 0123456789abcdee"), Some("0123456789abcdef"), Some("Bearer "), Some("Basic x")]
            {
                let refused = ask::<HeldList>(&router, method, path, token, "").await.unwrap_err();
                assert_eq!(refused, (401, "internal.token".to_owned()), "{method} {path} {token:?}");
            }
        }
        assert!(Token::new("short").is_err() && Token::new("with a space in it").is_err());
    }

    #[tokio::test]
    async fn a_hold_is_listed_shown_and_answered_once() {
        let (store, router, id) = held().await;
        let token = format!("Bearer {TOKEN}");
        let token = Some(token.as_str());
        let list: HeldList = ask(&router, "GET", "/internal/v1/held", token, "").await.unwrap();
        assert_eq!(list.held.iter().map(|one| (one.submission, one.hold)).collect::<Vec<_>>(), [(id, 1)]);
        let path = format!("/internal/v1/held/{id}");
        let detail: HeldDetail = ask(&router, "GET", &path, token, "").await.unwrap();
        assert_eq!((detail.holds.len(), detail.report, detail.findings.len()), (1, None, 0));
        let resolve = format!("{path}/resolve");
        let post = async |body: &str| ask::<HoldView>(&router, "POST", &resolve, token, body).await;
        let refused = async |body: &str| post(body).await.unwrap_err();
        assert_eq!(refused("{").await, (400, "request.field".into()));
        let unknown = r#"{"answer":"allow","operator":"ann","reason":"fine","more":1}"#;
        assert_eq!(refused(unknown).await, (400, "request.field".into()));
        assert_eq!(refused(&"x".repeat(MAX_BODY + 1)).await, (413, "request.size".into()));
        let empty = r#"{"answer":"allow","operator":" ","reason":"fine"}"#;
        assert_eq!(refused(empty).await, (422, "held.answer".into()));
        let homeless = r#"{"answer":"attach","operator":"ann","reason":"fine"}"#;
        assert_eq!(refused(homeless).await, (422, "held.answer".into()));
        let family = |byte: u8| {
            let family = FamilyId([byte; 32]);
            format!(r#"{{"answer":"attach","family":"{family}","operator":"ann","reason":"a variant"}}"#)
        };
        assert_eq!(refused(&family(8)).await, (404, "held.unknown".into()));
        let done = post(&family(9)).await.unwrap();
        let answer = done.answer.clone().unwrap();
        assert_eq!((answer.family, answer.operator.as_deref()), (Some(FamilyId([9; 32])), Some("ann")));
        assert_eq!(done.status, SubmissionStatus::Pending);
        assert_eq!(post(&family(9)).await.unwrap(), done, "the same answer again");
        let other = r#"{"answer":"reject","operator":"bob","reason":"a copy"}"#;
        assert_eq!(refused(other).await, (409, "held.answered".into()));
        assert_eq!(store.open_holds(9).await.unwrap(), []);
        let stranger = format!("/internal/v1/held/{}", SubmissionId([7; 32]));
        let missing = ask::<HeldDetail>(&router, "GET", &stranger, token, "").await.unwrap_err();
        assert_eq!(missing, (404, "held.unknown".to_owned()));
        let wrong = ask::<HeldDetail>(&router, "GET", "/internal/v1/held/x", token, "").await.unwrap_err();
        assert_eq!(wrong, (400, "held.id".to_owned()));
    }
}
