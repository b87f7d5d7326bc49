//! Attacks on what the host keeps for itself.
use super::{
    Verdict,
    attempt::{Attempt, PAYLOADS, ensure},
    world::World,
};
use prism_core::{Digest, sandbox::Root};
use std::{env, fs, path::PathBuf};

pub(crate) async fn environment(world: &World) -> Verdict {
    let end = Attempt::new(world, "looking.environment", &[]).run().await?;
    end.well()?;
    let shown = end.word("variables")?;
    // The last ones are the interpreter's and the engine's own.
    let known = ["PRISM_GIVEN", "LC_CTYPE", "HOME", "HOSTNAME", "PATH"];
    let odd: Vec<_> = shown.split(' ').filter(|name| !known.contains(name)).collect();
    ensure!(shown.contains("PRISM_GIVEN") && odd.is_empty(), "variables {shown}");
    Ok(format!("only {shown}"))
}

/// What the spec shows of the host; a walk leaves it out.
fn shown(world: &World) -> Vec<String> {
    match &world.backend.root {
        Root::HostDirectories(directories) => directories.iter().map(|path| path.display().to_string()).collect(),
        Root::Image { .. } => vec!["/usr".into()],
    }
}

pub(crate) async fn everything(world: &World) -> Verdict {
    let mut skipped = shown(world);
    skipped.push(PAYLOADS.into());
    let arguments: Vec<_> = skipped.iter().map(String::as_str).collect();
    let end = Attempt::new(world, "looking.everything", &arguments).run().await?;
    end.well()?;
    ensure!(!end.lines.keys().any(|key| key.starts_with("found ")), "found {:?}", end.lines);
    let name = world.folder.display().to_string();
    let said = String::from_utf8_lossy(&end.said).into_owned();
    ensure!(!said.contains(&name), "the host's folder {name} is visible: {said}");
    Ok(format!("{} files, no secret", end.number("files")?))
}

/// Paths that hosts have. What can be read of one must not be what the host has there.
pub(crate) async fn paths(world: &World) -> Verdict {
    let home = env::var("HOME").unwrap_or_else(|_| "/root".into());
    let mut wanted: Vec<PathBuf> = world.canaries.clone();
    wanted.extend(["/etc/shadow", "/etc/passwd", "/etc/hostname", "/etc/machine-id", "/etc/ssh"].map(PathBuf::from));
    wanted.extend(["/proc/kcore", "/proc/kallsyms", "/sys/firmware", "/boot", "/root", "/home"].map(PathBuf::from));
    wanted.extend(
        [".ssh", ".bittensor", ".docker", ".cargo/credentials.toml"].map(|name| PathBuf::from(&home).join(name)),
    );
    wanted.push(world.folder.clone());
    wanted.extend(env::current_exe());
    wanted.extend(env::current_dir());
    let visible = shown(world);
    wanted.retain(|path| !visible.iter().any(|top| path.starts_with(top)));
    let names: Vec<_> = wanted.iter().map(|path| path.display().to_string()).collect();
    let arguments: Vec<_> = names.iter().map(String::as_str).collect();
    let end = Attempt::new(world, "looking.paths", &arguments).run().await?;
    end.well()?;
    let mut absent = 0;
    for (path, name) in wanted.iter().zip(&names) {
        let found = end.word(name)?;
        if let Some(names) = found.strip_prefix("folder ") {
            ensure!(names.is_empty(), "{name} holds {names}");
        } else if let Some(digest) = found.strip_prefix("read ") {
            let ours = fs::read(path).map(|bytes| Digest::of(&bytes).to_string()).unwrap_or_default();
            ensure!(ours.is_empty() || !ours.contains(digest), "{name} is the host's");
        } else {
            absent += 1;
        }
    }
    Ok(format!("{absent} of {} paths absent, none the host's", names.len()))
}

pub(crate) async fn descriptors(world: &World) -> Verdict {
    let end = Attempt::new(world, "looking.descriptors", &[]).run().await?;
    end.well()?;
    let open: Vec<_> = end.lines.iter().filter_map(|(key, what)| Some((key.strip_prefix("fd ")?, what))).collect();
    for (descriptor, what) in &open {
        ensure!(matches!(*descriptor, "0" | "1" | "2"), "descriptor {descriptor} is open: {what}");
        // Pipes, sockets and devices lead nowhere; files and folders would.
        let kind = what.split(' ').next().unwrap_or_default();
        ensure!(matches!(kind, "10000" | "140000" | "20000"), "descriptor {descriptor} is {what}");
    }
    ensure!(end.word("same root")? == "True", "there is something above the root");
    Ok(format!("{} open, none of the host's 3", open.len()))
}

/// The same rows that a validator holds back, under every path that the host has for them.
pub(crate) async fn held_out(world: &World) -> Verdict {
    let names: Vec<_> = world.canaries.iter().map(|path| path.display().to_string()).collect();
    // By way of the process's own folder, and of the first one's, too.
    let ways = ["", "/proc/self/root", "/proc/1/root", "/proc/self/cwd/../../..", "/dev/fd/../../..", "/../.."];
    let all: Vec<_> = ways.iter().flat_map(|way| names.iter().map(move |name| format!("{way}{name}"))).collect();
    let arguments: Vec<_> = all.iter().map(String::as_str).collect();
    let end = Attempt::new(world, "looking.paths", &arguments).run().await?;
    end.well()?;
    let count = end.each("", &["ENOENT", "EACCES", "EPERM", "ENOTDIR"])?;
    Ok(format!("absent by {count} paths"))
}

/// A neighbour at the same time, and a successor.
pub(crate) async fn neighbour(world: &World) -> Verdict {
    let mut leaving = Attempt::new(world, "looking.leave", &["left"]).open_input().start().await?;
    leaving.hear("left").await?;
    for _ in 0..2 {
        let end = Attempt::new(world, "looking.find_left", &[]).run().await?;
        end.well()?;
        ensure!(!end.lines.keys().any(|key| key.starts_with("found ")), "found {:?}", end.lines);
        end.each("segment", &["ENOENT", "EPERM", "0"])?;
        ensure!(end.word("strangers")?.is_empty(), "strangers {:?}", end.word("strangers"));
        if end.word("segments")? != "0" {
            return Err(format!("shared memory of others: {:?}", end.lines));
        }
        let _ = leaving.sink.close().await;
    }
    leaving.end().await?;
    let after = Attempt::new(world, "looking.find_left", &[]).run().await?;
    after.well()?;
    ensure!(!after.lines.keys().any(|key| key.starts_with("found ")), "found {:?}", after.lines);
    Ok("nothing of a neighbour or predecessor".into())
}
