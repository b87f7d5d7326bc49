//! `prism runtime`: the Python that guests run on.
use super::config::load;
use clap::{Args, Subcommand};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use prism_core::{Cancel, Error, Result};
use prism_eval::{
    guest::{
        Runtime as Installed,
        runtime::{self, Progress, Step},
    },
    sandbox::container::{candidates, image},
};
use prism_neurons::config::Overrides;
use serde_json::json;
use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where the first Python that will do is looked for, in this order.
const PYTHONS: [&str; 6] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "/usr/bin/python3"];

/// What a host with NVIDIA's driver has.
const NVIDIA_DRIVER: &str = "/proc/driver/nvidia/version";

/// Set up or show the Python that guests run on.
#[derive(Debug, Args)]
pub(crate) struct Runtime {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Install CPython's PyTorch for guests into the data folder, or describe an environment that is there already.
    ///
    /// Downloads some 570 MB and takes 1.3 GB of disk. What is installed already is left as it is, and what was
    /// interrupted is taken up where it stopped.
    Install(Install),
    /// Show what is installed, and check that it is still what was installed.
    Show(Show),
    /// Build the image that guests run in under Docker or Podman, from what is installed; no registry is asked.
    Image(Image),
}

#[derive(Debug, Args)]
struct Install {
    /// The CPython to use, 3.11 or newer with pip; the first that will do is looked for by default.
    #[arg(long, conflicts_with = "adopt")]
    python: Option<PathBuf>,
    /// The package index to download from; by default the one that pip is configured for.
    #[arg(long, conflicts_with = "adopt")]
    index_url: Option<String>,
    /// Build stand-ins for the CUDA libraries even where they are installed; without a GPU that is done anyway.
    #[arg(long, conflicts_with = "adopt")]
    cpu_stubs: bool,
    /// Use the PyTorch of this environment (a folder with bin/python) and install nothing.
    #[arg(long, value_name = "FOLDER")]
    adopt: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Show {
    /// Read the contents of all files, too, and not only their sizes.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Image {
    /// The engine's socket; by default that of DOCKER_HOST, else of Docker, else of Podman.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// The validator's configuration file, for its data folder.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The data folder; the runtime lies in its folder `runtime`.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Runtime {
    pub(crate) async fn run(self) -> Result<()> {
        match self.what {
            What::Install(install) => install.run().await,
            What::Show(show) => show.run(),
            What::Image(image) => image.run().await,
        }
    }
}

impl Place {
    fn folder(&self) -> Result<PathBuf> {
        let flags = Overrides::default().set_some("data.folder", self.data.as_ref());
        Ok(load(self.config.as_deref(), &flags)?.data.folder.join("runtime"))
    }

    fn print(&self, folder: &Path, runtime: &Installed) {
        let report = json!({
            "description": folder.join(runtime::DESCRIPTION),
            "digest": runtime.digest().to_string(),
            "python": runtime.python,
            "python_version": runtime.python_version,
            "torch_version": runtime.torch_version,
            "cuda": runtime.cuda,
            "search": runtime.search,
            "libraries": runtime.libraries,
            "directories": runtime.directories,
        });
        if self.json {
            println!("{report}");
            return;
        }
        for (key, value) in report.as_object().into_iter().flatten() {
            let text = match value.as_array() {
                Some(items) => {
                    items.iter().filter_map(|item| item.as_str()).collect::<Vec<_>>().join("\n                 ")
                }
                None => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            };
            println!("{key:<16} {text}");
        }
    }
}

impl Show {
    fn run(self) -> Result<()> {
        let folder = self.place.folder()?;
        let runtime = Installed::open(&folder)?;
        if self.full {
            runtime.verify_contents()?;
        } else {
            runtime.verify()?;
        }
        self.place.print(&folder, &runtime);
        Ok(())
    }
}

impl Image {
    async fn run(self) -> Result<()> {
        let runtime = Installed::open(&self.place.folder()?)?;
        runtime.verify()?;
        let docker_host = std::env::var("DOCKER_HOST").ok();
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let sockets = candidates(self.socket.as_deref(), docker_host.as_deref(), runtime_dir.as_deref())?;
        let bar = bar(self.place.json);
        let built = image::build(&sockets, &runtime, |progress| match progress {
            image::Progress::Found { entries, bytes } => {
                bar.set_message(format!("packing {entries} files, {}", HumanBytes(bytes)));
            }
            image::Progress::Sent { bytes } => bar.set_message(format!("sending to the engine: {}", HumanBytes(bytes))),
            _ => {}
        });
        let built = built.await?;
        bar.finish_and_clear();
        if self.place.json {
            let runtime = runtime.digest().to_string();
            println!(
                "{}",
                json!({ "image": built.digest, "entries": built.entries, "bytes": built.bytes, "runtime": runtime })
            );
        } else {
            println!("{}", built.digest);
            eprintln!("{} files, {}", built.entries, HumanBytes(built.bytes));
        }
        Ok(())
    }
}

impl Install {
    async fn run(self) -> Result<()> {
        let folder = self.place.folder()?;
        let cancel = Cancel::new();
        let interrupted = cancel.clone();
        tokio::spawn(async move {
            // Without a handler for signals there is nothing to wait for.
            if tokio::signal::ctrl_c().await.is_ok() {
                interrupted.cancel();
            }
        });
        let bar = Bar::new(self.place.json);
        let (into, adopt) = (folder.clone(), self.adopt);
        let pythons = self.python.map_or_else(|| PYTHONS.map(PathBuf::from).into(), |python| vec![python]);
        let install = runtime::Install::new(&folder, pythons).index_url(self.index_url).cpu_stubs(self.cpu_stubs);
        let work = tokio::task::spawn_blocking(move || {
            let mut bar = bar;
            let done = match &adopt {
                Some(environment) => runtime::adopt(environment, &into, &cancel),
                None => install.run(&cancel, &mut |progress| bar.show(progress)),
            };
            bar.bar.finish_and_clear();
            done
        });
        let runtime = work.await.map_err(|error| Error::bug("the installation broke off").because(error))??;
        self.place.print(&folder, &runtime);
        if !runtime.cuda && Path::new(NVIDIA_DRIVER).exists() {
            eprintln!("note: this machine has an NVIDIA driver, and this PyTorch uses no GPU; see --adopt");
        }
        Ok(())
    }
}

/// Progress on standard error: a spinner on a terminal, a line for each step elsewhere.
#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    lines: bool,
    step: Option<Step>,
}

impl Bar {
    fn new(quiet: bool) -> Self {
        Self { bar: bar(quiet), lines: !quiet && !std::io::stderr().is_terminal(), step: None }
    }

    fn show(&mut self, progress: Progress) {
        let doing = match progress.step {
            Step::Waiting => "waiting for another installation",
            Step::Downloading => "downloading some 570 MB",
            Step::Unpacking => "unpacking some 1.2 GB",
            Step::Compiling => "compiling Python",
            Step::Building => "building stand-ins for the CUDA libraries",
            Step::Trying => "trying PyTorch",
        };
        let new = self.step.replace(progress.step) != Some(progress.step);
        if self.lines && new {
            eprintln!("{doing}");
        }
        let bytes = Some(progress.bytes).filter(|bytes| *bytes > 0);
        self.bar.set_message(bytes.map_or_else(|| doing.into(), |bytes| format!("{doing}: {}", HumanBytes(bytes))));
    }
}

/// A spinner, where a terminal is attached to show it on.
fn bar(quiet: bool) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
