//! `prism config`: the configuration in force.
use clap::{Args, Subcommand};
use prism_core::{Error, Fault, Kind, Result};
use prism_neurons::config::{self, Overrides, ValidatorConfig};
use std::path::{Path, PathBuf};

/// Print the configuration in force.
#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print every value of the validator's configuration, after file and environment.
    Print {
        /// The configuration file; the defaults without it.
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

impl Config {
    pub(crate) fn run(self) -> Result<()> {
        let What::Print { file } = self.what;
        let config: ValidatorConfig = load(file.as_deref(), &Overrides::default())?;
        print!("{}", config::print(&config)?);
        Ok(())
    }
}

/// Reads the configuration from a file, this process's environment and flags.
pub(crate) fn load(file: Option<&Path>, flags: &Overrides) -> Result<ValidatorConfig> {
    let text = file.map(|path| {
        std::fs::read_to_string(path).map_err(|e| {
            Error::new(Kind::NotFound, Fault::Validator, format!("configuration {} can't be read", path.display()))
                .because(e)
        })
    });
    let environment: Vec<(String, String)> = std::env::vars().collect();
    Ok(config::load(text.transpose()?.as_deref(), &environment, flags)?)
}
