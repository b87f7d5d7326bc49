//! A client of two endpoints of the Hugging Face hub: what files a dataset has at a revision, and their bytes.
//!
//! A revision is a commit, never a branch, and every file is held to the SHA-256 that the hub keeps for it. What breaks off
//! goes on where it was; what is not what it was said to be is removed. Nothing is unpacked here: `prism data prepare`
//! makes a dataset of the files.
mod error;
mod fetch;
#[cfg(test)]
mod tests;

pub use error::HubError;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use prism_core::Digest;
use reqwest::{
    Client, Response, StatusCode,
    header::{HeaderMap, HeaderValue, LINK, RETRY_AFTER},
    redirect::{Attempt, Policy},
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};
use url::Url;

/// Most bytes of a page of a list.
const MAX_PAGE: usize = 8 << 20;
/// Most pages of a list.
const MAX_PAGES: usize = 100;
/// Most redirects of a request: the hub sends to where its files lie.
const MAX_REDIRECTS: usize = 5;
/// Most bytes of a token.
const MAX_TOKEN: u64 = 4096;
/// What files are taken, by their ends.
const ENDS: [&str; 3] = [".parquet", ".jsonl", ".jsonl.gz"];

/// How a [`Hub`] is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// Where it is.
    pub endpoint: String,
    /// A file with an access token. It is sent to the endpoint, and nowhere that it sends to.
    pub token_file: Option<PathBuf>,
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest wait for an answer, or for more of it.
    pub stall: Duration,
    /// Times that a file is asked for without any of it coming.
    pub tries: u32,
    /// The wait before the second try; it doubles.
    pub pause: Duration,
    /// Longest wait that the hub may ask for.
    pub patience: Duration,
    /// Files at once.
    pub at_once: usize,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            endpoint: "https://huggingface.co".into(),
            token_file: None,
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            tries: 6,
            pause: Duration::from_secs(1),
            patience: Duration::from_secs(600),
            at_once: 4,
        }
    }
}

/// A dataset at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    dataset: String,
    revision: String,
}

impl Pinned {
    /// A dataset by `owner/name` at a commit by its 40 hexadecimal digits.
    ///
    /// # Errors
    /// Another form of either.
    pub fn new(dataset: &str, revision: &str) -> Result<Self, HubError> {
        let plain = |part: &str| is_plain(part) && part.len() <= 96;
        if !dataset.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name)) {
            return Err(HubError::Argument(format!("{dataset:?} is no dataset: owner/name")));
        }
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if revision.len() != 40 || !revision.bytes().all(hex) {
            let text = format!("{revision:?} is no commit of 40 hexadecimal digits: a branch is another one tomorrow");
            return Err(HubError::Argument(text));
        }
        Ok(Self { dataset: dataset.to_owned(), revision: revision.to_owned() })
    }
}

/// Letters, digits, `-`, `_` and `.`, and not dots alone.
fn is_plain(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !part.is_empty() && part.bytes().all(plain) && part.bytes().any(|byte| byte != b'.')
}

/// The folder of a subset of FineWeb-Edu, by the name that its page gives it: `sample-10BT` is `sample/10BT`,
/// `CC-MAIN-2024-10` is `data/CC-MAIN-2024-10`. Other names are folders as they are.
///
/// # Errors
/// A name that is no folder.
pub fn folder_of(subset: &str) -> Result<String, HubError> {
    let folder = match subset.split_once('-') {
        Some(("sample", size)) => format!("sample/{size}"),
        Some(("CC", _)) => format!("data/{subset}"),
        _ => subset.to_owned(),
    };
    if folder.len() <= 200 && folder.split('/').all(is_plain) {
        return Ok(folder);
    }
    Err(HubError::Argument(format!("{subset:?} is no subset: sample-10BT, CC-MAIN-2024-10, or a folder")))
}

/// A file of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its path there.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

impl RemoteFile {
    /// What it is called here: the last part of its path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// How far a download has come.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// Bytes of a file are here, of so many.
    Bytes {
        /// Which.
        file: &'a RemoteFile,
        /// Here, those of former tries included.
        done: u64,
    },
    /// A file is here, whole and verified.
    Whole {
        /// Which.
        file: &'a RemoteFile,
    },
    /// A try ended early, and another will be made.
    Again {
        /// Which.
        file: &'a RemoteFile,
        /// Why.
        reason: &'a HubError,
        /// After so long.
        wait: Duration,
    },
}

/// The hub.
#[derive(Debug)]
pub struct Hub {
    http: Client,
    endpoint: Url,
    config: HubConfig,
    headers: HeaderMap,
}

/// What a list says of an entry; it says more.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    size: u64,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl Hub {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// An endpoint that is none, a token that can't be read, or no HTTP client.
    pub fn new(config: HubConfig) -> Result<Self, HubError> {
        let wrong = || HubError::Argument(format!("{:?} is no endpoint of a hub", config.endpoint));
        let endpoint = Url::parse(&config.endpoint).map_err(|_| wrong())?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.cannot_be_a_base() || endpoint.query().is_some() {
            return Err(wrong());
        }
        let mut headers = HeaderMap::new();
        if let Some(path) = &config.token_file {
            headers.insert(reqwest::header::AUTHORIZATION, token(path)?);
        }
        crate::tls::provide();
        let http = Client::builder()
            .connect_timeout(config.connect)
            .redirect(Policy::custom(follow))
            .user_agent(concat!("prism/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| HubError::unreachable("no HTTP client", error))?;
        Ok(Self { http, endpoint, config, headers })
    }

    /// The files of a folder, in the order of their paths: of those that `prism data prepare` reads, each with a digest.
    ///
    /// # Errors
    /// No answer, a refusal, a list that is none, a file without a digest, two files of one name, no file.
    pub async fn list(&self, of: &Pinned, folder: &str) -> Result<Vec<RemoteFile>, HubError> {
        let mut next = Some(self.address(&["api/datasets", &of.dataset, "tree", &of.revision, folder])?);
        let mut files: BTreeMap<String, RemoteFile> = BTreeMap::new();
        for _ in 0..MAX_PAGES {
            let Some(address) = next.take() else { break };
            let (page, link) = self.page(&address).await?;
            let entries: Vec<Entry> = serde_json::from_slice(&page)
                .map_err(|error| HubError::Answer(format!("list of {folder} is not understood: {error}")))?;
            for entry in entries {
                if entry.kind != "file" || !ENDS.iter().any(|end| entry.path.ends_with(end)) {
                    continue;
                }
                let file = remote(entry)?;
                if let Some(other) = files.insert(file.name().to_owned(), file) {
                    return Err(HubError::Answer(format!("list of {folder} has two files called {}", other.name())));
                }
            }
            next = link.map(|link| self.same_place(&link)).transpose()?;
        }
        if next.is_some() {
            return Err(HubError::Answer(format!("list of {folder} has more than {MAX_PAGES} pages")));
        }
        if files.is_empty() {
            return Err(HubError::Answer(format!("folder {folder} has no file of the kinds {}", ENDS.join(", "))));
        }
        Ok(files.into_values().collect())
    }

    /// Fetches files into a folder, and returns where they are, in their order. A file that is there already is verified
    /// and left; one that was begun goes on. `progress` is called from this future alone.
    ///
    /// # Errors
    /// The first file that can't be had, or is not what it was said to be. What others have begun stays for another time.
    pub async fn fetch(
        &self,
        of: &Pinned,
        files: &[RemoteFile],
        into: &Path,
        progress: &(dyn Fn(Progress<'_>) + Send + Sync),
    ) -> Result<Vec<PathBuf>, HubError> {
        fs::create_dir_all(into).map_err(|error| HubError::file(into, error))?;
        let fetched = files.iter().map(|file| async move {
            let address = self.address(&["datasets", &of.dataset, "resolve", &of.revision, &file.path])?;
            self.fetch_one(address, file, into, progress).await
        });
        stream::iter(fetched).buffered(self.config.at_once.max(1)).try_collect().await
    }

    fn address(&self, parts: &[&str]) -> Result<Url, HubError> {
        let mut address = self.endpoint.clone();
        let mut path = address.path().trim_end_matches('/').to_owned();
        for part in parts {
            path.push('/');
            path.push_str(part);
        }
        address.set_path(&path);
        Ok(address)
    }

    /// An address that the hub gave for more of a list: its own, or none, for the token goes there.
    fn same_place(&self, link: &str) -> Result<Url, HubError> {
        let address = self.endpoint.join(link);
        let address = address.map_err(|_| HubError::Answer("address of the next page is none".into()))?;
        if address.origin() == self.endpoint.origin() {
            return Ok(address);
        }
        Err(HubError::Answer("address of the next page is another host's".into()))
    }

    /// A page of a list, and the address of the next.
    async fn page(&self, address: &Url) -> Result<(Vec<u8>, Option<String>), HubError> {
        let mut tries = 0;
        loop {
            match self.page_once(address).await {
                Err(error) if error.passes() && tries + 1 < self.config.tries => {
                    let wait = self.wait(&error, tries)?;
                    tries += 1;
                    tokio::time::sleep(wait).await;
                }
                done => return done,
            }
        }
    }

    async fn page_once(&self, address: &Url) -> Result<(Vec<u8>, Option<String>), HubError> {
        let mut response = self.ask(address, HeaderMap::new(), "list of files").await?;
        let link = response.headers().get(LINK).and_then(|link| next_page(link.to_str().ok()?));
        let mut page = Vec::new();
        while let Some(chunk) = self.chunk(&mut response, "list of files").await? {
            if page.len() + chunk.len() > MAX_PAGE {
                return Err(HubError::Answer(format!("page of the list has more than {MAX_PAGE} bytes")));
            }
            page.extend_from_slice(&chunk);
        }
        Ok((page, link))
    }

    /// Sends a request; an answer that is no success is an error.
    async fn ask(&self, address: &Url, more: HeaderMap, what: &str) -> Result<Response, HubError> {
        let request = self.http.get(address.clone()).headers(self.headers.clone()).headers(more);
        let sent = tokio::time::timeout(self.config.stall, request.send()).await;
        let response = sent.map_err(|_| HubError::stalled(what, self.config.stall))?;
        let response = response.map_err(|error| HubError::unreachable(what, error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let (what, status) = (what.to_owned(), status.as_u16());
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(HubError::Missing { what }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(HubError::Refused { what, status }),
            StatusCode::RANGE_NOT_SATISFIABLE => Err(HubError::Range { what }),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let wait = response.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
                Err(HubError::Busy { what, status, wait: wait.map(Duration::from_secs) })
            }
            other if other.is_server_error() => Err(HubError::Busy { what, status, wait: None }),
            _ => Err(HubError::Status { what, status }),
        }
    }

    async fn chunk(&self, response: &mut Response, what: &str) -> Result<Option<axum::body::Bytes>, HubError> {
        let chunk = tokio::time::timeout(self.config.stall, response.chunk()).await;
        let chunk = chunk.map_err(|_| HubError::stalled(what, self.config.stall))?;
        chunk.map_err(|error| HubError::unreachable(what, error))
    }

    /// How long to wait before the next try: as long as the hub asks for, or twice as long each time.
    fn wait(&self, error: &HubError, tries: u32) -> Result<Duration, HubError> {
        match error {
            HubError::Busy { what, status, wait: Some(wait) } if *wait > self.config.patience => {
                Err(HubError::Busy { what: what.clone(), status: *status, wait: Some(*wait) })
            }
            HubError::Busy { wait: Some(wait), .. } => Ok(*wait),
            _ => Ok(self.config.pause.saturating_mul(1 << tries.min(6)).min(self.config.patience)),
        }
    }
}

/// The hub sends to where files lie. Not from a line that nobody reads to one that anybody does; what the client sends
/// there is not the token.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let secure = attempt.previous().iter().all(|address| address.scheme() == "https");
    if secure && attempt.url().scheme() != "https" {
        return attempt.error("redirected from https to http");
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("redirected too often");
    }
    attempt.follow()
}

fn token(path: &Path) -> Result<HeaderValue, HubError> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| HubError::file(path, error))?;
    file.take(MAX_TOKEN + 1).read_to_string(&mut text).map_err(|error| HubError::file(path, error))?;
    let wrong = || HubError::Argument(format!("{} holds no token", path.display()));
    let token = text.trim();
    if token.is_empty() || text.len() as u64 > MAX_TOKEN {
        return Err(wrong());
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The address of `rel="next"` in a `Link` header.
fn next_page(link: &str) -> Option<String> {
    link.split(',').find_map(|part| {
        let (address, rest) = part.trim().strip_prefix('<')?.split_once('>')?;
        rest.split(';').any(|word| word.trim() == "rel=\"next\"").then(|| address.to_owned())
    })
}

fn remote(entry: Entry) -> Result<RemoteFile, HubError> {
    let Entry { path, size, lfs, .. } = entry;
    let wrong = |text: &str| HubError::Answer(format!("list has the file {path:?} {text}"));
    if path.len() > 500 || !path.split('/').all(is_plain) {
        return Err(HubError::Answer("list has a file whose path is none".into()));
    }
    let lfs = lfs.ok_or_else(|| wrong("without a SHA-256 to hold it to"))?;
    let digest = hex::decode(&lfs.oid).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let sha256 = Digest(digest.ok_or_else(|| wrong("with a digest that is none"))?);
    if lfs.size != size {
        return Err(wrong("with two different lengths"));
    }
    Ok(RemoteFile { path, bytes: size, sha256 })
}
