//! `prism.yaml`: what a bundle says about itself.
use crate::submission::SubmissionKind;
use serde::{Deserialize, Serialize};
use std::path::{Component as Part, Path};

/// A bundle's manifest. Unknown keys are an error that names the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What the bundle brings.
    #[serde(default)]
    pub kind: SubmissionKind,
    /// The target family of a `training_for_arch`: 64 hexadecimal digits or a published name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture_id: Option<String>,
    /// The architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Component>,
    /// The recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Component>,
}

/// One part of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// The file that is read or run; resolved exactly.
    pub entrypoint: String,
    /// The files that belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// How an architecture in Python is measured; by claims where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measuring: Option<Measuring>,
}

/// How a model's predictions are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "snake_case")]
pub enum Measuring {
    /// It claims every position; audits correct the claims.
    #[default]
    Claims,
    /// It has no causal answer for a whole row (prefix and diffusion models): fresh players predict one position of
    /// each row from the beginning alone. One position a row is all that is measured, and what that costs is work.
    Prefixes,
}

impl TryFrom<String> for Measuring {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "claims" => Ok(Self::Claims),
            "prefixes" => Ok(Self::Prefixes),
            _ => Err(format!("`measuring` is {text:?}, known are `claims` and `prefixes`")),
        }
    }
}

/// A manifest that parses and still makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The kind needs a section that is missing.
    #[error("kind {kind} needs the section `{section}`")]
    Missing {
        /// As written in the manifest.
        kind: &'static str,
        /// The section's key.
        section: &'static str,
    },
    /// The kind forbids a section that is there.
    #[error("kind {kind} can't have the section `{section}`")]
    Forbidden {
        /// As written in the manifest.
        kind: &'static str,
        /// The section's key.
        section: &'static str,
    },
    /// A path that leaves the bundle or is written in a foreign way.
    #[error("`{field}` is not a plain relative path: {path:?}")]
    Path {
        /// Where it stands.
        field: &'static str,
        /// What stands there.
        path: String,
    },
    /// Only an architecture says how it is measured.
    #[error("`training.measuring` is not a key: how a model is measured is said in `architecture.measuring`")]
    Measuring,
}

impl Manifest {
    /// Checks what the kind needs and forbids, and that every path is plain and relative.
    ///
    /// # Errors
    /// The first rule broken, naming the section or field.
    pub fn check(&self) -> Result<(), ManifestError> {
        let (kind, needs, forbids) = match self.kind {
            SubmissionKind::Full => ("full", ["architecture", ""], ["architecture_id", ""]),
            SubmissionKind::ArchitectureOnly => {
                ("architecture_only", ["architecture", ""], ["training", "architecture_id"])
            }
            SubmissionKind::TrainingForArch => {
                ("training_for_arch", ["training", "architecture_id"], ["architecture", ""])
            }
        };
        let present = |section: &str| match section {
            "architecture" => self.architecture.is_some(),
            "training" => self.training.is_some(),
            "architecture_id" => self.architecture_id.is_some(),
            _ => false,
        };
        if let Some(section) = needs.into_iter().find(|s| !s.is_empty() && !present(s)) {
            return Err(ManifestError::Missing { kind, section });
        }
        if let Some(section) = forbids.into_iter().find(|s| present(s)) {
            return Err(ManifestError::Forbidden { kind, section });
        }
        if self.training.as_ref().is_some_and(|training| training.measuring.is_some()) {
            return Err(ManifestError::Measuring);
        }
        let fields = [
            ("architecture.entrypoint", "architecture.files", &self.architecture),
            ("training.entrypoint", "training.files", &self.training),
        ];
        for (entrypoint, files, component) in fields {
            let Some(component) = component else { continue };
            check_path(entrypoint, &component.entrypoint)?;
            for file in &component.files {
                check_path(files, file)?;
            }
        }
        Ok(())
    }
}

fn check_path(field: &'static str, path: &str) -> Result<(), ManifestError> {
    if is_plain_path(path) { Ok(()) } else { Err(ManifestError::Path { field, path: path.to_owned() }) }
}

/// Whether a text is a path that stays inside a bundle on every system: relative, no `.` or `..`, no empty part, no
/// backslash, drive, control character or NUL, at most 255 bytes.
#[must_use]
pub fn is_plain_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 255
        && !path.chars().any(|c| c == '\\' || c == ':' || c.is_control())
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && Path::new(path).components().all(|part| matches!(part, Part::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(entrypoint: &str) -> Option<Component> {
        Some(Component { entrypoint: entrypoint.into(), files: vec![], measuring: None })
    }

    #[test]
    fn a_recipe_must_name_its_family_and_bring_no_model() {
        let mut manifest = Manifest {
            kind: SubmissionKind::TrainingForArch,
            architecture_id: None,
            architecture: None,
            training: component("recipe.yaml"),
        };
        let missing = ManifestError::Missing { kind: "training_for_arch", section: "architecture_id" };
        assert_eq!(manifest.check(), Err(missing));
        manifest.architecture_id = Some("gpt".into());
        assert_eq!(manifest.check(), Ok(()));
        manifest.architecture = component("model.graph.yaml");
        let forbidden = ManifestError::Forbidden { kind: "training_for_arch", section: "architecture" };
        assert_eq!(manifest.check(), Err(forbidden));
    }

    #[test]
    fn only_an_architecture_says_how_it_is_measured() {
        let prefixes = || Some(Component { measuring: Some(Measuring::Prefixes), ..component("model.py").unwrap() });
        let mut manifest = Manifest {
            kind: SubmissionKind::Full,
            architecture_id: None,
            architecture: prefixes(),
            training: component("train.py"),
        };
        assert_eq!(manifest.check(), Ok(()));
        let text = serde_json::to_string(&manifest.architecture).unwrap();
        assert_eq!(text, r#"{"entrypoint":"model.py","measuring":"prefixes"}"#);
        assert_eq!(serde_json::from_str::<Component>(&text).ok(), prefixes());
        let error = serde_json::from_str::<Component>(&text.replace("prefixes", "later")).unwrap_err().to_string();
        assert!(error.contains("`measuring` is \"later\", known are"), "{error}");
        manifest.training = prefixes();
        assert_eq!(manifest.check(), Err(ManifestError::Measuring));
    }

    #[test]
    fn paths_that_leave_the_bundle_are_refused() {
        for bad in ["", "/etc/passwd", "../x.py", "a/../b.py", "a//b.py", "./a.py", "a\\b.py", "C:a.py", "a\0.py"] {
            assert!(!is_plain_path(bad), "{bad:?}");
        }
        for good in ["model.py", "src/model.graph.yaml", "a/b/c.txt", "..a/b"] {
            assert!(is_plain_path(good), "{good:?}");
        }
    }
}
