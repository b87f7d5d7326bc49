//! Why a wallet can't be read or written. Never holds any of a secret.
use prism_core::{Error, Fault, Kind};
use std::path::{Path, PathBuf};

/// What is wrong with a keyfile's bytes, or with the secret that is to go into one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyfileError {
    /// Encrypted by Ansible Vault, as wallets before version 2 did.
    #[error(
        "it is encrypted in the legacy form $ANSIBLE_VAULT: convert it with bittensor-wallet, or regenerate the key from its mnemonic"
    )]
    AnsibleVault,
    /// Encrypted by Fernet, as old wallets did.
    #[error(
        "it is encrypted in the legacy form Fernet: convert it with bittensor-wallet, or regenerate the key from its mnemonic"
    )]
    Fernet,
    /// Encrypted, and no password was given.
    #[error("it is encrypted: a password is needed")]
    Locked,
    /// The password is wrong, or the file was changed since it was written; the two can't be told apart.
    #[error("the password is wrong, or the file is damaged")]
    Password,
    /// An empty password protects nothing.
    #[error("the password is empty")]
    EmptyPassword,
    /// Shorter than its form can be.
    #[error("it is cut short")]
    Truncated,
    /// Neither JSON, nor encrypted, nor a secret URI.
    #[error("it is no keyfile and no secret URI")]
    Unknown,
    /// It begins like JSON and isn't the JSON of a keyfile.
    #[error("it is not the JSON of a keyfile (line {line}, column {column})")]
    Json {
        /// Where reading stopped, from 1.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// A field has another shape than it should.
    #[error("`{field}` must be {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A key of another kind.
    #[error("`cryptoType` is {0}: only sr25519 (1) is supported")]
    CryptoType(u8),
    /// It holds a public key only.
    #[error("it holds no secret")]
    NoSecret,
    /// It holds nothing that names a key.
    #[error("it holds no key")]
    NoKey,
    /// The secret in it is not that of the address in it.
    #[error("`{0}` is not the one of the secret in it")]
    Mismatch(&'static str),
    /// The words are no mnemonic.
    #[error("the mnemonic is not 12, 15, 18, 21 or 24 words of the English list with a good checksum")]
    Phrase,
    /// The derivation path isn't one.
    #[error("the derivation path is not of the form //hard/soft")]
    Path,
    /// 512 MiB for deriving a key from a password can't be had.
    #[error("there is not enough memory to derive a key from the password (512 MiB)")]
    Memory,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Randomness,
}

/// Why a wallet can't be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// A name that can't be one.
    #[error("name of a {what} {reason}")]
    Name {
        /// Whose name.
        what: &'static str,
        /// The rule.
        reason: &'static str,
    },
    /// There is no such file.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// There is such a file, and it may not be replaced.
    #[error("{} exists and is not replaced", .0.display())]
    Exists(PathBuf),
    /// The system refuses.
    #[error("{} can't be used", path.display())]
    File {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// More bytes than such a file has.
    #[error("{} is longer than {most} bytes", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// The limit.
        most: u64,
    },
    /// The file's content.
    #[error("{}: {source}", path.display())]
    Keyfile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyfileError,
    },
}

impl WalletError {
    pub(super) fn file(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::Missing(path),
            std::io::ErrorKind::AlreadyExists => Self::Exists(path),
            _ => Self::File { path, source },
        }
    }

    pub(super) fn keyfile(path: &Path, source: KeyfileError) -> Self {
        Self::Keyfile { path: path.to_owned(), source }
    }
}

impl From<KeyfileError> for Error {
    fn from(error: KeyfileError) -> Self {
        use KeyfileError as E;
        let kind = match &error {
            E::AnsibleVault | E::Fernet | E::CryptoType(_) => Kind::Unsupported,
            E::Locked | E::Password => Kind::Refused,
            E::Memory => Kind::Limit,
            E::Randomness => Kind::Unavailable,
            E::NoSecret | E::NoKey => Kind::NotFound,
            E::EmptyPassword | E::Phrase | E::Path => Kind::Invalid,
            E::Truncated | E::Unknown | E::Json { .. } | E::Field { .. } | E::Mismatch(_) => Kind::Corrupt,
        };
        Self::new(kind, Fault::Validator, error.to_string())
    }
}

impl From<WalletError> for Error {
    fn from(error: WalletError) -> Self {
        let kind = match &error {
            WalletError::Name { .. } => Kind::Invalid,
            WalletError::Missing(_) => Kind::NotFound,
            WalletError::Exists(_) => Kind::Conflict,
            WalletError::File { .. } => Kind::Unavailable,
            WalletError::TooLong { .. } => Kind::Limit,
            WalletError::Keyfile { source, .. } => Error::from(source.clone()).kind(),
        };
        let text = error.to_string();
        match error {
            WalletError::File { source, .. } => Self::new(kind, Fault::Validator, text).because(source),
            // The others say all they know.
            _ => Self::new(kind, Fault::Validator, text),
        }
    }
}
