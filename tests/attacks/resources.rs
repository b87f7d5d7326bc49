//! Attacks that use up what the host has.
use super::{
    Verdict,
    attempt::{Attempt, End, MIB, SHORT, ensure},
    world::{World, free, resident},
};
use prism_core::{sandbox::Property, submission::FailureClass::Resource};

pub(crate) async fn forks(world: &World) -> Verdict {
    let limit = 32;
    let bomb = Attempt::new(world, "resources.forks", &[]).limits(|l| {
        l.processes = limit;
        l.wall_millis = SHORT;
    });
    let end = bomb.run().await?;
    end.class(Some(Resource))?;
    end.each("refused", &["EAGAIN"])?;
    let children = end.number("children")?;
    ensure!(children > 0 && children < u64::from(limit), "{children} children under a limit of {limit}");
    let peak = end.outcome.usage.peak_processes;
    ensure!(peak <= limit + 2, "{peak} processes at once under a limit of {limit}");
    Ok(format!("EAGAIN after {children} of {limit}; resource"))
}

pub(crate) async fn threads(world: &World) -> Verdict {
    let end = Attempt::new(world, "resources.threads", &[]).limits(|l| l.processes = 32).run().await?;
    let threads = end.number("threads")?;
    ensure!(threads < 32, "{threads} threads under a limit of 32");
    Ok(format!("refused after {threads} of 32"))
}

pub(crate) async fn orphans(world: &World) -> Verdict {
    let end = Attempt::new(world, "resources.orphans", &[]).limits(|l| l.processes = 16).run().await?;
    end.well()?;
    end.each("orphans", &["reaped"])?;
    Ok("200 reaped under a limit of 16".into())
}

/// A flood of memory with a limit of 48 MiB ended as it must, given what the backend promises.
fn out_of_memory(world: &World, end: &End) -> Verdict {
    if !world.enforced(Property::MemoryLimit) {
        // What the backend itself has seen must have had a consequence.
        let (peak, failure) = (end.outcome.usage.peak_memory, end.outcome.failure);
        ensure!(
            peak <= LITTLE || failure == Some(Resource),
            "{peak} bytes of {LITTLE} were counted, and called {failure:?}"
        );
        return Ok(format!("best effort: {}, {} KiB of {} KiB", class(end), peak / 1024, LITTLE / 1024));
    }
    end.class(Some(Resource))?;
    let usage = end.outcome.usage;
    ensure!(usage.oom_kills >= 1, "no kill for lack of memory was counted: {usage:?}");
    Ok(format!("resource; peak {} KiB of {} KiB", usage.peak_memory / 1024, LITTLE / 1024))
}

fn class(end: &End) -> &'static str {
    end.outcome.failure.map_or("ended well", |class| class.as_str())
}

const LITTLE: u64 = 48 * MIB;

async fn memory_attack(world: &World, what: &str, arguments: &[&str]) -> Verdict {
    let attack = Attempt::new(world, what, arguments).limits(|l| {
        l.memory = LITTLE;
        l.wall_millis = 6000;
    });
    out_of_memory(world, &attack.run().await?)
}

pub(crate) async fn memory(world: &World) -> Verdict {
    memory_attack(world, "resources.memory", &[]).await
}

pub(crate) async fn memory_spread(world: &World) -> Verdict {
    memory_attack(world, "resources.memory_spread", &[]).await
}

pub(crate) async fn memory_in_memfd(world: &World) -> Verdict {
    memory_attack(world, "resources.memory_in_memfd", &[]).await
}

/// Kernel memory may be refused (limits on pipes and descriptors) before it runs out.
async fn kernel_memory(world: &World, what: &str) -> Verdict {
    let attack = Attempt::new(world, what, &[]).limits(|l| {
        l.memory = LITTLE;
        l.wall_millis = 6000;
    });
    let end = attack.run().await?;
    if end.lines.get("end").is_some_and(|word| ["EMFILE", "ENFILE", "ENOBUFS"].contains(&word.as_str())) {
        let held = end.number("bytes")?;
        return Ok(format!("refused after {held} bytes"));
    }
    out_of_memory(world, &end)
}

pub(crate) async fn memory_in_pipes(world: &World) -> Verdict {
    kernel_memory(world, "resources.memory_in_pipes").await
}

pub(crate) async fn memory_in_sockets(world: &World) -> Verdict {
    kernel_memory(world, "resources.memory_in_sockets").await
}

pub(crate) async fn memory_in_scratch(world: &World) -> Verdict {
    let attack = Attempt::new(world, "resources.memory_in_files", &["/tmp", "128"]).limits(|l| {
        l.memory = LITTLE;
        l.scratch = 128 * MIB;
    });
    out_of_memory(world, &attack.run().await?)
}

pub(crate) async fn memory_in_shared(world: &World) -> Verdict {
    let small =
        Attempt::new(world, "resources.memory_in_files", &["/dev/shm", "128"]).limits(|l| l.shared_memory = 4 * MIB);
    let end = small.run().await?;
    end.each("end", &["ENOSPC"])?;
    let bytes = end.number("bytes")?;
    ensure!(bytes <= 4 * MIB, "{bytes} bytes of shared memory under a limit of 4 MiB");
    let large = Attempt::new(world, "resources.memory_in_files", &["/dev/shm", "128"]).limits(|l| {
        l.memory = LITTLE;
        l.shared_memory = 128 * MIB;
    });
    let words = out_of_memory(world, &large.run().await?)?;
    Ok(format!("ENOSPC at {bytes} of {}; {words}", 4 * MIB))
}

pub(crate) async fn disk(world: &World) -> Verdict {
    let before = free("/")?;
    let end = Attempt::new(world, "resources.disk", &[]).limits(|l| l.scratch = 4 * MIB).run().await?;
    let lost = before.saturating_sub(free("/")?);
    ensure!(end.outcome.failure.is_none_or(|class| class == Resource), "called {:?}", end.outcome.failure);
    end.each("end", &["ENOSPC"])?;
    let bytes = end.number("bytes")?;
    ensure!((2 * MIB..=4 * MIB).contains(&bytes), "{bytes} bytes of scratch under a limit of 4 MiB");
    let mut elsewhere = 0;
    for (place, words) in end.lines.iter().filter_map(|(key, words)| Some((key.strip_prefix("elsewhere ")?, words))) {
        let (taken, _) = words.split_once(' ').ok_or("odd words")?;
        // A backend may have another file system for artifacts, of the same size.
        let room = match place {
            "/dev/shm" => 16 * MIB,
            "/tmp/artifacts" => 4 * MIB,
            _ => 0,
        };
        ensure!(taken.parse::<u64>().is_ok_and(|taken| taken <= room), "{place} took {words}");
        elsewhere += 1;
    }
    // Others write on this disk, too.
    ensure!(lost < 512 * MIB, "{lost} bytes fewer are free on the host's disk");
    Ok(format!("ENOSPC at {bytes} of {}; {elsewhere} other places refuse", 4 * MIB))
}

pub(crate) async fn inodes(world: &World) -> Verdict {
    let end = Attempt::new(world, "resources.inodes", &[]).limits(|l| l.scratch_inodes = 512).run().await?;
    end.each("end", &["ENOSPC"])?;
    let files = end.number("files")?;
    ensure!((256..=512).contains(&files), "{files} files under a limit of 512");
    Ok(format!("ENOSPC at {files} of 512"))
}

pub(crate) async fn sparse(world: &World) -> Verdict {
    let end = Attempt::new(world, "resources.sparse", &[]).run().await?;
    end.well()?;
    end.each("", &["EFBIG"])?;
    Ok("EFBIG".into())
}

async fn spinning(world: &World, what: &str, arguments: &[&str]) -> Verdict {
    let counted = world.enforced(Property::CpuTimeLimit);
    let attack = Attempt::new(world, what, arguments).limits(|l| {
        l.cpu_time_millis = 700;
        l.wall_millis = if counted { 30_000 } else { SHORT };
    });
    let end = attack.run().await?;
    end.class(Some(Resource))?;
    let usage = end.outcome.usage;
    ensure!(!counted || usage.wall_millis < 30_000, "only the wall clock ended it: {usage:?}");
    Ok(format!("resource after {} ms of 700 ms of processor time", usage.cpu_millis))
}

pub(crate) async fn spin(world: &World) -> Verdict {
    spinning(world, "resources.spin", &["4"]).await
}

pub(crate) async fn spin_in_orphans(world: &World) -> Verdict {
    spinning(world, "resources.spin_in_orphans", &[]).await
}

pub(crate) async fn deaf(world: &World) -> Verdict {
    let end = Attempt::new(world, "resources.deaf", &[]).limits(|l| l.wall_millis = SHORT).run().await?;
    end.class(Some(Resource))?;
    end.each("deaf", &["yes"])?;
    Ok(format!("resource after {} ms of {SHORT} ms", end.outcome.usage.wall_millis))
}

pub(crate) async fn daemons(world: &World) -> Verdict {
    for channel in ["open", "closed"] {
        let end = Attempt::new(world, "resources.daemons", &[channel]).run().await?;
        end.well()?;
        end.each("left", &["6"])?;
        ensure!(end.outcome.usage.wall_millis < 30_000, "daemons delayed the end: {:?}", end.outcome.usage);
    }
    Ok("none of 6 kinds outlives its parent".into())
}

pub(crate) async fn waiting(world: &World) -> Verdict {
    let one = async |how: &str| {
        let attack = Attempt::new(world, "resources.wait_forever", &[how]).limits(|l| l.wall_millis = SHORT);
        let end = attack.open_input().run().await?;
        end.each("waiting", &[how])?;
        end.class(Some(Resource))
    };
    tokio::try_join!(one("sleep"), one("stdin"), one("fifo"))?;
    tokio::try_join!(one("stop"), one("closed"))?;
    Ok("resource by wall clock, in 5 ways of waiting".into())
}

pub(crate) async fn floods(world: &World) -> Verdict {
    let (before, cap) = (resident(), 256 * 1024);
    for kind in ["line", "tiny", "binary", "escapes"] {
        // Errors are counted, whatever they are.
        for descriptor in if kind == "line" { &["1", "2"][..] } else { &["1"] } {
            let attack = Attempt::new(world, "resources.flood", &[descriptor, kind]).limits(|l| {
                l.channel = cap;
                l.stderr = cap;
            });
            let end = attack.run().await?;
            end.class(Some(Resource))?;
            let total = end.outcome.stderr_total;
            ensure!(total <= cap + 128 * 1024, "{total} bytes of errors were read under a limit of {cap}");
            ensure!(end.outcome.usage.wall_millis < 30_000, "only the wall clock ended it: {:?}", end.outcome.usage);
        }
    }
    let grown = resident().saturating_sub(before);
    ensure!(grown < 16 * MIB, "the host's process has grown by {grown} bytes");
    Ok(format!("resource, 5 times; host grew by {} KiB", grown / 1024))
}

pub(crate) async fn unread(world: &World) -> Verdict {
    let before = resident();
    let attack = Attempt::new(world, "resources.flood", &["1", "line"]).limits(|l| {
        l.wall_millis = SHORT;
        l.channel = 1 << 40;
    });
    attack.unread().run().await?.class(Some(Resource))?;
    let grown = resident().saturating_sub(before);
    ensure!(grown < 8 * MIB, "the host's process has grown by {grown} bytes");
    Ok(format!("resource by wall clock; host grew by {} KiB", grown / 1024))
}

pub(crate) async fn output_boundary(world: &World) -> Verdict {
    for descriptor in ["1", "2"] {
        for (bytes, held) in [(100_000, true), (100_001, false)] {
            let attack = Attempt::new(world, "resources.said_and_done", &[descriptor, &format!("{bytes}")]);
            let end = attack.limits(|l| (l.channel, l.stderr) = (100_000, 100_000)).run().await?;
            end.class(if held { None } else { Some(Resource) })?;
        }
    }
    Ok("100000 bytes pass, one more is resource".into())
}

pub(crate) async fn descriptors(world: &World) -> Verdict {
    let end = Attempt::new(world, "resources.descriptors", &[]).run().await?;
    end.well()?;
    end.each("end", &["EMFILE"])?;
    end.each("sending", &["ETOOMANYREFS", "EAGAIN"])?;
    let (open, sent) = (end.number("open")?, end.number("sent")?);
    ensure!(open <= 256, "{open} open files under a limit of 256");
    Ok(format!("EMFILE after {open} of 256; {sent} on their way"))
}

pub(crate) async fn raise_limits(world: &World) -> Verdict {
    let end = Attempt::new(world, "resources.raise_limits", &[]).run().await?;
    end.well()?;
    let count = end.each("raise RLIMIT", &["EPERM"])?;
    for (name, limits) in [("NOFILE", "256 256"), ("FSIZE", "67108864 67108864")] {
        end.each(&format!("limit RLIMIT_{name}"), &[limits])?;
    }
    Ok(format!("EPERM, {count} limits"))
}

pub(crate) async fn limits_of_the_first(world: &World) -> Verdict {
    let end = Attempt::new(world, "resources.limits_of_the_first", &[]).run().await?;
    ensure!(end.outcome.failure.is_some(), "an end with 7 was called success");
    Ok(format!("RLIMIT_CPU {}; {}, exit {:?}", end.word("RLIMIT_CPU")?, class(&end), end.outcome.exit))
}

pub(crate) async fn locked(world: &World) -> Verdict {
    let end = Attempt::new(world, "resources.locked", &[]).run().await?;
    end.well()?;
    end.each("lock", &["ENOMEM", "EPERM", "EAGAIN"])?;
    end.each("huge", &["ENOMEM", "EPERM"])?;
    Ok(format!("lock {}, huge {}, queue {}", end.word("lock")?, end.word("huge")?, end.word("queue")?))
}
