//! Work for sandboxes: a program of this host, under limits that it doesn't meet.
use prism_core::sandbox::{Limits, Network, Root, SandboxSpec};
use std::{collections::BTreeMap, path::PathBuf};

/// This host's programs and libraries.
pub(crate) fn host() -> Root {
    let folders = ["/usr", "/bin", "/lib", "/lib64"].map(PathBuf::from).into_iter();
    Root::HostDirectories(folders.filter(|folder| folder.exists()).collect())
}

/// A program with its arguments.
pub(crate) fn spec(root: &Root, argv: &[&str]) -> SandboxSpec {
    SandboxSpec {
        root: root.clone(),
        argv: argv.iter().map(|s| (*s).to_owned()).collect(),
        env: BTreeMap::new(),
        read_only: BTreeMap::new(),
        limits: Limits {
            wall_millis: 60_000,
            cpu_time_millis: 60_000,
            memory: 1 << 30,
            processes: 64,
            files: 256,
            file_size: 1 << 30,
            scratch: 64 << 20,
            scratch_inodes: 1024,
            shared_memory: 16 << 20,
            stderr: 1 << 20,
            channel: 1 << 20,
        },
        network: Network::None,
        gpus: Vec::new(),
        required: Vec::new(),
        labels: BTreeMap::new(),
    }
}
