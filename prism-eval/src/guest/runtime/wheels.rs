//! The wheels that a runtime is made of: one version of each package, one digest for each build.
//!
//! PyTorch's own requirements on Linux less the CUDA packages, and NumPy. To move to another version, ask pip for each
//! Python and machine: `pip install --dry-run --ignore-installed --no-deps --only-binary :all: --target t --report -
//! --python-version 3.12 --platform manylinux_2_28_aarch64 torch==VERSION`.
use super::RuntimeError;
use prism_core::Digest;
use sha2::{Digest as _, Sha256};

/// Free space that an installation needs: wheels, what is in them, and some air.
const NEEDED_BYTES: u64 = 2_500_000_000;

/// The wheels for one interpreter.
#[derive(Debug, Clone)]
pub(super) struct Wheels {
    pub(super) wheels: Vec<Wheel>,
    /// Free space that installing them needs.
    pub(super) needed_bytes: u64,
}

/// One wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wheel {
    pub(super) package: String,
    pub(super) version: String,
    pub(super) digest: Digest,
}

impl Wheels {
    /// Those for an interpreter's tag (`cp311`) and machine (`x86_64`).
    pub(super) fn published(tag: &str, machine: &str) -> Result<Self, RuntimeError> {
        let mut wheels = Vec::new();
        for (package, version, builds) in PACKAGES {
            let fits = |(its_tag, its_machine, _): &&Build| {
                (*its_tag == "py3" || *its_tag == tag) && (*its_machine == "any" || *its_machine == machine)
            };
            let build = builds.iter().find(fits).and_then(|(_, _, digest)| digest.parse().ok());
            let Some(digest) = build else {
                let (package, version) = ((*package).to_owned(), (*version).to_owned());
                return Err(RuntimeError::NoWheel { package, version, tag: tag.into(), machine: machine.into() });
            };
            wheels.push(Wheel { package: (*package).into(), version: (*version).into(), digest });
        }
        Ok(Self { wheels, needed_bytes: NEEDED_BYTES })
    }

    /// What pip is told: exactly these versions with exactly these contents.
    pub(super) fn requirements(&self) -> String {
        let line = |wheel: &Wheel| format!("{}=={} --hash=sha256:{}\n", wheel.package, wheel.version, wheel.digest);
        self.wheels.iter().map(line).collect()
    }

    /// A name for a folder that holds these and no others.
    pub(super) fn folder_name(&self, tag: &str) -> String {
        let mut hash = Sha256::new();
        for wheel in &self.wheels {
            hash.update(wheel.digest.0);
        }
        let digest = Digest(hash.finalize().into()).to_string();
        let torch = self.wheels.iter().find(|wheel| wheel.package == "torch").map_or("", |wheel| &wheel.version);
        format!("{tag}-torch-{torch}-{}", digest.get(..12).unwrap_or_default())
    }
}

/// Python tag or `py3`, machine or `any`, SHA-256.
type Build = (&'static str, &'static str, &'static str);

/// Package, version, builds.
#[rustfmt::skip]
const PACKAGES: &[(&str, &str, &[Build])] = &[
    ("torch", "2.15.0", &[
        ("cp311", "aarch64", "58ce2ebfb3430941353109a85be63ee8e941da22f13daa2c43344eeb51c81e06"),
        ("cp311", "x86_64", "48c2d861134c0b5697c7602cb5ffa68f62a2989fdcd1717e593356f67996ca1e"),
        ("cp312", "aarch64", "9e51cf9460c5441dcd2a4f31ece207e35ea7c3d2535be0f929cca4944e2eeb18"),
        ("cp312", "x86_64", "6d8c86f4e33a9f12a58149bd9b0d64351632b8eb44479be8ff85e5389932dd79"),
        ("cp313", "aarch64", "a46cf67c6b574311ecdc24364a5c3a694c60dd3619043f594cfebb8f0b283ea4"),
        ("cp313", "x86_64", "241fea2bac4ed8351307cd13eca5020fbe231f990891be299cf683897caebfbc"),
        ("cp314", "aarch64", "59c3a521000ab76a11785276b3d56752e03ca2751658798a94c8f1032f93cf41"),
        ("cp314", "x86_64", "1412c79b0338ea61fa31e74a59d74e412c56307e226d3c6e61ccd6d4613ffc3f"),
    ]),
    ("filelock", "4.2.11", &[
        ("py3", "any", "020e229e4bb9d410fc799c07ddf45fa217cba970278f40b30751d94f309b69e2"),
    ]),
    ("fsspec", "2026.9.0", &[
        ("py3", "any", "8dd6e646e99ea382bd85f97a45e6b526a442d79423a7dc673f1e2756d05fcb5f"),
    ]),
    ("jinja2", "3.1.6", &[
        ("py3", "any", "85ece4451f492d0c13c5dd7c13a64681a86afae63a5f347908daf103ce6d2f67"),
    ]),
    ("markupsafe", "3.0.4", &[
        ("cp311", "aarch64", "849dd2bb0e5e4ab2b71c7191726a4a8d5aa8a610daa584728cbee0b710ddc4ef"),
        ("cp311", "x86_64", "6da83a088f8ef93b2d483a8232a4dbf4d69d3d8496b568a03c56becac43e1808"),
        ("cp312", "aarch64", "6a45c3d514f2436064db00d7fc8778d888f0236ebfed649b53d13a59e69ad51b"),
        ("cp312", "x86_64", "8e124f974786f831d6043728e38296969d3579db8896fe004682f5758e613581"),
        ("cp313", "aarch64", "7018d4af1cd272e847aa5917983ab5e83e4f6579f9dbfecd4a79c0ca80b144c2"),
        ("cp313", "x86_64", "434139499bb20b502ed3baa1f169e618f924a97e7a777fea1a49446d80106cf6"),
        ("cp314", "aarch64", "1caa2fa5a6184fb233153b35f654e6687bd555476f6170f29d8ee9be1a8b0af9"),
        ("cp314", "x86_64", "a8e9f292fcda89b324f2f5c91d13f1424a153e40fc2756f38ee23b15835ff300"),
    ]),
    ("mpmath", "1.4.1", &[
        ("py3", "any", "dc4f0ea2304480d4a9a48a94c1020571558ade522b44a6912efac63a586e140f"),
    ]),
    ("networkx", "3.6.1", &[
        ("py3", "any", "d47fbf302e7d9cbbb9e2555a0d267983d2aa476bac30e90dfbe5669bd57f3762"),
    ]),
    ("numpy", "2.4.6", &[
        ("cp311", "aarch64", "0ab0a9c4ffb1a6d95ef519fe4247dba8eb6b18ad93999f76b7f657039acabd47"),
        ("cp311", "x86_64", "89cd468399cfd2504718f0ba50e410dca55a170b61a02ad92bb18c8a65186e93"),
        ("cp312", "aarch64", "5f9fb9157b4ce2971008323afe46053787b526ef624fea915b261468a8421a0f"),
        ("cp312", "x86_64", "90f9849678c75fe7afa2d348ac842c168b0a4d3d61919687216dfc547976d853"),
        ("cp313", "aarch64", "72fbe16c6fac95aedf5937fa873445cec2110be35d8a4e9433d7501fd98dae6b"),
        ("cp313", "x86_64", "a7830bab239b79cda9c08c2da014761cafb48da6150e1da17ac06283f43b6089"),
        ("cp314", "aarch64", "40fdc1ae7125e518ea98e53e69a4ebc27e1fd50510c47b7ea130cf21e5e1d42b"),
        ("cp314", "x86_64", "a2c306dea656c12c68f51f4cea133cbe78ca7435eb28c735eac1d3ebe73be6e8"),
    ]),
    ("setuptools", "84.2.1", &[
        ("py3", "any", "ca140b45d5325a9478f880e351484f62fef15f336462e449ca0c03c873d589c2"),
    ]),
    ("sympy", "1.14.0", &[
        ("py3", "any", "e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5"),
    ]),
    ("typing-extensions", "4.16.0", &[
        ("py3", "any", "481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8"),
    ]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_supported_python_and_machine_has_every_package_at_one_version() {
        let mut seen = BTreeSet::new();
        for tag in ["cp311", "cp312", "cp313", "cp314"] {
            for machine in ["x86_64", "aarch64"] {
                let wheels = Wheels::published(tag, machine).unwrap();
                assert_eq!(wheels.wheels.len(), PACKAGES.len());
                assert_eq!(wheels.requirements().lines().count(), PACKAGES.len());
                assert!(seen.insert(wheels.folder_name(tag)), "{tag} {machine}");
            }
        }
        let digests: Vec<_> = PACKAGES.iter().flat_map(|(_, _, builds)| *builds).map(|(_, _, digest)| digest).collect();
        assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());
    }

    #[test]
    fn a_python_without_a_build_is_refused_by_name() {
        for (tag, machine) in [("cp310", "x86_64"), ("cp313t", "x86_64"), ("cp311", "riscv64")] {
            let error = Wheels::published(tag, machine).unwrap_err().to_string();
            assert!(error.contains("torch 2.15.0") && error.contains(tag) && error.contains(machine), "{error}");
        }
    }
}
