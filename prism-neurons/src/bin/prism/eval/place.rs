//! Where Python is measured at home: the runtime and the sandbox of a validator's configuration.
use crate::config::load;
use clap::Args;
use prism_core::Result;
use prism_neurons::config::{Overrides, ValidatorConfig};
use std::path::PathBuf;

/// Flags that find a runtime for bundles of Python.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// A validator's configuration file, for its data folder and sandbox.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The data folder, where `prism runtime install` puts the runtime.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The folder of the dataset to measure on, in place of the text that ships; `prism data prepare` makes one.
    #[arg(long)]
    dataset: Option<PathBuf>,
    /// A `runtime.json`, or the folder that holds it, in place of the data folder's.
    #[arg(long, env = "PRISM_GUEST_RUNTIME")]
    runtime: Option<PathBuf>,
}

impl Place {
    pub(crate) fn config(&self) -> Result<ValidatorConfig> {
        let flags = Overrides::default()
            .set_some("data.folder", self.data.as_ref())
            .set_some("data.dataset", self.dataset.as_ref())
            .set_some("guest.runtime", self.runtime.as_ref());
        load(self.config.as_deref(), &flags)
    }
}
