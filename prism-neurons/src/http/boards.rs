//! What anyone may read, and what the operator reads earlier.
use super::{Api, curve::curve as curve_of};
use crate::{
    intake::refusal,
    store::{
        Store, StoreError,
        boards::{EpochRecord, Published, Sight, SlotRecord},
        intake::ArrivalRecord,
        payments::AllocationRecord,
    },
    wire::{
        ArchitectureFiles, ArchitectureView, Architectures, Curve, EpochView, Epochs, HolderView, Leaderboard,
        LeaderboardEntry, SubmissionView, TrainingVariantView, TrainingVariants,
    },
};
use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prism_core::{
    Digest, FamilyId, Fault, Hotkey, SubmissionId, artifacts::ArtifactsExt as _, receipt::Stage, reward::Allocation,
    score::Track, submission::SubmissionStatus,
};
use prism_eval::run_manifest::MAX_BYTES;
use serde::{Deserialize, de::DeserializeOwned};

/// Rows of a board when nobody says how many.
const ROWS: usize = 50;
/// Most rows of a board.
const MOST: usize = 200;

/// Why a board is not shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum BoardError {
    #[error("`{0}` is not an id of 64 lowercase hexadecimal digits")]
    Id(String),
    #[error("query: {0}")]
    Query(QueryRejection),
    #[error("no submission {0}")]
    Unknown(SubmissionId),
    #[error("the curve of submission {0} is published when the weights that follow from it are revealed")]
    Sealed(SubmissionId),
    #[error("the run manifest of submission {0} is published when the weights that follow from it are revealed")]
    ManifestSealed(SubmissionId),
    #[error("the run manifest of submission {0} could not be written")]
    Unwritten(SubmissionId),
    #[error("no architecture {0}")]
    Architecture(String),
    #[error("the files of architecture {0} are published when the weights that follow from them are revealed")]
    ArchitectureSealed(FamilyId),
    #[error("a published file can't be read at this moment")]
    Artifact(prism_core::Error),
    #[error("no published cohort {0}")]
    Cohort(u64),
    #[error("boards can't be read at this moment")]
    Store(#[from] StoreError),
}

impl IntoResponse for BoardError {
    fn into_response(self) -> Response {
        let (status, rule, fault) = match &self {
            Self::Id(_) => (StatusCode::BAD_REQUEST, "board.id", Fault::Miner),
            Self::Query(_) => (StatusCode::BAD_REQUEST, "board.query", Fault::Miner),
            Self::Unknown(_) => (StatusCode::NOT_FOUND, "submission.unknown", Fault::Miner),
            Self::Sealed(_) => (StatusCode::NOT_FOUND, "curve.sealed", Fault::Policy),
            Self::ManifestSealed(_) => (StatusCode::NOT_FOUND, "manifest.sealed", Fault::Policy),
            Self::Unwritten(_) => (StatusCode::NOT_FOUND, "manifest.unwritten", Fault::Validator),
            Self::Architecture(_) => (StatusCode::NOT_FOUND, "architecture.unknown", Fault::Miner),
            Self::ArchitectureSealed(_) => (StatusCode::NOT_FOUND, "architecture.sealed", Fault::Policy),
            Self::Artifact(error) => {
                tracing::error!(error = error.chain(), "published file not read");
                (StatusCode::SERVICE_UNAVAILABLE, "validator.unavailable", Fault::Validator)
            }
            Self::Cohort(_) => (StatusCode::NOT_FOUND, "cohort.unknown", Fault::Miner),
            Self::Store(error) => {
                tracing::error!(?error, "board not read");
                (StatusCode::SERVICE_UNAVAILABLE, "validator.unavailable", Fault::Validator)
            }
        };
        refusal(status, rule, self.to_string(), fault)
    }
}

type Answer<T> = Result<Json<T>, BoardError>;
type Asked<T> = Result<Query<T>, QueryRejection>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LeaderboardQuery {
    cohort: Option<u64>,
    limit: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct VariantQuery {
    architecture: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PageQuery {
    limit: Option<usize>,
}

fn asked<T: DeserializeOwned>(query: Asked<T>) -> Result<T, BoardError> {
    query.map(|Query(query)| query).map_err(BoardError::Query)
}

fn most(limit: Option<usize>) -> usize {
    limit.unwrap_or(ROWS).min(MOST)
}

fn id<T: std::str::FromStr>(text: String) -> Result<T, BoardError> {
    text.parse().map_err(|_| BoardError::Id(text))
}

/// The boards as the operator sees them: what is settled, before the weights that follow from it are revealed. Behind
/// whatever keeps others away.
pub(super) fn operator_boards<S: Clone + Send + Sync + 'static>(store: Store) -> Router<S> {
    Router::new()
        .route("/internal/v1/submissions/{id}", get(operator_submission))
        .route("/internal/v1/submissions/{id}/curve", get(operator_curve))
        .route("/internal/v1/leaderboard", get(operator_leaderboard))
        .route("/internal/v1/architectures", get(operator_architectures))
        .route("/internal/v1/training-variants", get(operator_training_variants))
        .with_state(store)
}

async fn operator_submission(State(store): State<Store>, Path(text): Path<String>) -> Answer<SubmissionView> {
    submission_of(&store, text, Sight::Operator).await
}

async fn operator_curve(State(store): State<Store>, Path(text): Path<String>) -> Answer<Curve> {
    curve_seen(&store, text, Sight::Operator).await
}

async fn operator_leaderboard(State(store): State<Store>, query: Asked<LeaderboardQuery>) -> Answer<Leaderboard> {
    leaderboard_of(&store, asked(query)?, Sight::Operator).await
}

async fn operator_architectures(State(store): State<Store>, query: Asked<PageQuery>) -> Answer<Architectures> {
    architectures_of(&store, asked(query)?, Sight::Operator).await
}

async fn operator_training_variants(
    State(store): State<Store>,
    query: Asked<VariantQuery>,
) -> Answer<TrainingVariants> {
    training_variants_of(&store, asked(query)?, Sight::Operator).await
}

pub(super) async fn submission(State(api): State<Api>, Path(text): Path<String>) -> Answer<SubmissionView> {
    submission_of(&api.store, text, Sight::Public).await
}

pub(super) async fn curve(State(api): State<Api>, Path(text): Path<String>) -> Answer<Curve> {
    curve_seen(&api.store, text, Sight::Public).await
}

pub(super) async fn leaderboard(State(api): State<Api>, query: Asked<LeaderboardQuery>) -> Answer<Leaderboard> {
    leaderboard_of(&api.store, asked(query)?, Sight::Public).await
}

pub(super) async fn architectures(State(api): State<Api>, query: Asked<PageQuery>) -> Answer<Architectures> {
    architectures_of(&api.store, asked(query)?, Sight::Public).await
}

pub(super) async fn training_variants(State(api): State<Api>, query: Asked<VariantQuery>) -> Answer<TrainingVariants> {
    training_variants_of(&api.store, asked(query)?, Sight::Public).await
}

async fn submission_of(store: &Store, text: String, sight: Sight) -> Answer<SubmissionView> {
    let id: SubmissionId = id(text)?;
    if let Some(published) = store.published(id, sight).await? {
        return Ok(Json(view(published)));
    }
    match store.arrival(id).await? {
        Some(arrival) => Ok(Json(waiting(arrival))),
        None => Err(BoardError::Unknown(id)),
    }
}

async fn curve_seen(store: &Store, text: String, sight: Sight) -> Answer<Curve> {
    let id: SubmissionId = id(text)?;
    let Some(published) = store.published(id, sight).await? else {
        let known = store.arrival(id).await?.is_some();
        return Err(if known { BoardError::Sealed(id) } else { BoardError::Unknown(id) });
    };
    let Some((cohort, _)) = published.card else { return Err(BoardError::Sealed(id)) };
    let runs = store.evidence_of(cohort, id).await?;
    Ok(Json(Curve { id, points: curve_of(&runs) }))
}

/// The run manifest, as the bytes that its digest is of.
pub(super) async fn manifest(State(api): State<Api>, Path(text): Path<String>) -> Result<Response, BoardError> {
    let id: SubmissionId = id(text)?;
    let Some(published) = api.store.published(id, Sight::Public).await? else {
        let known = api.store.arrival(id).await?.is_some();
        return Err(if known { BoardError::ManifestSealed(id) } else { BoardError::Unknown(id) });
    };
    let Some((cohort, _)) = published.card else { return Err(BoardError::ManifestSealed(id)) };
    let record = api.store.manifest(cohort, id).await?.ok_or(BoardError::ManifestSealed(id))?;
    let digest = record.files.ok().and_then(|files| files.manifest).ok_or(BoardError::Unwritten(id))?;
    let bytes = file(&api, digest).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

async fn file(api: &Api, digest: Digest) -> Result<Vec<u8>, BoardError> {
    api.intake.artifacts().read(digest, MAX_BYTES as u64).await.map_err(BoardError::Artifact)
}

pub(super) async fn architecture(State(api): State<Api>, Path(text): Path<String>) -> Answer<ArchitectureFiles> {
    let Some(family) = api.store.family(&text).await? else {
        return Err(BoardError::Architecture(text.chars().take(80).collect()));
    };
    let files = api.store.architecture_files(family.id, Sight::Public).await?;
    let files = files.ok_or(BoardError::ArchitectureSealed(family.id))?;
    let json = async |digest| {
        let bytes = file(&api, digest).await?;
        serde_json::from_slice(&bytes)
            .map_err(|e| BoardError::Artifact(prism_core::Error::bug("a kept architecture is no JSON").because(e)))
    };
    Ok(Json(ArchitectureFiles {
        id: family.id,
        name: family.name,
        graph_sha256: files.graph,
        graph: json(files.graph).await?,
        metadata: json(files.metadata).await?,
        mermaid: String::from_utf8_lossy(&file(&api, files.mermaid).await?).into_owned(),
    }))
}

async fn leaderboard_of(store: &Store, query: LeaderboardQuery, sight: Sight) -> Answer<Leaderboard> {
    let LeaderboardQuery { cohort, limit } = query;
    match (store.leaderboard(cohort, most(limit), sight).await?, cohort) {
        (Some((number, board)), _) => {
            let entries =
                (1..).zip(board).map(|(rank, one)| LeaderboardEntry { rank, submission: view(one) }).collect();
            Ok(Json(Leaderboard { cohort: Some(number), entries }))
        }
        (None, None) => Ok(Json(Leaderboard { cohort: None, entries: Vec::new() })),
        (None, Some(cohort)) => Err(BoardError::Cohort(cohort)),
    }
}

async fn architectures_of(store: &Store, query: PageQuery, sight: Sight) -> Answer<Architectures> {
    let all = store.architectures(most(query.limit), sight).await?;
    let architectures = all.into_iter().map(|one| ArchitectureView {
        id: one.family.id,
        name: one.family.name,
        submission: one.family.submission,
        // Nobody's key: a published baseline.
        hotkey: Some(one.family.hotkey).filter(|hotkey| *hotkey != Hotkey([0; 32])),
        owner: one.architecture.as_ref().map(|slot| slot.owner),
        q_arch: one.quality,
        class: one.family.class,
        versions: one.versions,
        variants: one.variants,
        best: one.architecture.map(holder),
        training_owner: one.training.as_ref().map(|slot| slot.owner),
        best_training: one.training.map(holder),
    });
    Ok(Json(Architectures { architectures: architectures.collect() }))
}

fn holder(SlotRecord { submission, hotkey, advantage, .. }: SlotRecord) -> HolderView {
    HolderView { submission, hotkey, advantage: advantage.mean, standard_error: advantage.standard_error }
}

async fn training_variants_of(store: &Store, query: VariantQuery, sight: Sight) -> Answer<TrainingVariants> {
    let VariantQuery { architecture, limit } = query;
    let family: Option<FamilyId> = architecture.map(id).transpose()?;
    let all = store.training_variants(family, most(limit), sight).await?;
    let variants = all.into_iter().filter_map(|one| {
        let track = one.card.tracks.get(&Track::Training)?;
        Some(TrainingVariantView {
            submission: one.entrant.submission,
            hotkey: one.entrant.precedence.hotkey,
            family: one.entrant.family,
            cohort: one.cohort,
            q_recipe: track.quality,
            advantage: track.advantage.mean,
            standard_error: track.advantage.standard_error,
            best: one.best,
        })
    });
    Ok(Json(TrainingVariants { variants: variants.collect() }))
}

pub(super) async fn epochs(State(api): State<Api>, query: Asked<PageQuery>) -> Answer<Epochs> {
    let all = api.store.epochs(most(asked(query)?.limit)).await?;
    Ok(Json(Epochs { epochs: all.into_iter().map(epoch).collect() }))
}

fn epoch(
    EpochRecord { allocation: AllocationRecord { epoch, block, policy, allocation }, receipt }: EpochRecord,
) -> EpochView {
    let stage = receipt.map(|record| record.receipt.stage);
    let public = stage.as_ref().is_some_and(Stage::is_terminal);
    let stage = stage.map(|stage| stage.name().to_owned());
    let (shares, burn, reason) = match allocation {
        Allocation::Pay { shares, burn } if public => (Some(shares), Some(burn), None),
        Allocation::Pay { .. } => (None, None, None),
        Allocation::Burn { reason } | Allocation::KeepPrevious { reason } => (None, None, Some(reason)),
    };
    EpochView { epoch, block, policy, stage, shares, burn, reason }
}

fn waiting(arrival: ArrivalRecord) -> SubmissionView {
    SubmissionView {
        id: arrival.submission.id,
        hotkey: arrival.submission.hotkey,
        name: arrival.name,
        kind: Some(arrival.kind),
        status: SubmissionStatus::Pending,
        reason: None,
        family: None,
        q_arch: None,
        q_recipe: None,
        final_score: None,
        bits_per_byte: None,
        standard_error: None,
    }
}

fn view(Published { record, card }: Published) -> SubmissionView {
    let card = card.map(|(_, card)| card);
    let quality = |track| card.as_ref()?.tracks.get(&track).map(|score| score.quality);
    let estimate = card.as_ref().and_then(|card| card.bits_per_byte);
    SubmissionView {
        id: record.submission.id,
        hotkey: record.submission.hotkey,
        name: record.name,
        kind: record.kind,
        status: record.status,
        reason: record.reason.map(|reason| format!("{}: {}", reason.rule, reason.text)),
        family: record.family,
        q_arch: quality(Track::Architecture),
        q_recipe: quality(Track::Training),
        final_score: card.as_ref().and_then(|card| card.total),
        bits_per_byte: estimate.map(|estimate| estimate.mean),
        standard_error: estimate.map(|estimate| estimate.standard_error),
    }
}
