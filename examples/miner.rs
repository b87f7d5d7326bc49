//! A miner: packs an architecture without code, signs it, sends it, and asks what became of it.
//!
//! `cargo run --release --example miner -p prism-examples -- http://host:port key-file bundle-folder`
#![allow(clippy::print_stdout)]
use prism_chain::{signer::Keypair, wallet::Keyfile};
use prism_core::{Error, Fault, Kind};
use prism_eval::{bundle, examination::Examination, graph::baselines, policy::PlanPolicy};
use prism_neurons::{
    clock::SystemClock,
    miner::{Miner, pack_folder},
};
use std::{env, sync::Arc};

const MANIFEST: &str = "kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n";

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = env::args().skip(1);
    let (validator, key) = (arguments.next(), arguments.next());
    let payload = match arguments.next() {
        Some(folder) => pack_folder(folder.as_ref())?,
        None => {
            let llama = baselines::document("llama").unwrap_or_default();
            let files = [("prism.yaml", MANIFEST), ("model.graph.yaml", llama)];
            bundle::pack(&files.map(|(path, text)| (path.to_owned(), text.to_owned())).into())?
        }
    };
    // The validator's own rules, at home.
    let plan = PlanPolicy::default();
    let examination = Examination::of(&payload, &plan.context(256), &plan.limits())?;
    println!("{:?} of {} bytes keeps every rule", examination.kind(), payload.len());

    let (Some(validator), Some(key)) = (validator, key) else {
        println!("give a validator's address and a key file to send it");
        return Ok(());
    };
    // A keyfile of a wallet, or a file that holds a mnemonic.
    let key = Keypair::from(Keyfile::at(key).load(None)?);
    let miner = Miner::new(Arc::new(key), Arc::new(SystemClock::new()), &validator)?;
    let accepted = miner.submit(&payload, Some("example")).await?;
    let view = miner.status(accepted.id).await?;
    println!("{} is {}", view.id, view.status.as_str());
    if view.hotkey == accepted.hotkey {
        return Ok(());
    }
    Err(Error::new(Kind::Corrupt, Fault::Validator, "the validator has it under another hotkey"))
}
