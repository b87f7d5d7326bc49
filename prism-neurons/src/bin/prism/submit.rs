//! `prism submit`: sign a bundle and send it.
use super::key::KeyArgs;
use clap::Args;
use prism_core::{Error, Fault, Kind, Result, submission::SubmissionStatus};
use prism_neurons::{
    clock::SystemClock,
    miner::{Miner, pack_folder},
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Sign a bundle and send it to a validator.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// A folder, a ZIP archive, or a Python file.
    bundle: PathBuf,
    /// The validator's address, as in http://host:port.
    #[arg(long)]
    to: String,
    #[command(flatten)]
    key: KeyArgs,
    /// A name to show on boards.
    #[arg(long)]
    name: Option<String>,
    /// Wait until it is measured, at most this many seconds.
    #[arg(long)]
    wait: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Submit {
    pub(crate) async fn run(self) -> Result<()> {
        let key = self.key.load()?;
        let miner = Miner::new(Arc::new(key), Arc::new(SystemClock::new()), &self.to)?;
        let accepted = miner.submit(&pack_folder(&self.bundle)?, self.name.as_deref()).await?;
        if self.json && self.wait.is_none() {
            println!("{}", serde_json::json!(accepted));
        } else if !self.json {
            println!("accepted as {} for {}", accepted.id, accepted.hotkey);
        }
        let Some(seconds) = self.wait else { return Ok(()) };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
        loop {
            let view = miner.status(accepted.id).await?;
            let moving = matches!(view.status, SubmissionStatus::Pending | SubmissionStatus::Running);
            if !moving {
                if self.json {
                    println!("{}", serde_json::json!(view));
                } else {
                    let score = view.final_score.map(|score| format!(", score {score:.4}")).unwrap_or_default();
                    let reason = view.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                    println!("{}{score}{reason}", view.status.as_str());
                }
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                let text = format!("submission {} is still {} after {seconds} s", accepted.id, view.status.as_str());
                return Err(Error::new(Kind::Deadline, Fault::Policy, text));
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }
}
