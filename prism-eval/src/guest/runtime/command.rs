//! Other programs, under a deadline, with bounded output.
use prism_core::Cancel;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    io::Read,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How long output may be on its way after its program has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The most standard output that is kept.
const MAX_OUTPUT_BYTES: usize = 4 << 20;
/// How much of the end of standard error an error shows.
const TAIL_BYTES: usize = 2048;

/// A program that did not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It can't be started.
    #[error("{program} can't be started")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It ended with another code than 0.
    #[error("{program} ended with {status}: {said}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        said: String,
    },
    /// It was still running at its deadline, and was killed.
    #[error("{program} did not end within {seconds} s: {said}")]
    Deadline {
        /// The program.
        program: String,
        /// The deadline.
        seconds: u64,
        /// The end of what it said.
        said: String,
    },
    /// Somebody asked to stop.
    #[error("{program} was stopped")]
    Cancelled {
        /// The program.
        program: String,
    },
}

/// What bounds a program's run.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) deadline: Duration,
    pub(super) cancel: Cancel,
}

/// Runs a program to its end and returns its standard output. `tick` is called while it runs, many times a second.
pub(super) fn output(command: &mut Command, bounds: &Bounds, tick: &mut dyn FnMut()) -> Result<String, CommandError> {
    let program = command.get_program().to_string_lossy().into_owned();
    // A group of its own, so that what it starts ends with it.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let spawned = command.spawn();
    let child = spawned.map_err(|source| CommandError::Start { program: program.clone(), source })?;
    let mut child = Group(child);
    let stdout = child.0.stdout.take().map(|pipe| collect(pipe, Keep::First(MAX_OUTPUT_BYTES)));
    let stderr = child.0.stderr.take().map(|pipe| collect(pipe, Keep::Last(TAIL_BYTES)));

    let began = Instant::now();
    let status = loop {
        let ended = child.0.try_wait();
        if let Some(status) = ended.map_err(|source| CommandError::Start { program: program.clone(), source })? {
            break Some(status);
        }
        if bounds.cancel.is_cancelled() {
            return Err(CommandError::Cancelled { program });
        }
        if began.elapsed() >= bounds.deadline {
            break None;
        }
        tick();
        thread::sleep(POLL);
    };
    drop(child);
    let text = |pipe: Option<Receiver<Vec<u8>>>| {
        let bytes = pipe.and_then(|pipe| pipe.recv_timeout(LAST_WORDS).ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    };
    match status {
        Some(status) if status.success() => Ok(text(stdout)),
        Some(status) => Err(CommandError::Failed { program, status, said: text(stderr) }),
        None => Err(CommandError::Deadline { program, seconds: bounds.deadline.as_secs(), said: text(stderr) }),
    }
}

/// A child that, where it is still running, ends with all that it started when this is dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Once it is waited for, its number may be another's.
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // Nobody left in it is as good as killed.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

#[derive(Clone, Copy)]
enum Keep {
    First(usize),
    Last(usize),
}

/// Reads a pipe to its end on a thread of its own, which ends with the pipe.
fn collect(mut pipe: impl Read + Send + 'static, keep: Keep) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut kept, mut chunk) = (Vec::new(), [0; 8192]);
        while let Ok(read @ 1..) = pipe.read(&mut chunk) {
            kept.extend_from_slice(chunk.get(..read).unwrap_or_default());
            match keep {
                Keep::First(most) => kept.truncate(most),
                Keep::Last(most) => drop(kept.drain(..kept.len().saturating_sub(most))),
            }
        }
        // Nobody may be waiting any more.
        let _ = sender.send(kept);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(millis: u64) -> Bounds {
        Bounds { deadline: Duration::from_millis(millis), cancel: Cancel::new() }
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_is_bounded_and_the_end_of_an_error_is_shown() {
        let flood = output(&mut shell("head -c 9000000 /dev/zero"), &bounds(60_000), &mut || ()).unwrap();
        assert_eq!(flood.len(), MAX_OUTPUT_BYTES);
        let error =
            output(&mut shell("seq 100000 >&2; echo why >&2; exit 3"), &bounds(60_000), &mut || ()).unwrap_err();
        let CommandError::Failed { status, said, .. } = error else { panic!("{error}") };
        assert_eq!(status.code(), Some(3));
        assert!(said.ends_with("why") && said.len() <= TAIL_BYTES, "{said}");
    }

    #[test]
    fn a_program_at_its_deadline_is_killed_with_all_that_it_started() {
        let mark = tempfile::tempdir().unwrap();
        let file = mark.path().join("pid");
        let script = format!("(trap '' TERM; sleep 1000) & echo $! > {}; wait", file.display());
        let error = output(&mut shell(&script), &bounds(700), &mut || ()).unwrap_err();
        assert!(matches!(error, CommandError::Deadline { .. }), "{error}");
        let child = std::fs::read_to_string(&file).unwrap();
        // Gone, or a corpse that init has not buried yet; the kernel takes its moment.
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        let ended = || state().is_empty() || state().contains(") Z ");
        let mut looks = (0..600).map(|_| thread::sleep(POLL));
        assert!(ended() || looks.any(|()| ended()), "{}", state());
    }

    #[test]
    fn a_cancelled_program_ends() {
        let bounds = bounds(600_000);
        bounds.cancel.cancel();
        let error = output(&mut shell("sleep 1000"), &bounds, &mut || ()).unwrap_err();
        assert!(matches!(error, CommandError::Cancelled { .. }), "{error}");
    }
}
