//! Which key signs, on the command line and in the configuration.
use clap::Args;
use prism_chain::{
    signer::Keypair,
    wallet::{DEFAULT_NAME, Form, Keyfile, Password, SecretKey, Wallets},
};
use prism_core::{Error, Fault, Kind, Result};
use prism_neurons::config::KeyConfig;
use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Which key signs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KeyArgs {
    /// A keyfile, or a file that holds a mnemonic, a 0x seed, or a development URI such as //Alice.
    #[arg(long, value_name = "FILE", conflicts_with = "wallet")]
    key: Option<PathBuf>,
    /// A wallet by its name, instead of a file.
    #[arg(long, value_name = "NAME")]
    wallet: Option<String>,
    /// The hotkey in that wallet; `default` when not given.
    #[arg(long, value_name = "NAME", requires = "wallet")]
    wallet_hotkey: Option<String>,
    #[command(flatten)]
    folder: WalletsArgs,
    #[command(flatten)]
    password: PasswordArgs,
}

/// Where wallets are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WalletsArgs {
    /// The folder of wallets; ~/.bittensor/wallets when not given.
    #[arg(long, value_name = "FOLDER", env = "BT_WALLET_PATH")]
    wallets: Option<PathBuf>,
}

/// The password of a key.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PasswordArgs {
    /// A file that holds the key's password; without it the terminal is asked when one is needed.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl KeyArgs {
    /// The configuration with what the command line says instead.
    pub(crate) fn over(self, config: KeyConfig) -> KeyConfig {
        let Self { key, wallet, wallet_hotkey: hotkey, folder, password } = self;
        let mut config = if key.is_some() || wallet.is_some() {
            KeyConfig { hotkey_file: key, wallet, hotkey, ..config }
        } else {
            config
        };
        config.wallets = folder.wallets.or(config.wallets);
        config.password_file = password.password_file.or(config.password_file);
        config
    }

    /// The key that signs.
    pub(crate) fn load(self) -> Result<Keypair> {
        load(&self.over(KeyConfig::default()))
    }
}

impl WalletsArgs {
    pub(crate) fn open(&self) -> Result<Wallets> {
        wallets(self.wallets.as_deref())
    }
}

impl PasswordArgs {
    /// The password of a key that is there, if it needs one.
    pub(crate) fn of(&self, keyfile: &Keyfile) -> Result<Option<Password>> {
        password(keyfile, self.password_file.as_deref())
    }

    /// The password for a new key, asked for twice.
    pub(crate) fn for_new(&self) -> Result<Password> {
        if let Some(file) = &self.password_file {
            return Ok(Password::from_file(file)?);
        }
        let mut first = ask("new password: ")?;
        if first != ask("the same again: ")? {
            return Err(wrong("the two passwords differ"));
        }
        Ok(Password::new(std::mem::take(&mut *first)))
    }
}

/// The key that a configuration names.
pub(crate) fn load(config: &KeyConfig) -> Result<Keypair> {
    Ok(open(&keyfile(config)?, config.password_file.as_deref())?.into())
}

/// Where the key is that a configuration names.
pub(crate) fn keyfile(config: &KeyConfig) -> Result<Keyfile> {
    Ok(match (&config.hotkey_file, &config.wallet) {
        (Some(_), Some(_)) => return Err(wrong("two keys: key.hotkey_file and key.wallet are both set")),
        (Some(file), None) => Keyfile::at(file),
        (None, Some(wallet)) => {
            let hotkey = config.hotkey.as_deref().unwrap_or(DEFAULT_NAME);
            wallets(config.wallets.as_deref())?.wallet(wallet)?.hotkey(hotkey)?
        }
        (None, None) => return Err(wrong("no key: give --key or --wallet, or set key.hotkey_file or key.wallet")),
    })
}

/// Reads a key, with its password if it needs one.
fn open(keyfile: &Keyfile, password_file: Option<&Path>) -> Result<SecretKey> {
    let key = keyfile.load(password(keyfile, password_file)?.as_ref())?;
    if keyfile.form()? == Some(Form::Plain) && keyfile.is_exposed()? {
        tracing::warn!(file = %keyfile.path().display(), "others can read this key: chmod 600 it");
    }
    Ok(key)
}

fn password(keyfile: &Keyfile, file: Option<&Path>) -> Result<Option<Password>> {
    if keyfile.form()? != Some(Form::Encrypted) {
        return Ok(None);
    }
    match file {
        Some(file) => Ok(Some(Password::from_file(file)?)),
        None => {
            let mut typed = ask(&format!("password of {}: ", keyfile.path().display()))?;
            Ok(Some(Password::new(std::mem::take(&mut *typed))))
        }
    }
}

/// Asks on the terminal, without showing what is typed.
pub(crate) fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        return Err(wrong("there is no terminal to ask for a secret: give it as a file"));
    }
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|e| Error::new(Kind::Unavailable, Fault::Validator, "terminal can't be read").because(e))
}

fn wallets(folder: Option<&Path>) -> Result<Wallets> {
    if let Some(folder) = folder {
        return Ok(Wallets::at(folder));
    }
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    let home = home.ok_or_else(|| wrong("there is no home folder to look for wallets in: give --wallets"))?;
    Ok(Wallets::at(home.join(".bittensor").join("wallets")))
}

fn wrong(text: &str) -> Error {
    Error::new(Kind::Invalid, Fault::Validator, text)
}
