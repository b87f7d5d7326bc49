//! Attacks by files.
use super::{
    Verdict,
    attempt::{Attempt, End, MIB, PAYLOADS, ensure},
    world::World,
};
use prism_core::{
    Digest,
    submission::FailureClass::{Policy, Resource},
};
use std::time::Duration;

/// Starting, collecting and removing, on a machine with much else to do: far less than a collector that waits for a pipe.
const AROUND: Duration = Duration::from_secs(30);

async fn left(world: &World, what: &str, arguments: &[&str]) -> Result<End, String> {
    let end = Attempt::new(world, what, arguments).run().await?;
    ensure!(end.outcome.exit == Some(0), "{what} {arguments:?} failed: {end:?}");
    let limit = Duration::from_millis(end.outcome.usage.wall_millis) + AROUND;
    ensure!(end.took < limit, "{what} {arguments:?}: collecting took until {:?}", end.took);
    Ok(end)
}

/// Ended by policy, with nothing collected.
fn refused(end: &End) -> Result<(), String> {
    end.class(Some(Policy))?;
    ensure!(end.outcome.artifacts.is_empty(), "collected in spite of policy: {:?}", end.outcome.artifacts);
    Ok(())
}

/// Either refused, or collected as a plain copy.
fn refused_or_plain(end: &End, content: &[u8]) -> Result<&'static str, String> {
    if end.outcome.failure.is_some() {
        refused(end)?;
        return Ok("policy");
    }
    let foreign = end.outcome.artifacts.iter().find(|(_, digest)| **digest != Digest::of(content));
    ensure!(foreign.is_none(), "collected {foreign:?}");
    Ok("plain copy")
}

pub(crate) async fn outside(world: &World) -> Verdict {
    let places = [
        "/", "/usr", "/usr/lib", "/etc", "/bin", "/lib", PAYLOADS, "/proc", "/sys", "/dev", "/run", "/var", "/home",
        "/root",
    ];
    let end = Attempt::new(world, "files.outside", &places).run().await?;
    end.well()?;
    let count = end.none("", &["ok"])?;
    if !world.backend.collects {
        return Ok(format!("{count} changes refused"));
    }
    // What an honest guest leaves arrives.
    let honest = left(world, "files.plain", &[]).await?;
    honest.well()?;
    let expected: Vec<(String, Digest)> = [("a.bin", "first"), ("deep/er/b.bin", "second"), ("empty", "")]
        .map(|(name, content)| (name.to_owned(), Digest::of(content.as_bytes())))
        .into();
    let collected: Vec<_> = honest.outcome.artifacts.into_iter().collect();
    ensure!(collected == expected, "an honest guest's files arrive as {collected:?}");
    Ok(format!("{count} changes refused"))
}

pub(crate) async fn links(world: &World) -> Verdict {
    let planted = world.canaries[0].display().to_string();
    let payload = format!("{PAYLOADS}/attack.py");
    for target in ["/etc/passwd", &planted, &payload, "honest", "/proc/self/fd/0"] {
        refused(&left(world, "files.symlink", &[target]).await?)?;
    }
    for target in ["/etc", "."] {
        refused(&left(world, "files.folder_symlink", &[target]).await?)?;
    }
    Ok("policy, 7 targets".into())
}

pub(crate) async fn root_is_a_link(world: &World) -> Verdict {
    let mut words = vec![];
    let folder = world.folder.display().to_string();
    for target in ["/etc", &folder, "/tmp", "/proc/self/fd"] {
        let end = left(world, "files.root_symlink", &[target]).await?;
        words.push(if end.outcome.failure.is_some() {
            refused(&end)?;
            "policy"
        } else {
            ensure!(end.outcome.artifacts.is_empty(), "collected {:?}", end.outcome.artifacts);
            "nothing collected"
        });
    }
    let end = left(world, "files.root_file", &[]).await?;
    ensure!(end.outcome.artifacts.is_empty(), "collected {:?}", end.outcome.artifacts);
    words.dedup();
    Ok(words.join(", "))
}

pub(crate) async fn hardlinks(world: &World) -> Verdict {
    let mut words = vec![];
    for what in ["files.hardlink", "files.hardlink_out"] {
        let end = left(world, what, &[]).await?;
        end.none("link of the host's", &["ok"])?;
        if end.word("link")? == "ok" {
            refused(&end)?;
            words.push("policy".to_owned());
        } else {
            words.push(format!("link refused: {}", end.word("link")?));
        }
    }
    Ok(words.join(", "))
}

pub(crate) async fn special(world: &World) -> Verdict {
    let mut words = vec![];
    for kind in ["fifo", "socket", "device"] {
        let end = left(world, "files.special", &[kind]).await?;
        let made = end.word("made")?;
        if made == "ok" {
            refused(&end)?;
            words.push(format!("{kind} policy"));
        } else {
            end.well()?;
            words.push(format!("{kind} {made}"));
        }
    }
    Ok(words.join(", "))
}

pub(crate) async fn race(world: &World) -> Verdict {
    let mut words = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let end = left(world, "files.race", &[]).await?;
        words.insert(if end.outcome.failure.is_some() {
            refused(&end)?;
            "policy"
        } else {
            let target = end.outcome.artifacts.get("target");
            let whole = [Digest::of(b"kept"), Digest::of(b"")];
            ensure!(target.is_none_or(|digest| whole.contains(digest)), "collected {:?}", end.outcome.artifacts);
            "plain copy"
        });
    }
    let growing = left(world, "files.leave_inside", &[]).await?;
    ensure!(growing.outcome.failure.is_none_or(|class| [Policy, Resource].contains(&class)), "{growing:?}");
    Ok(words.into_iter().collect::<Vec<_>>().join(" or "))
}

pub(crate) async fn names(world: &World) -> Verdict {
    let mut words = vec![];
    for kind in ["newline", "bytes", "long", "dots"] {
        let end = left(world, "files.named", &[kind]).await?;
        words.push(format!("{kind}: {}", refused_or_plain(&end, b"kept")?));
        let odd = end.outcome.artifacts.keys().find(|name| name.chars().any(|c| c.is_control() || c == '\u{fffd}'));
        ensure!(odd.is_none(), "artifact named {odd:?}");
    }
    Ok(words.join(", "))
}

pub(crate) async fn trees(world: &World) -> Verdict {
    let mut words = vec![];
    for kind in ["deep", "many", "folders"] {
        let attack = Attempt::new(world, "files.named", &[kind]).limits(|l| l.scratch_inodes = 20_000);
        let end = attack.run().await?;
        ensure!(end.outcome.exit == Some(0), "{kind}: {end:?}");
        let class = end.outcome.failure;
        ensure!(class.is_none_or(|class| [Policy, Resource].contains(&class)), "{kind}: called {class:?}");
        let collected = end.outcome.artifacts.len();
        ensure!(class.is_none() || collected == 0, "{kind}: collected {collected} in spite of {class:?}");
        ensure!(end.took < AROUND + AROUND, "{kind}: took {:?}", end.took);
        words.push(format!(
            "{kind}: {}",
            class.map_or_else(|| format!("{collected} files"), |class| class.as_str().to_owned())
        ));
    }
    Ok(words.join(", "))
}

pub(crate) async fn modes(world: &World) -> Verdict {
    let mut words = vec![];
    for kind in ["setuid", "attribute", "none", "folder", "all"] {
        let end = left(world, "files.modes", &[kind]).await?;
        words.push(format!("{kind}: {}", refused_or_plain(&end, b"kept")?));
    }
    Ok(words.join(", "))
}

pub(crate) async fn sizes(world: &World) -> Verdict {
    let sized = async |size: u64, real: u64| {
        let attack = Attempt::new(world, "files.sized", &[&size.to_string(), &real.to_string()]);
        attack.limits(|l| (l.scratch, l.file_size) = (4 * MIB, 1 << 42)).run().await
    };
    let honest = sized(3 * MIB, 3 * MIB).await?;
    honest.well()?;
    let bytes = vec![b'z'; 3 << 20];
    ensure!(honest.outcome.artifacts.get("file") == Some(&Digest::of(&bytes)), "{:?}", honest.outcome.artifacts);
    let mut words = vec![];
    // Far beyond every cap; then below that of checkpoints, but beyond all the room there was.
    for size in [1 << 40, 8 << 30] {
        let sparse = sized(size, 4096).await?;
        ensure!(sparse.took < AROUND, "a sparse file kept the host busy for {:?}", sparse.took);
        if sparse.word("truncate")? == "ok" {
            let class = sparse.outcome.failure;
            ensure!(
                class.is_some_and(|class| [Policy, Resource].contains(&class)),
                "{size} bytes in 4 MiB pass: {sparse:?}"
            );
            ensure!(sparse.outcome.artifacts.is_empty(), "collected {:?}", sparse.outcome.artifacts);
            words.push(class.map_or("", |class| class.as_str()).to_owned());
        } else {
            words.push(sparse.word("truncate")?.to_owned());
        }
    }
    Ok(format!("sparse: {}; honest passes", words.join(", ")))
}

pub(crate) async fn pickle(world: &World) -> Verdict {
    let touched = world.folder.join("loaded");
    let end = left(world, "files.pickle", &[&touched.display().to_string()]).await?;
    end.well()?;
    ensure!(end.outcome.artifacts.contains_key("checkpoint.pt"), "collected {:?}", end.outcome.artifacts);
    ensure!(!touched.exists(), "the host has loaded a checkpoint");
    Ok("collected as bytes, never loaded".into())
}
