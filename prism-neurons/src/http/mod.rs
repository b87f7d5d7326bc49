//! The HTTP face: submissions in, boards out. Every answer is JSON, every refusal `{"error": {rule, message, fault}}`.
//!
//! | route | answer |
//! |---|---|
//! | `POST /v1/submissions` | 202 [`Accepted`] |
//! | `GET /v1/submissions/{id}` | [`SubmissionView`](crate::wire::SubmissionView) |
//! | `GET /v1/submissions/{id}/curve` | [`Curve`](crate::wire::Curve), once its weights are revealed |
//! | `GET /v1/submissions/{id}/manifest` | [`RunManifest`](prism_eval::run_manifest::RunManifest), likewise |
//! | `GET /v1/leaderboard?cohort=&limit=` | [`Leaderboard`](crate::wire::Leaderboard) |
//! | `GET /v1/architectures?limit=` | [`Architectures`](crate::wire::Architectures) |
//! | `GET /v1/architectures/{id}` | [`ArchitectureFiles`](crate::wire::ArchitectureFiles), by id or published name, likewise |
//! | `GET /v1/training-variants?architecture=&limit=` | [`TrainingVariants`](crate::wire::TrainingVariants) |
//! | `GET /v1/epochs?limit=` | [`Epochs`](crate::wire::Epochs) |
//! | `GET /healthz` | 200 while the process answers |
//! | `GET /readyz` | 200 while store and chain can be read, with the alarms that stand |
//!
//! An operator is answered on an address of its own, off unless it is configured, and only with its token:
//!
//! | route of [`internal_router`] | answer |
//! |---|---|
//! | `GET /internal/v1/held` | [`HeldList`](crate::wire::HeldList) |
//! | `GET /internal/v1/held/{id}` | [`HeldDetail`](crate::wire::HeldDetail) |
//! | `POST /internal/v1/held/{id}/resolve` | [`HoldView`](crate::wire::HoldView); 409 when it was answered otherwise |
#[cfg(test)]
mod board_tests;
mod boards;
mod curve;
mod internal;
mod serve;

pub use internal::{InternalApi, Token, internal_router};
pub use serve::{ServeLimits, listen, serve};

use crate::{
    deadline::within,
    intake::{Intake, IntakeError, refusal},
    store::Store,
    wire::{Accepted, Health},
};
use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use prism_core::{ChainView, Clock, Fault};
use std::{sync::Arc, time::Duration};

/// Longest wait for a part that `/readyz` asks.
const READY: Duration = Duration::from_secs(3);

/// What the routes look at.
#[derive(Debug, Clone)]
pub struct Api {
    /// Where submissions go in.
    pub intake: Intake,
    /// What boards are read from.
    pub store: Store,
    /// Asked by `/readyz`.
    pub chain: Arc<dyn ChainView>,
    /// For deadlines.
    pub clock: Arc<dyn Clock>,
}

/// All routes.
pub fn router(api: Api) -> Router {
    Router::new()
        // The intake counts while it reads.
        .route("/v1/submissions", post(submit).layer(DefaultBodyLimit::disable()))
        .route("/v1/submissions/{id}", get(boards::submission))
        .route("/v1/submissions/{id}/curve", get(boards::curve))
        .route("/v1/submissions/{id}/manifest", get(boards::manifest))
        .route("/v1/leaderboard", get(boards::leaderboard))
        .route("/v1/architectures", get(boards::architectures))
        .route("/v1/architectures/{id}", get(boards::architecture))
        .route("/v1/training-variants", get(boards::training_variants))
        .route("/v1/epochs", get(boards::epochs))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(api)
}

async fn submit(State(api): State<Api>, request: Request<Body>) -> Result<(StatusCode, Json<Accepted>), IntakeError> {
    Ok((StatusCode::ACCEPTED, Json(api.intake.submit(request).await?)))
}

async fn health() -> Json<Health> {
    Json(Health { status: "ok".into(), alarms: Vec::new() })
}

async fn ready(State(api): State<Api>) -> Response {
    let store = within(&*api.clock, READY, api.store.alarms()).await;
    let chain = within(&*api.clock, READY, api.chain.head()).await;
    let part = match (store, chain) {
        (Some(Ok(alarms)), Some(Ok(_))) => {
            let alarms = alarms.into_iter().map(|alarm| format!("{}: {}", alarm.kind, alarm.subject)).collect();
            return Json(Health { status: "ok".into(), alarms }).into_response();
        }
        (Some(Ok(_)), _) => "chain",
        _ => "store",
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: format!("{part} can't be read"), alarms: Vec::new() }))
        .into_response()
}

async fn no_route(request: Request<Body>) -> Response {
    let message = format!("no route {}", request.uri().path());
    refusal(StatusCode::NOT_FOUND, "http.route", message, Fault::Miner)
}

async fn no_method(request: Request<Body>) -> Response {
    let message = format!("no method {} on {}", request.method(), request.uri().path());
    refusal(StatusCode::METHOD_NOT_ALLOWED, "http.method", message, Fault::Miner)
}
