//! How much a bundle may bring and a sandbox may use.
use super::error::PolicyError;
use crate::bundle::{Bundle, MAX_FILES, MAX_UNPACKED_BYTES, MAX_WIRE_BYTES};
use prism_core::sandbox::Limits;
use serde::{Deserialize, Serialize};

/// How much a bundle may bring. The contract with miners is the most that can be set: a row only tightens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArtifactLimits {
    /// Bytes on the wire, 1 to 7,500,000.
    pub payload_bytes: u64,
    /// Bytes unpacked, 1 to 2,000,000.
    pub unpacked_bytes: u64,
    /// Files, 1 to 200.
    pub files: u64,
}

impl Default for ArtifactLimits {
    fn default() -> Self {
        Self {
            payload_bytes: MAX_WIRE_BYTES as u64,
            unpacked_bytes: MAX_UNPACKED_BYTES as u64,
            files: MAX_FILES as u64,
        }
    }
}

/// A bundle that brings more than the policy takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bundle has {found} {what}, by policy at most {most} are taken")]
pub struct TooMuch {
    /// Of what.
    pub what: &'static str,
    /// How many it has.
    pub found: u64,
    /// How many are taken.
    pub most: u64,
}

impl ArtifactLimits {
    /// Checks every number against its range.
    ///
    /// # Errors
    /// The first number out of range.
    pub fn check(&self) -> Result<(), PolicyError> {
        let most = Self::default();
        within("artifact_limits.payload_bytes", self.payload_bytes, 1, most.payload_bytes)?;
        within("artifact_limits.unpacked_bytes", self.unpacked_bytes, 1, most.unpacked_bytes)?;
        within("artifact_limits.files", self.files, 1, most.files)
    }

    /// Holds a bundle, read from `payload` bytes, to them.
    ///
    /// # Errors
    /// The first limit that it exceeds.
    pub fn admit(&self, payload: u64, bundle: &Bundle) -> Result<(), TooMuch> {
        let files = bundle.files();
        let unpacked: u64 = files.values().map(|text| text.len() as u64).sum();
        let limits = [
            ("bytes on the wire", payload, self.payload_bytes),
            ("bytes unpacked", unpacked, self.unpacked_bytes),
            ("files", files.len() as u64, self.files),
        ];
        match limits.into_iter().find(|(_, found, most)| found > most) {
            Some((what, found, most)) => Err(TooMuch { what, found, most }),
            None => Ok(()),
        }
    }
}

/// What each sandbox of a guest may use. Wall clock and processor time of a run are the plan's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxLimits {
    /// Memory, bytes: 256 MiB to 4 TiB. PyTorch alone takes some 200 MiB.
    pub memory: u64,
    /// Processes and threads, 16 to 65,536.
    pub processes: u32,
    /// Open files, 64 to 65,536.
    pub files: u32,
    /// Bytes in one file, 1 MiB to 10,000,000,000: the cap on a checkpoint.
    pub file_size: u64,
    /// Bytes of scratch space, 1 MiB to 1 TiB.
    pub scratch: u64,
    /// Files in scratch space, 100 to 1,000,000.
    pub scratch_inodes: u32,
    /// Bytes of shared memory, 1 MiB to 1 TiB.
    pub shared_memory: u64,
    /// Bytes of standard error before the work is killed, 4 KiB to 1 GiB.
    pub stderr: u64,
}

impl Default for SandboxLimits {
    /// For models of the base size on a machine of 16 GiB.
    fn default() -> Self {
        Self {
            memory: 8 << 30,
            processes: 512,
            files: 1024,
            file_size: 10_000_000_000,
            scratch: 4 << 30,
            scratch_inodes: 20_000,
            shared_memory: 256 << 20,
            stderr: 1 << 20,
        }
    }
}

impl SandboxLimits {
    /// Checks every number against its range.
    ///
    /// # Errors
    /// The first number out of range.
    pub fn check(&self) -> Result<(), PolicyError> {
        within("sandbox_limits.memory", self.memory, 256 << 20, 4 << 40)?;
        within("sandbox_limits.processes", u64::from(self.processes), 16, 65_536)?;
        within("sandbox_limits.files", u64::from(self.files), 64, 65_536)?;
        within("sandbox_limits.file_size", self.file_size, 1 << 20, 10_000_000_000)?;
        within("sandbox_limits.scratch", self.scratch, 1 << 20, 1 << 40)?;
        within("sandbox_limits.scratch_inodes", u64::from(self.scratch_inodes), 100, 1_000_000)?;
        within("sandbox_limits.shared_memory", self.shared_memory, 1 << 20, 1 << 40)?;
        within("sandbox_limits.stderr", self.stderr, 4 << 10, 1 << 30)
    }

    /// As a run's surroundings carry them. Wall clock, processor time and channel are zero, which to a sandbox means none:
    /// whoever starts one puts its own there.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            wall_millis: 0,
            cpu_time_millis: 0,
            memory: self.memory,
            processes: self.processes,
            files: self.files,
            file_size: self.file_size,
            scratch: self.scratch,
            scratch_inodes: self.scratch_inodes,
            shared_memory: self.shared_memory,
            stderr: self.stderr,
            channel: 0,
        }
    }
}

/// Holds an integer to its range.
pub(super) fn within(place: &'static str, value: u64, low: u64, high: u64) -> Result<(), PolicyError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(PolicyError::Rule { place, rule: format!("is {value}, outside {low} to {high}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle;
    use std::collections::BTreeMap;

    #[test]
    fn a_bundle_is_held_to_the_tightened_limits_by_name() {
        let files = BTreeMap::from([
            ("prism.yaml".to_owned(), "kind: full\narchitecture: { entrypoint: a.py }\n".to_owned()),
            ("a.py".to_owned(), "def build_model(ctx):\n    pass\n".to_owned()),
        ]);
        let payload = bundle::pack(&files).unwrap();
        let read = Bundle::read(&payload).unwrap();
        let size = payload.len() as u64;
        let limits = ArtifactLimits::default();
        limits.admit(size, &read).unwrap();
        let refused = |limits: ArtifactLimits| limits.admit(size, &read).unwrap_err().to_string();
        let one = refused(ArtifactLimits { files: 1, ..limits.clone() });
        assert_eq!(one, "bundle has 2 files, by policy at most 1 are taken");
        assert!(refused(ArtifactLimits { payload_bytes: size - 1, ..limits.clone() }).contains("bytes on the wire"));
        assert!(refused(ArtifactLimits { unpacked_bytes: 9, ..limits.clone() }).contains("bytes unpacked"));
        let wider = ArtifactLimits { files: 201, ..limits }.check().unwrap_err();
        assert_eq!(wider.to_string(), "`artifact_limits.files`: is 201, outside 1 to 200");
    }
}
