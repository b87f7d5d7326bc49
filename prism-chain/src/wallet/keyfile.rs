//! One key on disk: its secret half, and the public half beside it.
use super::{
    PUBLIC,
    document::{self, Held},
    encryption,
    error::{KeyfileError, WalletError},
    file,
    password::Password,
    secret::SecretKey,
};
use prism_core::Hotkey;
use rand::{RngCore as _, rngs::OsRng};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest keyfile that is read, bytes; they have less than a thousand.
const MOST: u64 = 16 * 1024;

/// How a secret stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In plain text: whoever can read the file has the key.
    Plain,
    /// Under a password.
    Encrypted,
}

/// What becomes of a key that stands where another is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// It stays, and writing fails.
    #[default]
    Never,
    /// It is replaced; without a copy elsewhere it is lost.
    Replace,
}

/// One key on disk, which need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyfile {
    secret: PathBuf,
    public: PathBuf,
}

impl Keyfile {
    /// The key at a path; its public half is beside it, under the same name and `pub.txt`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let secret = path.into();
        let mut public = secret.clone().into_os_string();
        public.push(PUBLIC);
        Self { secret, public: public.into() }
    }

    /// The file of the secret.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.secret
    }

    /// The file of the public half.
    #[must_use]
    pub fn public_path(&self) -> &Path {
        &self.public
    }

    /// How the secret stands in its file; `None` without one.
    ///
    /// # Errors
    /// Those of reading; a legacy form is [`KeyfileError::AnsibleVault`] or [`KeyfileError::Fernet`].
    pub fn form(&self) -> Result<Option<Form>, WalletError> {
        match file::read(&self.secret, MOST) {
            Ok(bytes) => self.form_of(&bytes).map(Some),
            Err(WalletError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether others than its owner may read the file of the secret.
    ///
    /// # Errors
    /// `Missing` and `File`.
    pub fn is_exposed(&self) -> Result<bool, WalletError> {
        file::is_exposed(&self.secret)
    }

    /// The secret. A password is used only when the file is encrypted. Besides keyfiles, a file that holds one secret URI (a
    /// mnemonic, a `0x` seed, or a development URI such as `//Alice`) is read.
    ///
    /// # Errors
    /// `Missing`, `File`, `TooLong`; `Keyfile` with what is wrong: a legacy form, no password or a wrong one, malformed
    /// JSON or fields, a secret that isn't that of the address.
    pub fn load(&self, password: Option<&Password>) -> Result<SecretKey, WalletError> {
        let bytes = file::read(&self.secret, MOST)?;
        let wrong = |source| WalletError::keyfile(&self.secret, source);
        let plain = match self.form_of(&bytes)? {
            Form::Plain => bytes,
            Form::Encrypted => {
                encryption::parts(&bytes).map_err(wrong)?;
                let key = encryption::derive(password.ok_or_else(|| wrong(KeyfileError::Locked))?).map_err(wrong)?;
                encryption::open(&key, &bytes).map_err(wrong)?
            }
        };
        if plain.first() != Some(&b'{') {
            let text = std::str::from_utf8(&plain).map_err(|_| wrong(KeyfileError::Unknown))?;
            return SecretKey::from_uri(text).map_err(wrong);
        }
        match document::parse(&plain).map_err(wrong)? {
            Held::Secret(key) => Ok(key),
            Held::Public(_) => Err(wrong(KeyfileError::NoSecret)),
        }
    }

    /// The public key, from the public half; without one, from a secret in plain text. No password is needed.
    ///
    /// # Errors
    /// As [`Keyfile::load`]; `Missing` names the public half.
    pub fn address(&self) -> Result<Hotkey, WalletError> {
        if let Some(hotkey) = self.public_half()? {
            return Ok(hotkey);
        }
        match self.form()? {
            Some(Form::Plain) => Ok(self.load(None)?.hotkey()),
            _ => Err(WalletError::Missing(self.public.clone())),
        }
    }

    /// Writes both halves, each whole or not at all, mode 0600, the secret under a password if there is one. A public half
    /// of the same key that stands there already is no obstacle.
    ///
    /// # Errors
    /// `Exists` when a key is there and may not be replaced; `File`; `Keyfile` for an empty password or lack of memory.
    pub fn save(&self, key: &SecretKey, password: Option<&Password>, overwrite: Overwrite) -> Result<(), WalletError> {
        let wrong = |source| WalletError::keyfile(&self.secret, source);
        let replace = overwrite == Overwrite::Replace;
        if !replace {
            // Before a second's work; what counts is the same question when the file is written.
            if self.secret.symlink_metadata().is_ok() {
                return Err(WalletError::Exists(self.secret.clone()));
            }
            if self.public_half()?.is_some_and(|hotkey| hotkey != key.hotkey()) {
                return Err(WalletError::Exists(self.public.clone()));
            }
        }
        let mut bytes = document::secret(key).map_err(wrong)?;
        if let Some(password) = password {
            let derived = encryption::derive(password).map_err(wrong)?;
            let mut nonce = [0; encryption::NONCE];
            OsRng.try_fill_bytes(&mut nonce).map_err(|_| wrong(KeyfileError::Randomness))?;
            bytes = Zeroizing::new(encryption::seal(&derived, &nonce, &bytes).map_err(wrong)?);
        }
        file::write(&self.secret, &bytes, replace)?;
        self.save_public(&key.hotkey(), overwrite)
    }

    /// Writes the public half alone, for a machine that shall not have the secret.
    ///
    /// # Errors
    /// `Exists` when another key's is there and may not be replaced; `File`.
    pub fn save_public(&self, hotkey: &Hotkey, overwrite: Overwrite) -> Result<(), WalletError> {
        let wrong = |source| WalletError::keyfile(&self.public, source);
        let replace = overwrite == Overwrite::Replace;
        if !replace && self.public_half()? == Some(*hotkey) {
            return Ok(());
        }
        file::write(&self.public, &document::public(hotkey).map_err(wrong)?, replace)
    }

    fn public_half(&self) -> Result<Option<Hotkey>, WalletError> {
        let wrong = |source| WalletError::keyfile(&self.public, source);
        let bytes = match file::read(&self.public, MOST) {
            Ok(bytes) => bytes,
            Err(WalletError::Missing(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        match document::parse(&bytes).map_err(wrong)? {
            Held::Public(hotkey) => Ok(Some(hotkey)),
            Held::Secret(key) => Ok(Some(key.hotkey())),
        }
    }

    fn form_of(&self, bytes: &[u8]) -> Result<Form, WalletError> {
        let legacy = |source| Err(WalletError::keyfile(&self.secret, source));
        if bytes.starts_with(encryption::MARK) {
            Ok(Form::Encrypted)
        } else if bytes.starts_with(b"$ANSIBLE_VAULT") {
            legacy(KeyfileError::AnsibleVault)
        } else if bytes.starts_with(b"gAAAAA") {
            legacy(KeyfileError::Fernet)
        } else {
            Ok(Form::Plain)
        }
    }
}
