//! One file, whole and verified, over as many tries as it takes.
use super::{Hub, HubError, Progress, RemoteFile};
use prism_core::Digest;
use reqwest::{
    StatusCode,
    header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE},
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
};
use url::Url;

impl Hub {
    pub(super) async fn fetch_one(
        &self,
        address: Url,
        file: &RemoteFile,
        into: &Path,
        progress: &(dyn Fn(Progress<'_>) + Send + Sync),
    ) -> Result<PathBuf, HubError> {
        let target = into.join(file.name());
        if target.exists() {
            // It may be the operator's own: whatever it is, it stays.
            let found = digest_of(target.clone()).await?;
            if found == file.sha256 {
                progress(Progress::Whole { file });
                return Ok(target);
            }
            return Err(altered(&target.display().to_string(), found, file));
        }
        let part = into.join(format!("{}.part", file.name()));
        let mut tries = 0;
        loop {
            let begun = length(&part)?;
            let ended = self.attempt(&address, file, &part, progress).await;
            let error = match ended {
                Ok(()) => {
                    let found = digest_of(part.clone()).await?;
                    if found == file.sha256 {
                        fs::rename(&part, &target).map_err(|error| HubError::file(&target, error))?;
                        progress(Progress::Whole { file });
                        return Ok(target);
                    }
                    remove(&part)?;
                    // What was begun another time may have been of another file.
                    if begun == 0 || tries > 0 {
                        return Err(altered(&file.path, found, file));
                    }
                    altered(&file.path, found, file)
                }
                Err(error @ HubError::Range { .. }) => {
                    remove(&part)?;
                    error
                }
                Err(error) if error.passes() => error,
                Err(error) => return Err(error),
            };
            // A line that breaks off and brings something each time is only slow.
            tries = if length(&part)? > begun { 1 } else { tries + 1 };
            if tries >= self.config.tries.max(1) {
                return Err(error);
            }
            let wait = self.wait(&error, tries - 1)?;
            progress(Progress::Again { file, reason: &error, wait });
            tokio::time::sleep(wait).await;
        }
    }

    /// Fetches what is missing.
    async fn attempt(
        &self,
        address: &Url,
        file: &RemoteFile,
        part: &Path,
        progress: &(dyn Fn(Progress<'_>) + Send + Sync),
    ) -> Result<(), HubError> {
        let io = |error| HubError::file(part, error);
        let what = &file.path;
        let mut done = length(part)?;
        if done > file.bytes {
            remove(part)?;
            done = 0;
        }
        if done == file.bytes && done > 0 {
            return Ok(());
        }
        let mut headers = HeaderMap::new();
        if done > 0 {
            let range = HeaderValue::from_str(&format!("bytes={done}-"));
            headers.insert(RANGE, range.map_err(|_| HubError::Range { what: what.clone() })?);
        }
        let mut response = self.ask(address, headers, what).await?;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
            let (from, bytes) = range.and_then(parse_range).ok_or_else(|| HubError::Range { what: what.clone() })?;
            if from != done {
                return Err(HubError::Range { what: what.clone() });
            }
            if bytes != file.bytes {
                return Err(HubError::Length { what: what.clone(), found: bytes, bytes: file.bytes });
            }
        } else {
            // All of it from the beginning.
            done = 0;
        }
        if let Some(rest) = response.content_length()
            && rest != file.bytes - done
        {
            let found = done.saturating_add(rest);
            return Err(HubError::Length { what: what.clone(), found, bytes: file.bytes });
        }
        let mut options = OpenOptions::new();
        // What a former try left is gone on with, or written over.
        let options = if done > 0 { options.append(true) } else { options.write(true).truncate(true) };
        let mut to = options.create(true).open(part).map_err(io)?;
        while let Some(chunk) = self.chunk(&mut response, what).await? {
            done = done.saturating_add(chunk.len() as u64);
            if done > file.bytes {
                remove(part)?;
                return Err(HubError::Length { what: what.clone(), found: done, bytes: file.bytes });
            }
            to.write_all(&chunk).map_err(io)?;
            progress(Progress::Bytes { file, done });
        }
        if done < file.bytes {
            return Err(HubError::Short { what: what.clone(), done, bytes: file.bytes });
        }
        to.sync_all().map_err(io)
    }
}

fn altered(what: &str, found: Digest, file: &RemoteFile) -> HubError {
    HubError::Altered { what: what.to_owned(), found: found.to_string(), expected: file.sha256.to_string() }
}

/// Bytes of a file, none where there is no file.
fn length(path: &Path) -> Result<u64, HubError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(HubError::file(path, error)),
    }
}

fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HubError::file(path, error)),
        _ => Ok(()),
    }
}

/// The first byte and the bytes in all of `bytes 5-9/10`.
fn parse_range(range: &str) -> Option<(u64, u64)> {
    let (span, bytes) = range.strip_prefix("bytes ")?.split_once('/')?;
    Some((span.split_once('-')?.0.parse().ok()?, bytes.parse().ok()?))
}

/// SHA-256 of a file, on a thread of its own.
async fn digest_of(path: PathBuf) -> Result<Digest, HubError> {
    let at = path.clone();
    let hashed = tokio::task::spawn_blocking(move || {
        let mut file = File::open(&path)?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Digest(hash.finalize().into())),
                count => hash.update(buffer.get(..count).unwrap_or_default()),
            }
        }
    });
    let hashed = hashed.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    hashed.map_err(|error| HubError::file(&at, error))
}
