//! From a request to who claims to send which bundle: shape only, nothing is believed yet.
use super::IntakeError;
use crate::wire::SubmissionRequest;
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Method, Uri, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::StreamExt;
use prism_chain::request::{Proof, RequestError, Signed, btauth};
use prism_core::{Digest, Hotkey};
use serde::{Deserialize, de::DeserializeOwned};
use std::time::SystemTime;

/// Header of the name to show, for bodies that are the bundle itself.
pub const HEADER_NAME: &str = "X-Submission-Name";
/// Most characters of a name.
const NAME: usize = 64;

/// Method, path and headers of a request.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
}

/// A request in one of its three forms.
#[derive(Debug)]
pub(super) struct Claim {
    form: Form,
    /// What the signature covers.
    digest: Digest,
    pub(super) bundle: Vec<u8>,
    pub(super) name: Option<String>,
}

#[derive(Debug)]
enum Form {
    Prism(Signed),
    Btauth(btauth::Signed),
}

/// The body of the header forms, when it is JSON: what is signed is the body, so that nothing else need be in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeBody {
    code: String,
    #[serde(default)]
    name: Option<String>,
}

impl Claim {
    pub(super) fn parse(head: &Head, body: &[u8]) -> Result<Self, IntakeError> {
        let header = |name: &'static str| -> Vec<&str> {
            // A value that is not ASCII fits no shape; it must count, so that it isn't overlooked beside another.
            head.headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("\u{fffd}")).collect()
        };
        let form = if !header(btauth::HEADER_VERSION).is_empty() {
            Form::Btauth(btauth::Signed::from_headers(header)?)
        } else if !header(prism_chain::request::HEADER_HOTKEY).is_empty() {
            Form::Prism(Signed::from_headers(header)?)
        } else {
            return Self::from_json(body);
        };
        let (bundle, name) = if is_json(&head.headers) {
            let CodeBody { code, name } = json(body)?;
            (decode(&code)?, checked_name("name", name)?)
        } else {
            let name = match header(HEADER_NAME).as_slice() {
                [] => None,
                [name] => Some((*name).to_owned()),
                _ => return Err(RequestError::Repeated(HEADER_NAME).into()),
            };
            (body.to_vec(), checked_name(HEADER_NAME, name)?)
        };
        Self::new(form, Digest::of(body), bundle, name)
    }

    fn from_json(body: &[u8]) -> Result<Self, IntakeError> {
        let request: SubmissionRequest = json(body)?;
        let signed = Signed::from_fields(&request.hotkey, &request.nonce, request.timestamp, &request.signature)?;
        let bundle = decode(&request.code)?;
        let digest = Digest::of(&bundle);
        Self::new(Form::Prism(signed), digest, bundle, checked_name("name", request.name)?)
    }

    fn new(form: Form, digest: Digest, bundle: Vec<u8>, name: Option<String>) -> Result<Self, IntakeError> {
        if bundle.is_empty() {
            return Err(IntakeError::Empty);
        }
        Ok(Self { form, digest, bundle, name })
    }

    pub(super) fn hotkey(&self) -> Hotkey {
        match &self.form {
            Form::Prism(signed) => signed.hotkey,
            Form::Btauth(signed) => signed.hotkey,
        }
    }

    /// Forms don't share nonces: the official SDK's is a time.
    pub(super) fn nonce(&self) -> String {
        match &self.form {
            Form::Prism(signed) => signed.nonce.clone(),
            Form::Btauth(signed) => format!("btauth:{}", signed.nonce),
        }
    }

    pub(super) fn keep_nonce_until(&self, now: SystemTime) -> SystemTime {
        match &self.form {
            Form::Prism(_) => Signed::keep_nonce_until(now),
            Form::Btauth(_) => btauth::Signed::keep_nonce_until(now),
        }
    }

    /// Checks freshness; what is left is the signature.
    pub(super) fn proof(&self, head: &Head, receiver: Option<Hotkey>, now: SystemTime) -> Result<Proof, RequestError> {
        match &self.form {
            Form::Prism(signed) => signed.proof(&self.digest, now),
            Form::Btauth(signed) => {
                let receiver = receiver.ok_or(RequestError::Receiver)?;
                let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
                let target = btauth::Target { method: head.method.as_str(), path, body: self.digest, receiver };
                signed.proof(&target, now)
            }
        }
    }
}

/// Reads a body while counting, and not beyond the limit.
pub(super) async fn read_body(headers: &HeaderMap, body: Body, most: usize) -> Result<Vec<u8>, IntakeError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most as u64) {
        return Err(IntakeError::TooLarge { most });
    }
    let mut all = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk: Bytes = chunk.map_err(IntakeError::Unread)?;
        if all.len().saturating_add(chunk.len()) > most {
            return Err(IntakeError::TooLarge { most });
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, IntakeError> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => IntakeError::Field(error),
        _ => IntakeError::Json(error),
    })
}

fn decode(code: &str) -> Result<Vec<u8>, IntakeError> {
    Ok(STANDARD.decode(code)?)
}

fn checked_name(field: &'static str, name: Option<String>) -> Result<Option<String>, IntakeError> {
    let fits = |name: &String| name.chars().count() <= NAME && !name.chars().any(char::is_control);
    match name {
        Some(name) if !fits(&name) => Err(IntakeError::Name { field, most: NAME }),
        name => Ok(name.filter(|name| !name.is_empty())),
    }
}
