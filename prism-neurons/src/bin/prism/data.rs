//! `prism data`: make and check the datasets that validators measure on.
use clap::{Args, Subcommand};
use prism_core::{Error, Fault, Kind, Result};
use prism_eval::data::{
    Limits, Split,
    dataset::{self, DatasetError, Manifest},
    prepare::{self, Progress, Source},
};
use std::path::PathBuf;

/// Make or check a dataset.
#[derive(Debug, Args)]
pub(crate) struct Data {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    /// Make shards and a manifest of downloaded files: .jsonl, .jsonl.gz or .parquet with columns `id` and `text`.
    Prepare {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The new folder.
        #[arg(long)]
        out: PathBuf,
        /// The commit that the files are of.
        #[arg(long)]
        revision: String,
        /// What the dataset is called where it comes from.
        #[arg(long, default_value = "HuggingFaceFW/fineweb-edu")]
        name: String,
        /// Its licence.
        #[arg(long, default_value = "ODC-By-1.0")]
        license: String,
        /// Print the manifest as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read a dataset whole and hold it to its manifest.
    Verify {
        /// The folder.
        folder: PathBuf,
        /// Print the manifest as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Data {
    pub(crate) async fn run(self) -> Result<()> {
        // Both read files for minutes.
        let done = tokio::task::spawn_blocking(move || self.work()).await;
        done.map_err(|e| Error::new(Kind::Bug, Fault::Validator, "work on the dataset ended early").because(e))?
    }

    fn work(self) -> Result<()> {
        match self.command {
            DataCommand::Prepare { files, out, revision, name, license, json } => {
                let source = Source { name, revision, license };
                let mut last = 0;
                let mut say = |progress: Progress| -> Result<(), DatasetError> {
                    match progress {
                        Progress::Read { documents, file, files } if documents >= last + 100_000 => {
                            last = documents;
                            eprintln!("{documents} documents read, file {file} of {files}");
                        }
                        Progress::Written { documents } => eprintln!("shard of {documents} documents written"),
                        _ => {}
                    }
                    Ok(())
                };
                let manifest = prepare::prepare(&files, &out, &source, Limits::default(), &mut say)?;
                show(&manifest, json)
            }
            DataCommand::Verify { folder, json } => {
                let (corpus, manifest) = dataset::open(&folder, Limits::default())?;
                if !json {
                    println!("fingerprint {}", corpus.fingerprint());
                }
                show(&manifest, json)
            }
        }
    }
}

fn show(manifest: &Manifest, json: bool) -> Result<()> {
    if json {
        let text = serde_json::to_string_pretty(manifest);
        println!("{}", text.map_err(|e| Error::bug("manifest is not JSON").because(e))?);
        return Ok(());
    }
    println!("{} at {}, {}", manifest.name, manifest.revision, manifest.license);
    for split in Split::ALL {
        if let Some(part) = manifest.splits.get(&split) {
            let (documents, bytes, shards) = (part.documents, part.text_bytes, part.shards.len());
            println!("{:<10} {documents:>10} documents {bytes:>14} bytes of text in {shards} shards", split.as_str());
        }
    }
    Ok(())
}
