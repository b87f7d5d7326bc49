//! The house itself: which way the arrows go, what the language may depend on, and what may be linked at all.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

/// Lines of `cargo tree` over some packages as they are built on Linux with default features: name, and what `format` gives.
fn tree(packages: &[&str], edges: &str, format: &str) -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", edges, "--prefix", "none"])
        .args(["--format", &format!("{{p}}|{format}"), "--target", "x86_64-unknown-linux-gnu"])
        .args(packages)
        .env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo tree prints text");
    let lines = text.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('|'));
    lines.map(|(package, said)| (package.to_owned(), said.to_owned())).collect()
}

/// What is below a package: name and licence. `edges` as `cargo tree -e`.
fn below(package: &str, edges: &str) -> BTreeMap<String, String> {
    let lines = tree(&["--package", package], edges, "{l}").into_iter();
    let named = lines.map(|(p, licence)| (p.split(' ').next().unwrap().to_owned(), licence));
    named.filter(|(name, _)| name != package).collect()
}

fn linked(package: &str) -> BTreeMap<String, String> {
    below(package, "normal,build")
}

#[test]
fn arrows_between_the_crates_go_one_way() {
    let allowed: [(&str, BTreeSet<&str>); 4] = [
        ("prism-core", [].into()),
        ("prism-chain", ["prism-core"].into()),
        ("prism-eval", ["prism-core"].into()),
        ("prism-neurons", ["prism-core", "prism-chain", "prism-eval"].into()),
    ];
    for (package, allowed) in allowed {
        let ours = below(package, "all").into_keys().filter(|name| name.starts_with("prism-"));
        assert_eq!(ours.collect::<Vec<_>>(), allowed.into_iter().collect::<Vec<_>>(), "below {package}");
    }
}

#[test]
fn the_chain_pulls_no_trainer_and_measuring_pulls_no_chain() {
    let (chain, eval) = (linked("prism-chain"), linked("prism-eval"));
    assert!(!chain.keys().any(|name| name.starts_with("burn")), "prism-chain pulls burn");
    assert!(
        !eval.keys().any(|name| name.starts_with("subxt") || name.starts_with("sp-")),
        "prism-eval pulls the chain"
    );
}

#[test]
fn the_language_needs_no_runtime_no_chain_and_no_trainer() {
    let below = linked("prism-core");
    for heavy in ["tokio", "subxt", "sp-core", "burn", "hyper", "rusqlite", "reqwest", "futures"] {
        assert!(!below.contains_key(heavy), "prism-core pulls {heavy}");
    }
}

#[test]
fn everything_linked_can_be_had_under_a_permissive_licence() {
    // MPL-2.0 binds single files, of option-ext only.
    let permissive = [
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CDLA-Permissive-2.0",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "Unicode-3.0",
        "Unlicense",
        "Zlib",
    ];
    // The manifest names a file; the file is the MIT licence.
    let read_by_hand = ["cfg_block"];
    let refused = linked("prism-neurons").into_iter().filter(|(name, licence)| {
        let text = licence.replace('/', " OR ").replace(['(', ')'], "");
        // One alternative of an OR is enough; all parts of an AND are needed.
        let fine = text.split(" OR ").any(|one| one.split(" AND ").all(|part| permissive.contains(&part.trim())));
        !fine && !read_by_hand.contains(&name.as_str())
    });
    assert_eq!(refused.collect::<Vec<_>>(), []);
}

#[test]
fn one_tls_stack_and_one_sqlite_are_linked() {
    let below = linked("prism-neurons");
    for banned in ["openssl", "openssl-sys", "native-tls", "aws-lc-sys", "sqlx-sqlite", "malachite", "smoldot"] {
        assert!(!below.contains_key(banned), "{banned} is linked");
    }
}

#[test]
fn the_tests_build_nothing_anew_that_the_program_is_made_of() {
    let foreign = |(package, _): &(String, String)| !package.starts_with("prism-");
    let program: BTreeSet<_> = tree(&["--package", "prism-neurons"], "normal,build", "{f}").into_iter().collect();
    let tests = tree(&["--workspace"], "normal,build,dev", "{f}");
    // The same package with other features is another build: of itself, and of all above it.
    let anew: Vec<_> = program.iter().filter(|line| foreign(line) && !tests.contains(line)).collect();
    assert!(anew.is_empty(), "{anew:?}");
}
