//! Attacks on the kernel's surface.
use super::{
    Verdict,
    attempt::{Attempt, End, SHORT, ensure},
    world::World,
};
use prism_core::submission::FailureClass::{MinerCode, Policy, Resource};
use std::fs;

async fn carried(world: &World, what: &str) -> Result<End, String> {
    let end = Attempt::new(world, what, &[]).run().await?;
    end.well()?;
    Ok(end)
}

pub(crate) async fn mounts(world: &World) -> Verdict {
    let count = carried(world, "kernel.mounts").await?.each("", &["EPERM"])?;
    Ok(format!("EPERM, {count} calls"))
}

pub(crate) async fn namespaces(world: &World) -> Verdict {
    let end = carried(world, "kernel.namespaces").await?;
    let mut count = 0;
    for way in ["unshare ", "setns ", "clone "] {
        count += end.each(way, &["EPERM"])?;
    }
    end.each("clone3", &["ENOSYS"])?;
    end.each("thread", &["ok"])?;
    end.each("process", &["7"])?;
    Ok(format!("EPERM, {count} calls; clone3 ENOSYS; threads go on"))
}

pub(crate) async fn trace_me(world: &World) -> Verdict {
    let end = Attempt::new(world, "kernel.trace_me", &[]).limits(|l| l.wall_millis = SHORT).run().await?;
    end.each("trace me", &["EPERM"])?;
    end.class(Some(Resource))?;
    Ok("EPERM; resource by wall clock".into())
}

pub(crate) async fn others(world: &World) -> Verdict {
    let count = carried(world, "kernel.others").await?.each("", &["EPERM"])?;
    Ok(format!("EPERM, {count} calls"))
}

pub(crate) async fn first_process(world: &World) -> Verdict {
    let end = carried(world, "kernel.first_process").await?;
    end.each("own mem", &["before"])?;
    let ours = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for group in ours.lines().filter_map(|line| line.rsplit(':').next()).filter(|group| group.len() > 1) {
        let shown = end.lines.get("content cgroup").is_some_and(|text| text.contains(group));
        ensure!(!shown, "the host's control group {group} is visible");
    }
    if !world.backend.guards_first_process() {
        // The engine's own init, with the guest's user: there is nothing of the host in it.
        let open = end.lines.values().filter(|word| *word == "ok").count();
        return Ok(format!("{open} readable, nothing of the host in them"));
    }
    let refused = ["EACCES", "EPERM", "ENOENT"];
    let names =
        ["mem", "environ", "maps", "auxv", "syscall", "stack", "fd/", "root/", "cwd/", "exe", "write mem", "list fd"];
    for name in names {
        end.each(name, &refused)?;
    }
    Ok(format!("refused, {} files", names.len()))
}

pub(crate) async fn never(world: &World) -> Verdict {
    let count = carried(world, "kernel.never").await?.each("", &["EPERM"])?;
    Ok(format!("EPERM, {count} calls"))
}

pub(crate) async fn unknown(world: &World) -> Verdict {
    // An engine's runtime answers numbers beyond its own knowledge with ENOSYS.
    carried(world, "kernel.unknown").await?.each("", &["EPERM", "ENOSYS"])?;
    Ok("EPERM or ENOSYS".into())
}

pub(crate) async fn foreign_abi(world: &World) -> Verdict {
    let end = carried(world, "kernel.foreign_abi").await?;
    if let Some(machine) = end.lines.get("skipped") {
        return Ok(format!("no such conventions on {machine}"));
    }
    let mut words = vec![];
    for (key, code) in end.lines.iter().filter_map(|(key, code)| Some((key.strip_suffix(" end")?, code))) {
        let answer = end.lines.get(&format!("{key} answer")).map(String::as_str);
        // -31 is SIGSYS.
        let held = matches!((code.as_str(), answer), ("-31", None) | ("0", Some("EPERM" | "ENOSYS")));
        ensure!(held, "{key}: answered {answer:?}, ended with {code}");
        words.push(format!("{key} {}", answer.unwrap_or("killed")));
    }
    let main = Attempt::new(world, "kernel.foreign_abi_as_main", &[]).run().await?;
    match main.outcome.failure {
        Some(class) => {
            // An init between them hands a signal on as an exit code, which the work could have chosen itself.
            let handed_on =
                class == MinerCode && main.outcome.exit == Some(159) && !world.backend.guards_first_process();
            ensure!(class == Policy || handed_on, "killed by the filter, called {class:?}: {:?}", main.outcome);
            words.push(format!("as main: {}", class.as_str()));
        }
        None => drop(main.each("answer", &["EPERM", "ENOSYS"])?),
    }
    Ok(words.join(", "))
}

pub(crate) async fn personality(world: &World) -> Verdict {
    let end = carried(world, "kernel.personality").await?;
    ensure!(end.number("now")? == 0, "personality is {:?}", end.word("now"));
    let mut count = 0;
    for persona in ["no randomization", "read implies exec", "null page", "svr4", "high bits"] {
        count += end.each(persona, &["EPERM"])?;
    }
    Ok(format!("EPERM, {count} of them"))
}

pub(crate) async fn terminal(world: &World) -> Verdict {
    let end = carried(world, "kernel.terminal").await?;
    let count = end.each("push", &["EPERM"])? + end.each("console", &["EPERM"])?;
    end.none("open /dev", &["ok"])?;
    end.each("tty", &["0"])?;
    Ok(format!("EPERM, {count} calls; no terminal"))
}

pub(crate) async fn devices(world: &World) -> Verdict {
    let end = carried(world, "kernel.devices").await?;
    for kind in ["character", "block", "null", "whiteout"] {
        end.each(kind, &["EPERM"])?;
    }
    // null, zero, full, random, urandom, tty, ptmx; pseudo terminals.
    let harmless = ["c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:2", "other 0:0"];
    let nodes: Vec<_> = end.lines.iter().filter(|(key, _)| key.starts_with("device ")).collect();
    let odd = nodes.iter().find(|(_, node)| !harmless.contains(&node.as_str()) && !node.starts_with("c 136:"));
    ensure!(odd.is_none(), "a device of the host: {odd:?}");
    Ok(format!("EPERM; {} harmless nodes", nodes.len()))
}

pub(crate) async fn settings(world: &World) -> Verdict {
    let end = carried(world, "kernel.settings").await?;
    ensure!(!end.lines.contains_key("unfinished"), "the walk came only to {:?}", end.lines["unfinished"]);
    end.none("write ", &["ok"])?;
    end.none("cgroup ", &["ok"])?;
    end.each("oom_score_adj", &["EACCES", "EPERM", "EROFS", "ENOENT"])?;
    let own = |key: &str| !world.backend.guards_first_process() && key.starts_with("writable /proc/1/");
    let writable: Vec<_> = end.lines.keys().filter(|key| key.starts_with("writable ") && !own(key)).collect();
    ensure!(writable.is_empty(), "{writable:?}");
    Ok(format!("none of {} files can be written", end.number("seen")?))
}

pub(crate) async fn privileges(world: &World) -> Verdict {
    let end = carried(world, "kernel.privileges").await?;
    let ids = end.word("ids")?;
    ensure!(!ids.contains("(0,") && !ids.contains(" 0,") && !ids.contains("[0"), "runs as {ids}");
    for call in ["setuid", "setgid", "setresuid", "setreuid", "setgroups", "setuid high"] {
        let word = end.word(call)?;
        ensure!(["EPERM", "EINVAL"].contains(&word), "{call}: {word}");
    }
    let programs = end.word("setuid programs")?;
    ensure!(programs.starts_with("0 of "), "programs gave rights: {programs}");
    end.each("capset", &["EPERM"])?;
    end.each("new privileges", &["EINVAL"])?;
    end.each("unchanged", &["True"])?;
    end.each("status Cap", &["0000000000000000"])?;
    end.each("status NoNewPrivs", &["1"])?;
    ensure!(end.word("status Seccomp")? == "2", "system calls are not filtered");
    end.none("own owner", &["ok"])?;
    end.none("own capability", &["ok"])?;
    Ok(format!("none; {programs} setuid programs gave any"))
}

pub(crate) async fn crash(world: &World) -> Verdict {
    let end = Attempt::new(world, "kernel.crash", &[]).run().await?;
    end.class(Some(MinerCode))?;
    let segmentation = (end.outcome.signal, end.outcome.exit);
    ensure!(matches!(segmentation, (Some(11), _) | (_, Some(139))), "ended with {segmentation:?}");
    let core = end.word("core")?;
    // A pattern that starts a program ignores a limit of zero, but not of one (fs/coredump.c).
    let piped = end.word("pattern")?.starts_with('|');
    ensure!(core == "1 1" || (core == "0 0" && !piped), "limit of a core file {core}, piped {piped}");
    ensure!(!end.word("files")?.contains("core"), "files {:?}", end.word("files"));
    Ok(format!("miner code, limit {core}, no core file"))
}

pub(crate) async fn kill_all(world: &World) -> Verdict {
    let hosts = world.processes();
    let arguments: Vec<_> = hosts.iter().map(String::as_str).collect();
    let end = Attempt::new(world, "kernel.kill_all", &arguments).run().await?;
    end.class(Some(MinerCode))?;
    ensure!(end.outcome.exit == Some(7), "exit {:?}", end.outcome.exit);
    for way in ["host ", "group ", "handle "] {
        end.each(way, &["ESRCH", "EPERM"])?;
    }
    end.each("alive", &["yes"])?;
    Ok("ESRCH; exit 7 is seen".into())
}

pub(crate) async fn kill_group(world: &World) -> Verdict {
    let end = Attempt::new(world, "kernel.kill_group", &[]).run().await?;
    end.class(Some(MinerCode))?;
    let killed = (end.outcome.signal, end.outcome.exit);
    ensure!(matches!(killed, (Some(9), _) | (_, Some(137))), "ended with {killed:?}");
    Ok("miner code, SIGKILL".into())
}
