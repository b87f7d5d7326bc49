//! `prism wallet`: keys on disk, in the official layout.
use super::key::{PasswordArgs, WalletsArgs, ask};
use clap::{Args, Subcommand, ValueEnum};
use prism_chain::{
    signer::verify,
    wallet::{Form, Keyfile, Overwrite, SecretKey, Wallet as Keys, Words},
};
use prism_core::{Error, Fault, Hotkey, Kind, Result};
use serde_json::{Value, json};
use std::{
    io::Read as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Longest secret or message that is read, bytes.
const MOST: u64 = 1 << 20;

/// Make, list, show and use the keys of wallets.
///
/// Exit codes: 0 done; 1 no such key, or a file that is damaged; 2 wrong arguments; 3 refused: wrong password, a signature
/// that doesn't verify, a key that is there already; 4 the disk did not answer.
#[derive(Debug, Args)]
pub(crate) struct Wallet {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a new key: the wallet's coldkey, or with --hotkey a hotkey. Prints its mnemonic, once.
    Create {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        write: Write,
        /// Words of the mnemonic.
        #[arg(long, value_enum, default_value_t = Length::Twelve)]
        words: Length,
    },
    /// Make a key again from its mnemonic or seed, which is asked for.
    Regen {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        write: Write,
        /// A file that holds the mnemonic or 0x seed, instead of asking for it.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// A path below it, as in //hot or //hard/soft.
        #[arg(long, default_value = "", hide_default_value = true)]
        path: String,
    },
    /// List all wallets with their keys.
    List {
        #[command(flatten)]
        folder: WalletsArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show where a key is, its address, and how it is kept.
    Show {
        #[command(flatten)]
        which: Which,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sign a text: sr25519, the bytes as they are.
    Sign {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        message: Message,
        #[command(flatten)]
        password: PasswordArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say whether a signature is an address's over a text.
    Verify {
        /// Whose signature it is said to be.
        #[arg(long)]
        address: String,
        /// 64 bytes in hexadecimal.
        #[arg(long)]
        signature: String,
        #[command(flatten)]
        message: Message,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// One key of a wallet.
#[derive(Debug, Args)]
struct Which {
    /// The wallet.
    #[arg(default_value = "default")]
    name: String,
    /// The hotkey; the coldkey when not given.
    #[arg(long, value_name = "NAME")]
    hotkey: Option<String>,
    #[command(flatten)]
    folder: WalletsArgs,
}

/// How a key is written.
#[derive(Debug, Args)]
struct Write {
    /// Write it under a password. The custom for coldkeys, which are, unless --plain.
    #[arg(long, conflicts_with = "plain")]
    encrypt: bool,
    /// Write it in plain text. The custom for hotkeys, which are, unless --encrypt.
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    password: PasswordArgs,
    /// Replace the key that is there. Without a copy it is lost.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What is signed.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Message {
    /// The text.
    #[arg(long)]
    text: Option<String>,
    /// A file that holds it, to the last byte.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Length {
    #[value(name = "12")]
    Twelve,
    #[value(name = "24")]
    TwentyFour,
}

impl Wallet {
    pub(crate) fn run(self) -> Result<()> {
        match self.what {
            What::Create { which, write, words } => {
                let key = SecretKey::generate(match words {
                    Length::Twelve => Words::Twelve,
                    Length::TwentyFour => Words::TwentyFour,
                });
                write.save(&which, &key)?;
                write.report(&which, &key, key.phrase())
            }
            What::Regen { which, write, from, path } => {
                let secret = match from {
                    Some(file) => read(&file, MOST).and_then(|bytes| {
                        let text = std::str::from_utf8(&bytes).map_err(|_| invalid("the secret is no text"))?;
                        Ok(Zeroizing::new(text.trim().to_owned()))
                    })?,
                    None => ask("mnemonic or 0x seed: ")?,
                };
                let root = SecretKey::from_uri(&secret)?;
                let key = if path.is_empty() { root } else { root.derive(&path)? };
                write.save(&which, &key)?;
                write.report(&which, &key, None)
            }
            What::List { folder, json } => list(&folder, json),
            What::Show { which, json } => {
                let shown = describe(&which.keyfile()?)?;
                if shown.get("form").is_none_or(Value::is_null) && shown.get("address").is_none_or(Value::is_null) {
                    let path = which.keyfile()?.path().display().to_string();
                    return Err(Error::new(Kind::NotFound, Fault::Validator, format!("there is no key at {path}")));
                }
                print(json, &shown);
                Ok(())
            }
            What::Sign { which, message, password, json } => {
                let keyfile = which.keyfile()?;
                let key = keyfile.load(password.of(&keyfile)?.as_ref())?;
                let signature = format!("0x{}", hex::encode(key.keypair().sign(&message.bytes()?)));
                if json {
                    println!("{}", json!({ "address": key.hotkey(), "signature": signature }));
                } else {
                    println!("{signature}");
                }
                Ok(())
            }
            What::Verify { address, signature, message, json } => {
                let hotkey: Hotkey = address.parse().map_err(|e| invalid(&format!("--address: {e}")))?;
                let mut bytes = [0; 64];
                let digits = signature.strip_prefix("0x").unwrap_or(&signature);
                hex::decode_to_slice(digits, &mut bytes)
                    .map_err(|_| invalid("--signature is not 64 bytes in hexadecimal"))?;
                let valid = verify(&hotkey, &message.bytes()?, &bytes);
                if json {
                    println!("{}", json!({ "address": hotkey, "valid": valid }));
                }
                if valid {
                    return Ok(());
                }
                let text = format!("signature is not that of {hotkey} over this text");
                Err(Error::new(Kind::Refused, Fault::Validator, text))
            }
        }
    }
}

impl Which {
    fn wallet(&self) -> Result<Keys> {
        Ok(self.folder.open()?.wallet(&self.name)?)
    }

    fn keyfile(&self) -> Result<Keyfile> {
        let wallet = self.wallet()?;
        Ok(match &self.hotkey {
            Some(hotkey) => wallet.hotkey(hotkey)?,
            None => wallet.coldkey(),
        })
    }
}

impl Write {
    fn save(&self, which: &Which, key: &SecretKey) -> Result<()> {
        let keyfile = which.keyfile()?;
        let overwrite = if self.overwrite { Overwrite::Replace } else { Overwrite::Never };
        if !self.overwrite && keyfile.form()?.is_some() {
            // Before a password is asked for.
            let text = format!("{} exists; --overwrite replaces it", keyfile.path().display());
            return Err(Error::new(Kind::Conflict, Fault::Validator, text));
        }
        let encrypt = self.encrypt || (which.hotkey.is_none() && !self.plain);
        let password = if encrypt { Some(self.password.for_new()?) } else { None };
        Ok(keyfile.save(key, password.as_ref(), overwrite)?)
    }

    fn report(&self, which: &Which, key: &SecretKey, phrase: Option<&str>) -> Result<()> {
        let path = which.keyfile()?.path().display().to_string();
        if self.json {
            println!("{}", json!({ "address": key.hotkey(), "path": path, "mnemonic": phrase }));
            return Ok(());
        }
        println!("{} in {path}", key.hotkey());
        if let Some(phrase) = phrase {
            println!(
                "\n  {phrase}\n\nWrite these words down and keep them apart: they are the key, and are not shown again."
            );
        }
        Ok(())
    }
}

impl Message {
    fn bytes(&self) -> Result<Vec<u8>> {
        match (&self.text, &self.file) {
            (Some(text), _) => Ok(text.clone().into_bytes()),
            (None, Some(file)) => Ok(read(file, MOST)?.to_vec()),
            (None, None) => Err(invalid("there is no message: give --text or --file")),
        }
    }
}

fn list(folder: &WalletsArgs, json: bool) -> Result<()> {
    let wallets = folder.open()?;
    let mut all = Vec::new();
    for wallet in wallets.list()? {
        let mut hotkeys = Vec::new();
        for name in wallet.hotkeys()? {
            let mut entry = glance(&wallet.hotkey(&name)?);
            if let Some(entry) = entry.as_object_mut() {
                entry.insert("name".into(), name.into());
            }
            hotkeys.push(entry);
        }
        all.push(json!({ "name": wallet.name(), "coldkey": glance(&wallet.coldkey()), "hotkeys": hotkeys }));
    }
    if json {
        println!("{}", json!({ "folder": wallets.folder().display().to_string(), "wallets": all }));
        return Ok(());
    }
    if all.is_empty() {
        println!("no wallets in {}", wallets.folder().display());
    }
    let line = |entry: &Value| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        match text("problem") {
            Some(problem) => problem,
            None => format!("{}  {}", text("address").unwrap_or_default(), text("form").unwrap_or("public".into())),
        }
    };
    for wallet in &all {
        let name = |entry: &Value| entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let coldkey = wallet.get("coldkey").map(line).unwrap_or_default();
        println!("{:<24} {coldkey}", name(wallet));
        for hotkey in wallet.get("hotkeys").and_then(Value::as_array).into_iter().flatten() {
            println!("  {:<22} {}", name(hotkey), line(hotkey));
        }
    }
    Ok(())
}

/// A key in a list, where one that can't be read must not hide the others.
fn glance(keyfile: &Keyfile) -> Value {
    describe(keyfile).unwrap_or_else(|error| json!({ "problem": error.chain() }))
}

fn describe(keyfile: &Keyfile) -> Result<Value> {
    let form = keyfile.form()?;
    let address = match keyfile.address() {
        Ok(address) => Some(address),
        Err(prism_chain::wallet::WalletError::Missing(_)) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(json!({
        "address": address,
        "form": form.map(|form| match form {
            Form::Plain => "plain",
            Form::Encrypted => "encrypted",
        }),
        "exposed": form.map(|_| keyfile.is_exposed()).transpose()?,
        "path": keyfile.path().display().to_string(),
    }))
}

fn print(json: bool, value: &Value) {
    if json {
        println!("{value}");
        return;
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        println!("{name:<10} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
}

/// A file that may hold a secret, up to a bound.
pub(crate) fn read(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>> {
    let fail = |e| Error::new(Kind::NotFound, Fault::Validator, format!("{} can't be read", path.display())).because(e);
    let mut bytes = Zeroizing::new(Vec::new());
    std::fs::File::open(path).map_err(fail)?.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > most {
        return Err(invalid(&format!("{} is longer than {most} bytes", path.display())));
    }
    Ok(bytes)
}

fn invalid(text: &str) -> Error {
    Error::new(Kind::Invalid, Fault::Validator, text)
}
