//! Keyfiles of the official package, and what becomes of files that aren't.
use super::*;
use crate::signer::verify;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt as _};

const ABANDON: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
const ADDRESS: &str = "5EPCUjPxiHAcNooYipQFWr9NmmXJKpNG5RhcntXwbtUySrgH";
const PASSWORD: &str = "Test1234!";

/// What bittensor-wallet 4.1.1 wrote as the hotkey of [`ABANDON`].
const OFFICIAL: &str = r#"{"secretSeed":"0x4ed8d4b17698ddeaa1f1559f152f87b5d472f725ca86d341bd0276f1b61197e2","ss58Address":"5EPCUjPxiHAcNooYipQFWr9NmmXJKpNG5RhcntXwbtUySrgH","cryptoType":1,"publicKey":"0x66933bd1f37070ef87bd1198af3dacceb095237f803f3d32b173e6b425ed7972","accountId":"0x66933bd1f37070ef87bd1198af3dacceb095237f803f3d32b173e6b425ed7972","privateKey":"0x2ec306fc1c5bc2f0e3a2c7a6ec6014ca4a0823a7d7d42ad5e9d7f376a1c36c0d14a2ddb1ef1df4adba49f3a4d8c0f6205117907265f09a53ccf07a4e8616dfd8","secretPhrase":"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"}"#;
/// And beside it.
const OFFICIAL_PUBLIC: &str = r#"{"accountId":"0x66933bd1f37070ef87bd1198af3dacceb095237f803f3d32b173e6b425ed7972","ss58Address":"5EPCUjPxiHAcNooYipQFWr9NmmXJKpNG5RhcntXwbtUySrgH","cryptoType":1,"publicKey":"0x66933bd1f37070ef87bd1198af3dacceb095237f803f3d32b173e6b425ed7972"}"#;
/// And as the coldkey, under [`PASSWORD`].
const OFFICIAL_ENCRYPTED: &str = "\
    244e41434cb93d7de1da55d64f6190e14cee342efe71609a728bc5ee97de92416a04fef05af081b55f201752e58cbf8669708c90229d15c2\
    f2ce38de06c3392fa132efccec376e7002a987ab23c48312b27275d82068dc463fb816c76cf40993a230533ac085b65b28ecb7d01a76c020\
    0758d5e990200828b9c504a245bcaffb661ffc4021d76462783df8333c0c5e0d67c04bd9521704b2b895703bb4ab6531b3da9f4735bada10\
    2727ab0cbcbb432c1dcab912db674e3e90113cb230436c6491382afd167e3c2ed52cbeca14e394f7347966a001ad8fed4f985ae5236e54c3\
    8d663391921bad071ecd32e9a67b24940a83bde42829a8af8bc6fc9952afe13acfcff1503060cdb1666fedc121edb054e2742d9e60d78575\
    8e4e01ccee671a4f24bbd4363818b51306e1631d1ac6f33b66c5a10bee33c993ffd1e660ec9bc8783d5157aac5191cee1e8deccd0a7f342e\
    6f02fabaec2b98bb10f29a23da34acf9ed6d997d84b04ab5007fb23b4589f96bc643ab4709a16ef9f27e872415205ec131919319f4f5f057\
    f4e466523410e8daf36ad3a56e088a9cbeee17a751b4e4e3a04c55b05ae78e0f932f445e2eecf63b4c739cd0aca7d00cbd551e0141ea0570\
    3c81b76a0d3876bdd49f949c03a718fe0e519e614815be5fb0b81ce419521359849ba99b66282095b0b26afc4f6a08eb9bc0faee5878e351\
    b092f3daa90352abc749a8255f7074997336fed9371b7ac289b1b6811e4a8ccc18148d3a36978dfa2b9faccb8a1a9333348df778a2efc751\
    09d266287c903ff66802dfd1bc35e30f5f7e8c871349ecff5c27bbfc23f5516de94533b9e2cc07818ceefdac806c15c044b0a5033bcfa692\
    bf4fe3c740693423f48b31";

/// A folder of its own, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("prism-wallet-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn keyfile(&self, content: impl AsRef<[u8]>) -> Keyfile {
        let keyfile = Keyfile::at(self.0.join("key"));
        fs::write(keyfile.path(), content).unwrap();
        keyfile
    }
    /// What is wrong with a keyfile of this content.
    fn refusal(&self, content: impl AsRef<[u8]>) -> KeyfileError {
        match self.keyfile(content).load(None) {
            Err(WalletError::Keyfile { source, .. }) => source,
            other => panic!("{other:?}"),
        }
    }
    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn abandon() -> SecretKey {
    SecretKey::from_phrase(ABANDON, "").unwrap()
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

/// All that costs 512 MiB and seconds each, one after the other.
#[test]
fn encrypted_keyfiles_of_the_official_package_are_read_and_such_are_written() {
    let key = encryption::derive(&password(PASSWORD)).unwrap();
    assert_eq!(hex::encode(*key), "d6bb45116e14de7585c2360e6fdaa7eb0415cd18c25fec8f2168ed9124b73007");
    let official = hex::decode(OFFICIAL_ENCRYPTED).unwrap();
    let plain = encryption::open(&key, &official).unwrap();
    let document::Held::Secret(held) = document::parse(&plain).unwrap() else { panic!("no secret") };
    assert_eq!((held.hotkey().ss58().as_str(), held.phrase()), (ADDRESS, Some(ABANDON)));

    let folder = Folder::new("encrypted");
    let keyfile = Keyfile::at(folder.0.join("coldkey"));
    let empty = keyfile.save(&abandon(), Some(&password("")), Overwrite::Never).unwrap_err();
    assert!(matches!(empty, WalletError::Keyfile { source: KeyfileError::EmptyPassword, .. }), "{empty}");
    keyfile.save(&abandon(), Some(&password(PASSWORD)), Overwrite::Never).unwrap();
    let bytes = fs::read(keyfile.path()).unwrap();
    assert_eq!(bytes.len(), official.len(), "the same JSON under the same encryption");
    let document::Held::Secret(held) = document::parse(&encryption::open(&key, &bytes).unwrap()).unwrap() else {
        panic!("no secret")
    };
    assert_eq!(held.phrase(), Some(ABANDON));
    assert_eq!(keyfile.form().unwrap(), Some(Form::Encrypted));
    assert_eq!(keyfile.address().unwrap().ss58(), ADDRESS, "from the public half, without a password");
    let locked = keyfile.load(None).unwrap_err();
    assert!(matches!(locked, WalletError::Keyfile { source: KeyfileError::Locked, .. }), "{locked}");
    let wrong = keyfile.load(Some(&password("Test1234"))).unwrap_err();
    assert!(matches!(wrong, WalletError::Keyfile { source: KeyfileError::Password, .. }), "{wrong}");
}

#[test]
fn plain_keyfiles_are_those_of_the_official_package() {
    let folder = Folder::new("plain");
    let official = folder.keyfile(OFFICIAL).load(None).unwrap();
    assert_eq!((official.hotkey().ss58().as_str(), official.phrase()), (ADDRESS, Some(ABANDON)));
    let ours = Keyfile::at(folder.0.join("ours"));
    ours.save(&abandon(), None, Overwrite::Never).unwrap();
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(json(&fs::read_to_string(ours.path()).unwrap()), json(OFFICIAL));
    assert_eq!(json(&fs::read_to_string(ours.public_path()).unwrap()), json(OFFICIAL_PUBLIC));
}

#[test]
fn mnemonic_then_seed_then_private_key_makes_the_key() {
    let folder = Folder::new("order");
    let full: Value = serde_json::from_str(OFFICIAL).unwrap();
    let sign = |key: &SecretKey| verify(&abandon().hotkey(), b"text", &key.keypair().sign(b"text"));
    for kept in [vec!["secretPhrase"], vec!["secretSeed"], vec!["privateKey"], vec!["privateKey", "ss58Address"]] {
        let fields = kept.iter().map(|name| ((*name).to_owned(), full[*name].clone())).collect();
        let key = folder.keyfile(Value::Object(fields).to_string()).load(None).unwrap();
        assert!(sign(&key), "{kept:?}");
        assert_eq!(key.phrase().is_some(), kept.contains(&"secretPhrase"));
    }
    // As older writers put it.
    let nulls = json!({ "accountId": null, "secretPhrase": null, "secretSeed": full["secretSeed"], "extra": [1, {}] });
    assert!(sign(&folder.keyfile(nulls.to_string()).load(None).unwrap()));
    let uri = folder.keyfile("//Alice\n").load(None).unwrap();
    assert_eq!(uri.hotkey().ss58(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
}

#[test]
fn each_defect_of_a_keyfile_has_its_own_error_which_repeats_nothing_of_it() {
    let folder = Folder::new("defects");
    assert_eq!(folder.refusal("$ANSIBLE_VAULT;1.1;AES256\n6238"), KeyfileError::AnsibleVault);
    assert_eq!(folder.refusal("gAAAAABh0mTb"), KeyfileError::Fernet);
    assert_eq!(folder.refusal("$NACL"), KeyfileError::Truncated);
    assert_eq!(folder.refusal([b"$NACL".as_slice(), &[7; 45]].concat()), KeyfileError::Locked);
    assert_eq!(folder.refusal([0xff, 0xfe]), KeyfileError::Unknown);
    assert_eq!(folder.refusal(""), KeyfileError::Phrase);
    assert_eq!(folder.refusal("abandon abandon"), KeyfileError::Phrase);
    assert!(matches!(folder.refusal("{\"secretSeed\": 1"), KeyfileError::Json { line: 1, .. }));
    assert!(matches!(folder.refusal(r#"{"secretSeed": ["0x00"]}"#), KeyfileError::Json { .. }));
    assert_eq!(folder.refusal("{}"), KeyfileError::NoKey);
    assert_eq!(folder.refusal(OFFICIAL_PUBLIC), KeyfileError::NoSecret);
    assert_eq!(folder.refusal(r#"{"cryptoType": 0}"#), KeyfileError::CryptoType(0));
    let field = |json: &str| match folder.refusal(json) {
        KeyfileError::Field { field, .. } => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(r#"{"secretSeed": "0x12"}"#), "secretSeed");
    assert_eq!(field(r#"{"privateKey": "zz"}"#), "privateKey");
    assert_eq!(field(&json!({ "privateKey": "ff".repeat(64) }).to_string()), "privateKey");
    assert_eq!(field(r#"{"ss58Address": "5EPCUjPx"}"#), "ss58Address");
    assert_eq!(field(r#"{"publicKey": "0x"}"#), "publicKey");
    let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    let other = OFFICIAL.replace(ADDRESS, alice);
    assert_eq!(folder.refusal(&other), KeyfileError::Mismatch("ss58Address"));
    let other = json!({ "secretPhrase": ABANDON, "ss58Address": alice });
    assert_eq!(folder.refusal(other.to_string()), KeyfileError::Mismatch("ss58Address"));

    let secret = r#"{"secretPhrase": "horse battery staple", "secretSeed": "battery"}"#;
    let error = folder.keyfile(secret).load(None).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("battery"), "{error:?}");
    let error =
        prism_core::Error::from(folder.keyfile(r#"{"secretPhrase": {"horse": "battery"}}"#).load(None).unwrap_err());
    assert!(!format!("{error:?}").contains("battery"), "{error:?}");
}

#[test]
fn a_file_is_read_only_when_it_is_one_and_of_a_keyfile_s_size() {
    let folder = Folder::new("size");
    let long = folder.keyfile(vec![b'a'; 16 * 1024 + 1]).load(None).unwrap_err();
    assert!(matches!(long, WalletError::TooLong { most: 16384, .. }), "{long}");
    assert!(matches!(Keyfile::at(&folder.0).load(None), Err(WalletError::File { .. })), "a folder");
    assert!(matches!(Keyfile::at(folder.0.join("none")).load(None), Err(WalletError::Missing(_))));
    fs::write(folder.0.join("password"), "with space \r\n").unwrap();
    assert_eq!(Password::from_file(folder.0.join("password")).unwrap().bytes(), b"with space ");
    fs::write(folder.0.join("password"), vec![b'x'; 5000]).unwrap();
    assert!(matches!(Password::from_file(folder.0.join("password")), Err(WalletError::TooLong { .. })));
}

#[test]
fn files_are_whole_for_their_owner_and_never_over_another_key() {
    let folder = Folder::new("write");
    let wallets = Wallets::at(folder.0.join("wallets"));
    let keyfile = wallets.wallet("w").unwrap().hotkey("h").unwrap();
    let (first, second) = (abandon(), SecretKey::from_uri("//Alice").unwrap());
    keyfile.save(&first, None, Overwrite::Never).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(keyfile.path()), mode(keyfile.public_path())), (0o600, 0o600));
    assert_eq!(mode(keyfile.path().parent().unwrap()), 0o700);
    assert!(!keyfile.is_exposed().unwrap());

    for key in [&first, &second] {
        let refused = keyfile.save(key, None, Overwrite::Never).unwrap_err();
        assert!(matches!(&refused, WalletError::Exists(path) if path == keyfile.path()), "{refused}");
    }
    assert_eq!(keyfile.load(None).unwrap().hotkey(), first.hotkey());
    keyfile.save(&second, None, Overwrite::Replace).unwrap();
    assert_eq!(keyfile.load(None).unwrap().hotkey(), second.hotkey());
    assert_eq!(keyfile.address().unwrap(), second.hotkey());
    let left = Folder(keyfile.path().parent().unwrap().to_owned());
    assert_eq!(left.files(), ["h", "hpub.txt"], "no drafts");

    // A public half that stands alone takes its own secret and no other's.
    let watched = wallets.wallet("watched").unwrap().coldkey();
    watched.save_public(&first.hotkey(), Overwrite::Never).unwrap();
    watched.save_public(&first.hotkey(), Overwrite::Never).unwrap();
    let refused = watched.save(&second, None, Overwrite::Never).unwrap_err();
    assert!(matches!(&refused, WalletError::Exists(path) if path == watched.public_path()), "{refused}");
    assert!(matches!(watched.save_public(&second.hotkey(), Overwrite::Never), Err(WalletError::Exists(_))));
    assert_eq!(watched.form().unwrap(), None, "nothing half-written");
    watched.save(&first, None, Overwrite::Never).unwrap();

    fs::set_permissions(keyfile.path(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(keyfile.is_exposed().unwrap());
}

#[test]
fn a_link_that_leads_nowhere_is_not_written_through() {
    let folder = Folder::new("link");
    let keyfile = Keyfile::at(folder.0.join("key"));
    std::os::unix::fs::symlink(folder.0.join("elsewhere"), keyfile.path()).unwrap();
    assert!(matches!(keyfile.save(&abandon(), None, Overwrite::Never), Err(WalletError::Exists(_))));
    keyfile.save(&abandon(), None, Overwrite::Replace).unwrap();
    assert_eq!(folder.files(), ["key", "keypub.txt"]);
    assert!(!fs::symlink_metadata(keyfile.path()).unwrap().is_symlink());
}

#[test]
fn wallets_and_hotkeys_are_listed_and_names_stay_in_the_folder() {
    let folder = Folder::new("list");
    let wallets = Wallets::at(folder.0.join("wallets"));
    assert_eq!(wallets.list().unwrap(), []);
    let wallet = wallets.wallet("one").unwrap();
    assert_eq!(wallet.hotkeys().unwrap(), Vec::<String>::new());
    for name in ["b", "a"] {
        wallet.hotkey(name).unwrap().save(&abandon(), None, Overwrite::Never).unwrap();
    }
    wallet.hotkey("public only").unwrap().save_public(&abandon().hotkey(), Overwrite::Never).unwrap();
    wallets.wallet("two").unwrap().coldkey().save(&abandon(), None, Overwrite::Never).unwrap();
    fs::write(folder.0.join("wallets/stray"), "").unwrap();
    let listed = wallets.list().unwrap();
    assert_eq!(listed.iter().map(Wallet::name).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(listed[0].hotkeys().unwrap(), ["a", "b", "public only"]);
    for name in ["", ".", "..", ".hidden", "a/b", "a\\b", "a\nb", &"x".repeat(65)] {
        assert!(matches!(wallets.wallet(name), Err(WalletError::Name { .. })), "{name:?}");
        assert!(wallet.hotkey(name).is_err(), "{name:?}");
    }
    assert!(wallet.hotkey("xpub.txt").is_err());
}

#[test]
fn a_new_key_comes_back_from_its_mnemonic() {
    for (words, count) in [(Words::Twelve, 12), (Words::TwentyFour, 24)] {
        let key = SecretKey::generate(words);
        let phrase = key.phrase().unwrap();
        assert_eq!(phrase.split(' ').count(), count);
        let spaced = format!("  {}\n", phrase.replace(' ', "\t "));
        assert_eq!(SecretKey::from_phrase(&spaced, "").unwrap().hotkey(), key.hotkey());
        assert_ne!(SecretKey::generate(words).hotkey(), key.hotkey());
    }
}

/// Addresses made with bittensor-core 0.1.5.
#[test]
fn paths_lead_to_the_keys_of_the_official_package() {
    let at = |path| SecretKey::from_phrase(ABANDON, path).unwrap();
    assert_eq!(at("//1//hot").hotkey().ss58(), "5GpHap37hDSxJzzYx8Lw455bkA99ig2KvsY35vyQQo8Wg1gj");
    assert_eq!(at("/soft").hotkey().ss58(), "5CnncmpEwiXZ6NwSoMKJEXzuXS3McuBgyw95jqPnpboek17x");
    let seed = "0x4ed8d4b17698ddeaa1f1559f152f87b5d472f725ca86d341bd0276f1b61197e2";
    assert_eq!(SecretKey::from_uri(&format!("{seed}//1//hot")).unwrap().hotkey(), at("//1//hot").hotkey());
    // What is written of a derived key is the derived key, not its parent.
    let folder = Folder::new("derived");
    for path in ["//1//hot", "/soft", "//1/soft"] {
        let keyfile = Keyfile::at(folder.0.join("key"));
        keyfile.save(&at(path), None, Overwrite::Replace).unwrap();
        let back = keyfile.load(None).unwrap();
        assert_eq!((back.hotkey(), back.phrase()), (at(path).hotkey(), None), "{path}");
        assert!(verify(&at(path).hotkey(), b"x", &back.keypair().sign(b"x")));
    }
    for path in ["x", "//", "/a/", "///password", "//a///password", "//a b"] {
        assert_eq!(SecretKey::from_phrase(ABANDON, path).unwrap_err(), KeyfileError::Path, "{path}");
    }
}

#[test]
fn secrets_have_no_text_form() {
    let shown = format!("{:?} {:?}", abandon(), password("hunter2"));
    assert_eq!(shown, format!("SecretKey({ADDRESS}) Password"));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), place in 0_usize..580, byte: u8) {
        let _ = document::parse(&bytes);
        let _ = encryption::parts(&bytes);
        let mut changed = OFFICIAL.as_bytes().to_vec();
        changed[place] = byte;
        if let Ok(document::Held::Secret(key)) = document::parse(&changed) {
            prop_assert_eq!(key.hotkey().ss58(), ADDRESS);
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,60}", path in "[/a-z0-9]{0,12}") {
        let _ = SecretKey::from_uri(&text);
        let _ = abandon().derive(&path);
    }
}
