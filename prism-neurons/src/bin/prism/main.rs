//! The `prism` binary: one file per subcommand, no logic of its own.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 refused (a rule says no), 4 the outside did not answer.
#![allow(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod chain;
mod chart;
mod check;
mod commit;
mod config;
mod data;
mod demo;
mod doctor;
mod eval;
mod held;
mod key;
mod manifest;
mod metagraph;
mod policy;
mod progress;
mod runtime;
mod simulate;
mod smoke;
mod submit;
mod validator;
mod wallet;
mod weights;

use clap::{Parser, Subcommand};
use prism_core::{Error, Kind};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Run a Bittensor subnet that pays for ideas in machine learning.
#[derive(Debug, Parser)]
#[command(name = "prism", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log, as in `info` or `prism_chain=debug`; to standard error.
    #[arg(long, global = true, env = "PRISM_LOG", default_value = "warn")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole subnet on this machine: chain, validator and miners, from submissions to weights read back.
    Demo(demo::Demo),
    /// Say what a validator would say about a bundle before it measures anything.
    Check(check::Check),
    /// Measure a bundle as a validator would, on public text: curve, comparison and score.
    Eval(eval::Eval),
    /// Train a bundle for a moment, to see that all of it is wired; never a score.
    Smoke(smoke::Smoke),
    /// Play strategies against a reward policy, and print what each earns.
    Simulate(simulate::Simulate),
    /// Sign a bundle and send it to a validator.
    Submit(submit::Submit),
    /// Run a validator.
    Validator(validator::Validator),
    /// List, show and answer what a validator holds for its operator.
    Held(held::Held),
    /// Fetch, make or check the dataset that a validator measures on.
    Data(data::Data),
    /// Read, check and set the policy rows of a validator's database.
    Policy(policy::Policy),
    /// Set weights by hand, or read what a hotkey has set.
    Weights(weights::Weights),
    /// Put a commitment on the chain, or read what hotkeys have put there.
    Commit(commit::Commit),
    /// Show who is on a subnet, and its rules.
    Metagraph(metagraph::Metagraph),
    /// Say whether weights could be set now, and what an upgrade of the chain took away.
    Doctor(doctor::Doctor),
    /// Check a run manifest, or print the schema of all of them.
    Manifest(manifest::Manifest),
    /// Set up or show the Python that guests run on.
    Runtime(runtime::Runtime),
    /// Make, list, show and use the keys of wallets.
    Wallet(wallet::Wallet),
    /// Print the configuration in force.
    Config(config::Config),
}

fn main() -> ExitCode {
    // Started anew by the embedded sandbox, this program is its launcher.
    prism_eval::sandbox::launcher::enter();
    let cli = Cli::parse();
    let filter = EnvFilter::try_new(&cli.log).unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // Several crates link rustls; whoever comes first would otherwise choose for all.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Demo(demo) => demo.run().await,
            Command::Check(check) => check.run(),
            Command::Eval(eval) => eval.run().await,
            Command::Smoke(smoke) => smoke.run().await,
            Command::Simulate(simulate) => simulate.run().await,
            Command::Submit(submit) => submit.run().await,
            Command::Validator(validator) => validator.run().await,
            Command::Held(held) => held.run().await,
            Command::Data(data) => data.run().await,
            Command::Policy(policy) => policy.run().await,
            Command::Weights(weights) => weights.run().await,
            Command::Commit(commit) => commit.run().await,
            Command::Metagraph(metagraph) => metagraph.run().await,
            Command::Doctor(doctor) => doctor.run().await,
            Command::Manifest(manifest) => manifest.run(),
            Command::Runtime(runtime) => runtime.run().await,
            Command::Wallet(wallet) => wallet.run(),
            Command::Config(config) => config.run(),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.chain());
            exit_code(&error)
        }
    }
}

fn exit_code(error: &Error) -> ExitCode {
    match error.kind() {
        Kind::Invalid | Kind::Refused | Kind::Limit | Kind::Conflict => ExitCode::from(3),
        Kind::Deadline | Kind::Unavailable => ExitCode::from(4),
        _ => ExitCode::FAILURE,
    }
}
