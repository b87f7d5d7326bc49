//! Wallets in the official layout: one folder per wallet, with a coldkey, its public half, and hotkeys.
//!
//! ```text
//! wallets/NAME/coldkey  coldkeypub.txt  hotkeys/HOTKEY  hotkeys/HOTKEYpub.txt
//! ```
//!
//! A keyfile holds JSON, in plain text (the custom for hotkeys) or as `$NACL` under a password (for coldkeys); both are
//! read and written as bittensor-wallet 4 does. The older encryptions are refused by name. Files are written whole or
//! not at all, for their owner alone, and never over another key unless told so. Secrets are wiped when dropped and have
//! no text form.
//!
//! Reading or writing under a password takes 512 MiB and some seconds: keep it off async threads.
mod document;
mod encryption;
mod error;
mod file;
mod keyfile;
mod password;
mod secret;

pub use error::{KeyfileError, WalletError};
pub use keyfile::{Form, Keyfile, Overwrite};
pub use password::Password;
pub use secret::{SecretKey, Words};

use std::path::{Path, PathBuf};

/// The wallet, and the hotkey in it, that are meant when none is named.
pub const DEFAULT_NAME: &str = "default";

/// The end of a public file's name.
const PUBLIC: &str = "pub.txt";
/// Most entries of a folder that are looked at.
const MOST_ENTRIES: usize = 10_000;
/// Longest name of a wallet or hotkey, bytes.
const MOST_NAME: usize = 64;

/// A folder of wallets, as in `~/.bittensor/wallets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallets(PathBuf);

impl Wallets {
    /// The wallets of a folder, which need not exist.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// A wallet by its name; it need not exist.
    ///
    /// # Errors
    /// `Name` for a name that could lead out of the folder.
    pub fn wallet(&self, name: &str) -> Result<Wallet, WalletError> {
        Ok(Wallet { folder: self.0.join(checked("wallet", name)?), name: name.to_owned() })
    }

    /// The wallets that are there, by name; none when the folder isn't.
    ///
    /// # Errors
    /// `File` when the folder can't be read.
    pub fn list(&self) -> Result<Vec<Wallet>, WalletError> {
        let names = names(&self.0, |kind| kind.is_dir())?;
        Ok(names.into_iter().filter_map(|name| self.wallet(&name).ok()).collect())
    }
}

/// One wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallet {
    folder: PathBuf,
    name: String,
}

impl Wallet {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The key that holds the money.
    #[must_use]
    pub fn coldkey(&self) -> Keyfile {
        Keyfile::at(self.folder.join("coldkey"))
    }

    /// A key that works, by its name; it need not exist.
    ///
    /// # Errors
    /// `Name` for a name that could lead out of the folder, or that a public file has.
    pub fn hotkey(&self, name: &str) -> Result<Keyfile, WalletError> {
        let name = checked("hotkey", name)?;
        if name.ends_with(PUBLIC) {
            return Err(WalletError::Name { what: "hotkey", reason: "must not end with pub.txt" });
        }
        Ok(Keyfile::at(self.folder.join("hotkeys").join(name)))
    }

    /// The names of the hotkeys that are there, secret or public half.
    ///
    /// # Errors
    /// `File` when the folder can't be read.
    pub fn hotkeys(&self) -> Result<Vec<String>, WalletError> {
        let mut names = names(&self.folder.join("hotkeys"), |kind| !kind.is_dir())?;
        for name in &mut names {
            if let Some(stem) = name.strip_suffix(PUBLIC) {
                *name = stem.to_owned();
            }
        }
        names.sort_unstable();
        names.dedup();
        names.retain(|name| self.hotkey(name).is_ok());
        Ok(names)
    }
}

/// A name that is one part of a path, and one that can be shown.
fn checked<'a>(what: &'static str, name: &'a str) -> Result<&'a str, WalletError> {
    let refuse = |reason| Err(WalletError::Name { what, reason });
    if name.is_empty() || name.len() > MOST_NAME {
        return refuse("must have 1 to 64 bytes");
    }
    if name.starts_with('.') {
        return refuse("must not begin with a dot");
    }
    if name.chars().any(|c| c == '/' || c == '\\' || c.is_control()) {
        return refuse("must not hold a slash, a backslash or a control character");
    }
    Ok(name)
}

/// The names in a folder that are plain text and don't begin with a dot, sorted; none when the folder isn't there.
fn names(folder: &Path, wanted: impl Fn(&std::fs::Metadata) -> bool) -> Result<Vec<String>, WalletError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(WalletError::file(folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries.take(MOST_ENTRIES) {
        let entry = entry.map_err(|error| WalletError::file(folder, error))?;
        // Links count as what they lead to; one that leads nowhere is no key.
        let Ok(kind) = std::fs::metadata(entry.path()) else { continue };
        match entry.file_name().into_string() {
            Ok(name) if !name.starts_with('.') && wanted(&kind) => names.push(name),
            _ => {}
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests;
