//! The key that is to sign, as it stands on disk.
use super::{Row, Status, Topic};
use crate::wallet::{Form, Keyfile, Password, WalletError};
use prism_core::Hotkey;

const ITEM: &str = "key";

/// Looks at a keyfile: whether it can be opened, and whether others can read it. A password is tried where one is given,
/// which takes half a gigabyte of memory for a second.
///
/// Gives the address, where it can be told, and a row.
#[must_use]
pub fn examine_keyfile(keyfile: &Keyfile, password: Option<&Password>) -> (Option<Hotkey>, Row) {
    let path = keyfile.path().display().to_string();
    let bad = |found: String, advice: &str| Row::new(Topic::Wallet, ITEM, Status::Bad, found).advise(advice).blocking();
    let warning = |found: String, advice: &str| Row::new(Topic::Wallet, ITEM, Status::Warning, found).advise(advice);
    let refused = |error: WalletError| bad(error.to_string(), "give another keyfile, or the right password");
    let address = keyfile.address().ok();
    match keyfile.form() {
        Err(error) => (address, refused(error)),
        Ok(None) => (address, bad(format!("{path} is not there"), "make a key: prism wallet create --hotkey NAME")),
        Ok(Some(Form::Encrypted)) if password.is_none() => {
            let found = format!("{path} is encrypted, and no password was tried");
            (address, warning(found, "give a file with the password: a validator can't ask for it when it restarts"))
        }
        Ok(Some(form)) => match keyfile.load(password) {
            Err(error) => (address, refused(error)),
            Ok(key) if address.is_some_and(|address| address != key.hotkey()) => {
                let found = format!("{path} holds {}, and its public half says otherwise", key.hotkey());
                (Some(key.hotkey()), bad(found, "write the public half anew: prism wallet regen"))
            }
            Ok(key) => {
                let row = match (form, keyfile.is_exposed()) {
                    (Form::Plain, Ok(true)) => {
                        warning(format!("others can read {path}"), "take that away from them: chmod 600")
                    }
                    _ => Row::new(Topic::Wallet, ITEM, Status::Good, format!("{path} opens as {}", key.hotkey())),
                };
                (Some(key.hotkey()), row)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::{Overwrite, SecretKey};
    use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("prism-doctor-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_key_that_opens_is_good_and_one_that_is_gone_exposed_or_broken_is_not() {
        let folder = Folder::new("key");
        let keyfile = Keyfile::at(folder.0.join("hotkey"));
        let (address, row) = examine_keyfile(&keyfile, None);
        assert_eq!((address, row.status, row.blocks_weights), (None, Status::Bad, true));

        let key = SecretKey::from_uri("//Alice").unwrap();
        keyfile.save(&key, None, Overwrite::Never).unwrap();
        let (address, row) = examine_keyfile(&keyfile, None);
        assert_eq!((address, row.status), (Some(key.hotkey()), Status::Good), "{row}");

        fs::set_permissions(keyfile.path(), fs::Permissions::from_mode(0o644)).unwrap();
        let (_, row) = examine_keyfile(&keyfile, None);
        assert_eq!((row.status, row.blocks_weights), (Status::Warning, false), "{row}");

        fs::write(keyfile.path(), "gAAAAABlegacy").unwrap();
        let (_, row) = examine_keyfile(&keyfile, None);
        assert!(row.blocks_weights && row.advice.is_some(), "{row}");

        let other = SecretKey::from_uri("//Bob").unwrap();
        fs::write(keyfile.path(), "//Bob").unwrap();
        let (address, row) = examine_keyfile(&keyfile, None);
        assert!(address == Some(other.hotkey()) && row.blocks_weights, "{row}");
    }
}
