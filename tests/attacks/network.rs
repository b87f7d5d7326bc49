//! Attacks over the network.
use super::{
    Verdict,
    attempt::{Attempt, ensure},
    world::World,
};
use prism_core::sandbox::Network;
use std::env;

pub(crate) async fn host(world: &World) -> Verdict {
    let mut targets = world.addresses();
    for target in
        ["169.254.169.254 80", "10.0.0.1 22", "192.168.0.1 80", "172.17.0.1 2375", "1.1.1.1 443", "fe80::1 80"]
    {
        targets.push(target.into());
    }
    let arguments: Vec<_> = targets.iter().map(String::as_str).collect();
    let mut count = 0;
    for network in [Network::None, Network::Loopback] {
        let end = Attempt::new(world, "network.reach", &arguments).network(network).run().await?;
        end.well()?;
        count = 0;
        for target in &arguments {
            count += end.none(&format!("{target} "), &["ok", "answered"])?;
        }
        ensure!(end.word("interfaces")? == "lo", "interfaces {:?}", end.word("interfaces"));
    }
    Ok(format!("{count} calls reach nobody; lo alone"))
}

pub(crate) async fn local(world: &World) -> Verdict {
    let own = world.local_path.display().to_string();
    let mut targets = vec![own, format!("@{}", world.abstract_name), format!("@{}-datagrams", world.abstract_name)];
    targets.extend(
        ["/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock"]
            .map(str::to_owned),
    );
    targets.extend(["/run/dbus/system_bus_socket", "/run/systemd/private", "/dev/log"].map(str::to_owned));
    targets.extend(env::var("SSH_AUTH_SOCK").ok());
    let arguments: Vec<_> = targets.iter().map(String::as_str).collect();
    let end = Attempt::new(world, "network.reach", &arguments).run().await?;
    end.well()?;
    let mut count = 0;
    for target in &arguments {
        count += end.none(&format!("{target} "), &["ok"])?;
    }
    ensure!(!end.word("unix")?.contains(&world.abstract_name), "the host's sockets are listed: {:?}", end.word("unix"));
    Ok(format!("{count} calls reach nobody"))
}

pub(crate) async fn names(world: &World) -> Verdict {
    let end = Attempt::new(world, "network.names", &[]).run().await?;
    end.well()?;
    let count = end.none("", &["resolved", "answered"])?;
    ensure!(count == 8, "{count} answers");
    Ok("no name, no server".into())
}

pub(crate) async fn families(world: &World) -> Verdict {
    let end = Attempt::new(world, "network.sockets", &[]).run().await?;
    end.well()?;
    end.each("needed ", &["ok"])?;
    let mut count = 0;
    for family in end.lines.keys().filter(|key| !key.starts_with("needed ")) {
        count += end.each(family, &["EPERM"])?;
    }
    Ok(format!("EPERM, {} families", count.min(end.lines.len())))
}

/// Two that open the same port and the same abstract name at the same time.
pub(crate) async fn neighbours(world: &World) -> Verdict {
    let one = async |name: &str| {
        let end = Attempt::new(world, "network.loopback", &[name]).network(Network::Loopback).run().await?;
        end.well()?;
        end.each("bind", &["ok"])?;
        ensure!(end.word("heard")? == name, "{name} heard {:?}", end.word("heard"));
        Ok(())
    };
    tokio::try_join!(one("left"), one("right"))?;
    Ok("each hears itself alone".into())
}
