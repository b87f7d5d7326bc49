//! Passwords of keyfiles.
use super::{error::WalletError, file::read};
use std::{fmt, path::Path};
use zeroize::Zeroizing;

/// Longest password file that is read, bytes.
const MOST: u64 = 4096;

/// A password. Wiped when dropped; without a text form.
pub struct Password(Zeroizing<String>);

impl Password {
    /// From what was typed.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// From a file that holds nothing else; one line end at its end is not part of it.
    ///
    /// # Errors
    /// `Missing`, `File` and `TooLong`; `File` too when it is not UTF-8.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, WalletError> {
        let path = path.as_ref();
        let bytes = read(path, MOST)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "password is not UTF-8");
            WalletError::File { path: path.to_owned(), source }
        })?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        Ok(Self::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}
