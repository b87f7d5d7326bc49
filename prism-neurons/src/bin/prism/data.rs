//! `prism data`: fetch, make and check the datasets that validators measure on.
use clap::{Args, Subcommand};
use prism_core::{Error, Fault, Kind, Result};
use prism_eval::{
    benchmark,
    data::{
        Limits, Split,
        dataset::{self, DatasetError, Manifest},
        prepare::{self, Additions, Progress, Source},
    },
};
use prism_neurons::hub::{self, Hub, HubConfig, Pinned, folder_of};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Fetch, make or check a dataset.
#[derive(Debug, Args)]
pub(crate) struct Data {
    #[command(subcommand)]
    command: DataCommand,
}

/// A name and a file, as in `arc=arc_easy.jsonl`.
#[derive(Debug, Clone)]
struct Named {
    name: String,
    file: PathBuf,
}

impl std::str::FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = text.split_once('=').ok_or("a name and a file are asked for, as in arc=arc_easy.jsonl")?;
        if !benchmark::is_name(name) {
            return Err(format!("{name:?} is no name: letters, digits, - and _"));
        }
        Ok(Self { name: name.to_owned(), file: file.into() })
    }
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    /// Fetch files of a dataset from the Hugging Face hub, at a commit, and verify them. What broke off goes on.
    Download {
        /// The commit, as 40 hexadecimal digits.
        #[arg(long)]
        revision: String,
        /// What part: sample-10BT, CC-MAIN-2024-10, or a folder of the dataset.
        #[arg(long)]
        subset: String,
        /// Where to; a new folder, or one to go on in.
        #[arg(long)]
        out: PathBuf,
        /// So many files, the first by name; all without it.
        #[arg(long)]
        files: Option<usize>,
        /// The dataset.
        #[arg(long, default_value = "HuggingFaceFW/fineweb-edu")]
        name: String,
        /// Where the hub is.
        #[arg(long, default_value_t = HubConfig::default().endpoint)]
        endpoint: String,
        /// A file with an access token.
        #[arg(long)]
        token_file: Option<PathBuf>,
        /// Files at once.
        #[arg(long, default_value_t = HubConfig::default().at_once)]
        at_once: usize,
        /// Print what was fetched as JSON.
        #[arg(long)]
        json: bool,
    },
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
        /// Cut texts into the tokens of this tokenizer.json; without it a token is a byte.
        #[arg(long)]
        tokenizer: Option<PathBuf>,
        /// Ask models the multiple-choice questions of a file of JSON lines, as in arc=arc_easy.jsonl.
        #[arg(long, value_name = "NAME=FILE")]
        benchmark: Vec<Named>,
        /// Ask models for needles as a JSON file says, as in far=needle.json.
        #[arg(long, value_name = "NAME=FILE")]
        needle: Vec<Named>,
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
        match self.command {
            DataCommand::Download { revision, subset, out, files, name, endpoint, token_file, at_once, json } => {
                let config = HubConfig { endpoint, token_file, at_once, ..HubConfig::default() };
                let pinned = Pinned::new(&name, &revision)?;
                download(&Hub::new(config)?, &pinned, &folder_of(&subset)?, &out, files, json).await
            }
            DataCommand::Prepare { files, out, revision, name, license, tokenizer, benchmark, needle, json } => {
                let source = Source { name, revision, license };
                let additions = Additions { tokenizer, benchmarks: named(benchmark, needle)? };
                blocking(move || prepare(&files, &out, &source, &additions, json)).await
            }
            DataCommand::Verify { folder, json } => blocking(move || verify(&folder, json)).await,
        }
    }
}

/// Files are read for minutes.
async fn blocking(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::new(Kind::Bug, Fault::Validator, "work on the dataset ended early").because(e))?
}

fn prepare(files: &[PathBuf], out: &Path, source: &Source, additions: &Additions, json: bool) -> Result<()> {
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
    let manifest = prepare::prepare(files, out, source, additions, Limits::default(), &mut say)?;
    show(&manifest, json)
}

fn verify(folder: &Path, json: bool) -> Result<()> {
    let (corpus, manifest) = dataset::open(folder, Limits::default())?;
    corpus.check_tokens()?;
    if !json {
        println!("fingerprint {}", corpus.fingerprint());
    }
    show(&manifest, json)
}

fn named(choice: Vec<Named>, needle: Vec<Named>) -> Result<BTreeMap<String, (benchmark::Kind, PathBuf)>> {
    let choice = choice.into_iter().map(|named| (benchmark::Kind::MultipleChoice, named));
    let needle = needle.into_iter().map(|named| (benchmark::Kind::Needle, named));
    let mut all = BTreeMap::new();
    for (kind, Named { name, file }) in choice.chain(needle) {
        if all.insert(name.clone(), (kind, file)).is_some() {
            return Err(Error::new(Kind::Invalid, Fault::Validator, format!("two benchmarks are called {name}")));
        }
    }
    Ok(all)
}

async fn download(hub: &Hub, of: &Pinned, folder: &str, out: &Path, files: Option<usize>, json: bool) -> Result<()> {
    let mut list = hub.list(of, folder).await?;
    list.truncate(files.unwrap_or(usize::MAX));
    let all: u64 = list.iter().map(|file| file.bytes).sum();
    eprintln!("{} files of {all} bytes", list.len());
    // A line for each hundredth of it, whichever file brings it.
    let done: Mutex<(BTreeMap<String, u64>, u64)> = Mutex::default();
    let say = |progress: hub::Progress<'_>| match progress {
        hub::Progress::Bytes { file, done: here } => {
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.0.insert(file.path.clone(), here);
            let sum: u64 = done.0.values().sum();
            if sum >= done.1.saturating_add(all.div_ceil(100)) {
                done.1 = sum;
                eprintln!("{sum} of {all} bytes");
            }
        }
        hub::Progress::Whole { file } => eprintln!("{} is here and verified", file.path),
        hub::Progress::Again { file, reason, wait } => {
            eprintln!("{}: another try in {} s: {reason}", file.path, wait.as_secs());
        }
        _ => {}
    };
    let paths = hub.fetch(of, &list, out, &say).await?;
    if json {
        let file = |(file, path): (&hub::RemoteFile, &PathBuf)| serde_json::json!({ "path": file.path, "file": path, "bytes": file.bytes, "sha256": file.sha256 });
        let files: Vec<_> = list.iter().zip(&paths).map(file).collect();
        println!("{}", serde_json::Value::from(files));
        return Ok(());
    }
    for path in paths {
        println!("{}", path.display());
    }
    Ok(())
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
            let tokens = part.tokens.map_or(String::new(), |tokens| format!(", {tokens} tokens"));
            let name = split.as_str();
            println!("{name:<10} {documents:>10} documents {bytes:>14} bytes of text in {shards} shards{tokens}");
        }
    }
    if let Some(tokenizer) = &manifest.tokenizer {
        let (vocabulary, left_out) = (tokenizer.vocabulary, tokenizer.left_out);
        println!("tokenizer  {} of {vocabulary} ids; {left_out} documents left out", tokenizer.sha256);
    }
    for (name, benchmark) in &manifest.benchmarks {
        println!("benchmark  {name} {}", benchmark.sha256);
    }
    Ok(())
}
