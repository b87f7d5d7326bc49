use super::assert_covers;
use crate::{
    channel::ByteSourceExt,
    error::Result,
    sandbox::{
        Capabilities, Channel, Killer, Limits, Network, Property, Root, Running, Sandbox, SandboxOutcome, SandboxSpec,
        Strength, Usage,
    },
    submission::FailureClass,
    testing::{
        Report, block_on,
        drive::{join_all, poll_times},
        fakes::{Act, Demand, ScriptedSandbox},
        sandbox::{Program, SandboxDriver, Secret, run},
    },
};
use async_trait::async_trait;
use std::{collections::BTreeMap, sync::Arc};

const SECRET: &str = "PRISM_HOST_SECRET";

fn act(spec: &SandboxSpec) -> Act {
    let endless = u64::MAX;
    let demand = |demand| Act { demand, ..Act::default() };
    match spec.argv[0].as_str() {
        "echo" => Act { echoes: true, ..Act::default() },
        "look" => Act {
            says: spec.env.keys().flat_map(|name| format!("env {name}\n").into_bytes()).collect(),
            ..Act::default()
        },
        "claim" => Act { stderr: spec.argv[1].clone().into(), exit: spec.argv[2].parse().unwrap(), ..Act::default() },
        "sleep" => demand(Demand { wall_millis: endless, ..Demand::default() }),
        "spin" => demand(Demand { cpu_millis: endless, ..Demand::default() }),
        "allocate" => demand(Demand { memory: endless, ..Demand::default() }),
        "fork" => demand(Demand { processes: u32::MAX, ..Demand::default() }),
        "fill" => demand(Demand { scratch: endless, ..Demand::default() }),
        "shout" => demand(Demand { stderr: endless, ..Demand::default() }),
        _ => demand(Demand { channel: endless, ..Demand::default() }),
    }
}

fn spec(argv: &[&str]) -> SandboxSpec {
    let limits = Limits {
        wall_millis: 10_000,
        cpu_time_millis: 10_000,
        memory: 1 << 30,
        processes: 64,
        files: 64,
        file_size: 1 << 20,
        scratch: 1 << 24,
        scratch_inodes: 100,
        shared_memory: 0,
        stderr: 1 << 20,
        channel: 1 << 24,
    };
    SandboxSpec {
        root: Root::HostDirectories(vec![]),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: BTreeMap::new(),
        read_only: BTreeMap::new(),
        limits,
        network: Network::None,
        gpus: vec![],
        required: vec![],
        labels: BTreeMap::new(),
    }
}

fn scripted() -> ScriptedSandbox {
    let limits = [
        Property::MemoryLimit,
        Property::CpuTimeLimit,
        Property::ProcessLimit,
        Property::DiskLimit,
        Property::OutputLimit,
    ];
    ScriptedSandbox::new(act).claiming(Capabilities(limits.map(|property| (property, Strength::Enforced)).into()))
}

struct Driver {
    host: ScriptedSandbox,
    sandbox: Box<dyn Sandbox>,
}

#[async_trait]
impl SandboxDriver for Driver {
    fn sandbox(&self) -> &dyn Sandbox {
        &*self.sandbox
    }
    fn spec(&self, program: &Program) -> SandboxSpec {
        match program {
            Program::Echo => spec(&["echo"]),
            Program::Look { path } => spec(&["look", path.to_str().unwrap()]),
            Program::Claim { text, exit } => spec(&["claim", text, &exit.to_string()]),
            Program::Sleep => spec(&["sleep"]),
            Program::Spin => spec(&["spin"]),
            Program::Allocate => spec(&["allocate"]),
            Program::Fork => spec(&["fork"]),
            Program::Fill => spec(&["fill"]),
            Program::Shout => spec(&["shout"]),
            Program::Flood => spec(&["flood"]),
        }
    }
    fn secret(&self) -> Secret {
        Secret { variable: SECRET.into(), path: "/host/secret".into() }
    }
    async fn remains(&self) -> Result<usize> {
        Ok(self.host.alive())
    }
    async fn abandon(&mut self, ours: bool) -> Result<()> {
        self.host.leave(if ours { self.host.name() } else { "another" });
        Ok(())
    }
    async fn abandoned(&self, ours: bool) -> Result<usize> {
        Ok(self.host.left(if ours { self.host.name() } else { "another" }))
    }
}

fn report(over: impl Fn(ScriptedSandbox) -> Box<dyn Sandbox>) -> Report {
    block_on(run(async || {
        let host = scripted();
        Ok(Driver { sandbox: over(host.clone()), host })
    }))
}

#[derive(Debug)]
struct Mutant {
    inner: ScriptedSandbox,
    breaks: u8,
}

#[async_trait]
impl Sandbox for Mutant {
    fn name(&self) -> &str {
        self.inner.name()
    }
    async fn probe(&self) -> Result<Capabilities> {
        self.inner.probe().await
    }
    async fn start(&self, mut spec: SandboxSpec) -> Result<Box<dyn Running>> {
        match self.breaks {
            1 => spec.required.clear(),
            2 => drop(spec.env.insert(SECRET.into(), "inherited".into())),
            3 => spec.limits.wall_millis *= 100,
            _ => {}
        }
        let running = Some(self.inner.start(spec).await?);
        Ok(Box::new(MutantRunning { running, breaks: self.breaks }))
    }
    async fn sweep(&self) -> Result<usize> {
        if self.breaks == 6 {
            self.inner.clear("another");
        }
        self.inner.sweep().await
    }
}

#[derive(Debug)]
struct MutantRunning {
    running: Option<Box<dyn Running>>,
    breaks: u8,
}

#[async_trait]
impl Running for MutantRunning {
    fn channel(&mut self) -> Option<Channel> {
        self.running.as_mut().unwrap().channel()
    }
    async fn usage(&self) -> Result<Usage> {
        self.running.as_ref().unwrap().usage().await
    }
    async fn freeze(&self) -> Result<()> {
        if self.breaks == 7 {
            return Ok(());
        }
        self.running.as_ref().unwrap().freeze().await
    }
    async fn thaw(&self) -> Result<()> {
        self.running.as_ref().unwrap().thaw().await
    }
    fn killer(&self) -> Box<dyn Killer> {
        self.running.as_ref().unwrap().killer()
    }
    async fn wait(mut self: Box<Self>) -> Result<SandboxOutcome> {
        let mut outcome = self.running.take().unwrap().wait().await?;
        // Reads what the work printed.
        if self.breaks == 4 && outcome.stderr_tail.starts_with(b"MemoryError") {
            outcome.failure = Some(FailureClass::Resource);
        }
        Ok(outcome)
    }
}

impl Drop for MutantRunning {
    fn drop(&mut self) {
        // Forgets to kill.
        if self.breaks == 5 {
            std::mem::forget(self.running.take());
        }
    }
}

fn mutant(breaks: u8) -> Report {
    report(|inner| Box::new(Mutant { inner, breaks }))
}

#[test]
fn the_fake_passes_as_itself_in_a_box_and_in_an_arc() {
    report(|sandbox| Box::new(sandbox)).assert_ok();
    report(|sandbox| Box::new(Box::new(sandbox))).assert_ok();
    report(|sandbox| Box::new(Arc::new(sandbox))).assert_ok();
    assert_covers(&mutant(0), include_str!("../../sandbox.rs"));
    mutant(0).assert_ok();
}

#[test]
fn scripted_work_sends_back_what_it_gets_until_the_channel_is_closed() {
    block_on(async {
        let mut running = scripted().start(spec(&["echo"])).await.unwrap();
        let (mut source, mut sink) = running.channel().unwrap();
        assert!(running.channel().is_none());
        sink.write_all(b"hello").await.unwrap();
        let mut five = [0; 5];
        assert_eq!(source.read(&mut five).await.unwrap(), 5);
        assert_eq!(&five, b"hello");
        assert!(poll_times(&mut Box::pin(source.read(&mut five)), 1).await.is_none());
        let talk = Box::pin(async {
            sink.write_all(b"bye").await.unwrap();
            sink.close().await.unwrap();
            vec![]
        });
        let listen = Box::pin(async { source.read_all("channel", 10).await.unwrap() });
        assert_eq!(join_all(vec![listen, talk]).await, [b"bye".to_vec(), vec![]]);
        assert_eq!(running.wait().await.unwrap().exit, Some(0));
    });
}

mutants! { mutant;
    mutant_1_fails_exactly_clause_1 1
    mutant_2_fails_exactly_clause_2 2
    mutant_3_fails_exactly_clause_3 3
    mutant_4_fails_exactly_clause_4 4
    mutant_5_fails_exactly_clause_5 5
    mutant_6_fails_exactly_clause_6 6
    mutant_7_fails_exactly_clause_7 7
}
