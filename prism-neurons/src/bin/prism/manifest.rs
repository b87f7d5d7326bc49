//! `prism manifest`: check a run manifest, or print the schema of all of them.
use clap::{Args, Subcommand};
use prism_core::{Digest, Error, Fault, Kind, Result};
use prism_eval::run_manifest::{self, Artifact, MAX_BYTES, ManifestError, RunManifest, Violation};
use serde_json::json;
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Most bytes of a file beside a manifest that are read.
const MAX_FILE: u64 = 1 << 30;

/// Check a run manifest, or print the schema of all of them.
#[derive(Debug, Args)]
pub(crate) struct Manifest {
    #[command(subcommand)]
    command: ManifestCommand,
}

#[derive(Debug, Subcommand)]
enum ManifestCommand {
    /// Say whether a file is a run manifest that contradicts nothing, of this version or the first; if not, where.
    Check {
        /// The file.
        file: PathBuf,
        /// Ask also for what must hold before rewards may follow.
        #[arg(long)]
        official: bool,
        /// Hold the files that it names, beside it, to their digests.
        #[arg(long)]
        files: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema (draft 2020-12).
    Schema,
}

impl Manifest {
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            ManifestCommand::Schema => {
                let text = serde_json::to_string_pretty(&run_manifest::schema());
                println!("{}", text.map_err(|e| Error::bug("schema is no JSON").because(e))?);
                Ok(())
            }
            ManifestCommand::Check { file, official, files, json } => {
                let checked = match check(&file, official, files) {
                    Ok(manifest) => Ok(manifest),
                    Err(Refusal::Manifest(error)) => Err(error),
                    Err(Refusal::Other(error)) => return Err(error),
                };
                let violations = checked.as_ref().err().map(told).unwrap_or_default();
                if json {
                    let all: Vec<_> =
                        violations.iter().map(|v| json!({ "place": v.place, "problem": v.problem })).collect();
                    println!("{}", json!({ "valid": checked.is_ok(), "violations": all }));
                } else {
                    violations.iter().for_each(|violation| println!("{violation}"));
                }
                let manifest = checked?;
                if !json {
                    println!("run {} of submission {}: sound", manifest.run_id, manifest.submission_id);
                }
                Ok(())
            }
        }
    }
}

/// Why a file is no sound manifest.
#[derive(Debug)]
enum Refusal {
    Manifest(ManifestError),
    Other(Error),
}

impl From<ManifestError> for Refusal {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(error)
    }
}

fn check(file: &Path, official: bool, files: bool) -> Result<RunManifest, Refusal> {
    let bytes = read(file, MAX_BYTES as u64 + 1).map_err(Refusal::Other)?;
    let manifest = RunManifest::read(&bytes)?;
    if official {
        manifest.check_official()?;
    }
    if files {
        check_files(&manifest, file.parent().unwrap_or(Path::new(".")))?;
    }
    Ok(manifest)
}

/// The files that a manifest names, held to their digests.
fn check_files(manifest: &RunManifest, folder: &Path) -> Result<(), Refusal> {
    let artifacts = &manifest.artifacts;
    let named: [(&str, Option<&Artifact>); 5] = [
        ("artifacts.architecture_graph", Some(&artifacts.architecture_graph)),
        ("artifacts.architecture_metadata", Some(&artifacts.architecture_metadata)),
        ("artifacts.run_log", Some(&artifacts.run_log)),
        ("artifacts.metrics", artifacts.metrics.as_ref()),
        ("artifacts.architecture_mermaid", artifacts.architecture_mermaid.as_ref()),
    ];
    let mut violations = Vec::new();
    for (place, artifact) in named {
        let Some((artifact, sha256)) = artifact.and_then(|artifact| Some((artifact, artifact.sha256?))) else {
            continue;
        };
        let found = Digest::of(&read(&folder.join(artifact.path.as_str()), MAX_FILE).map_err(Refusal::Other)?);
        if found != sha256 {
            let problem = format!("is {sha256}, {} has {found}", artifact.path);
            violations.push(Violation { place: format!("{place}.sha256"), problem });
        }
    }
    if violations.is_empty() { Ok(()) } else { Err(ManifestError::Rules(violations).into()) }
}

fn told(error: &ManifestError) -> Vec<Violation> {
    match error {
        ManifestError::Rules(violations) => violations.clone(),
        ManifestError::Form { place, problem, line, column } => {
            vec![Violation { place: place.clone(), problem: format!("{problem} (line {line}, column {column})") }]
        }
        other => vec![Violation { place: "document".into(), problem: other.to_string() }],
    }
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map_err(|e| {
        let kind = if e.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Unavailable };
        Error::new(kind, Fault::Validator, format!("file {} can't be read", path.display())).because(e)
    })?;
    Ok(bytes)
}
