//! The list of system calls, in the form that an engine takes it.
use super::error::ContainerError;
use rustix::fs::{MemfdFlags, SealFlags};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsRawFd,
    process,
};

/// A list of system calls for an engine, there for as long as this is.
#[derive(Debug)]
pub(super) struct Profile {
    /// What comes behind `seccomp=`.
    pub(super) option: String,
    _file: Option<File>,
}

impl Profile {
    /// Docker takes the list itself, Podman a file: one in memory, that nobody can change and a crash doesn't leave.
    pub(super) fn new(json: String, podman: bool) -> Result<Self, ContainerError> {
        if !podman {
            return Ok(Self { option: json, _file: None });
        }
        let file = sealed(json.as_bytes()).map_err(|source| {
            let path = "seccomp profile".into();
            ContainerError::Host { what: "file in memory for", path, source }
        })?;
        // The engine opens it for itself, as the user who may use its socket.
        let option = format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd());
        Ok(Self { option, _file: Some(file) })
    }
}

fn sealed(bytes: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create("prism-seccomp", flags)?);
    file.write_all(bytes)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podman_reads_the_list_from_a_file_that_stays_as_it_is() {
        let profile = Profile::new("{}".into(), true).unwrap();
        assert_eq!(std::fs::read(&profile.option).unwrap(), b"{}");
        let written = std::fs::OpenOptions::new().write(true).open(&profile.option).and_then(|mut f| f.write_all(b"x"));
        assert!(written.is_err(), "the list can be changed");
        assert_eq!(Profile::new("{}".into(), false).unwrap().option, "{}");
    }
}
