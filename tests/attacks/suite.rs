//! Running the attacks: one process for each backend, with things open and set that a guest must not get.
use super::{
    ATTACKS, Attack, Verdict, Way,
    attempt::Attempt,
    backend::{Backend, Which},
    command_line::CommandLine,
    table::{self, Cell, Results},
    world::{CANARY, VARIABLE, World, gone, random},
};
use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime, sync::Semaphore, task::JoinSet, time::timeout};

/// Which backend a process of this suite is to attack, and whether it is the one that gets killed.
const ROLE: &str = "PRISM_ATTACK_ROLE";
/// A folder of that process's own.
const FOLDER: &str = "PRISM_ATTACK_FOLDER";
/// Names a file for the table.
const TABLE: &str = "PRISM_ATTACK_TABLE";
/// A user without any rights, by old custom.
const NOBODY: u32 = 65_534;
/// How many attacks run at once, unless told otherwise; containers burden an engine that all share.
const BESIDE: usize = 3;
const BESIDE_CONTAINERS: usize = 2;
/// No attack takes that long.
const PATIENCE: Duration = Duration::from_secs(300);
/// Attacks by files that are left to be collected.
const ARTIFACTS: std::ops::RangeInclusive<u32> = 42..=49;
/// The name of what is looked at when all attacks are over.
const AFTERWARDS: &str = "the host afterwards";

/// Attacks every backend, as the command line asks.
pub(crate) fn main() -> ExitCode {
    let line = CommandLine::parse(env::args().skip(1));
    match env::var(ROLE) {
        Ok(role) => {
            let folder = PathBuf::from(env::var_os(FOLDER).expect("a process of this suite has a folder"));
            let workers =
                runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
            match role.split_once(' ') {
                Some(("die", which)) => workers.block_on(die(Which::named(which), &folder)),
                _ => workers.block_on(attack(Which::named(&role), &folder, &line)),
            }
        }
        Err(_) => attack_all(&line),
    }
}

fn name(which: Which, attack: &Attack) -> String {
    format!("{}::{} {}", which.name(), attack.number, attack.name)
}

fn attack_all(line: &CommandLine) -> ExitCode {
    let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let wanted = |which: &Which| {
        let runs = |attack: &&Attack| !matches!(attack.way, Way::Elsewhere(_));
        ATTACKS.iter().filter(runs).any(|attack| line.wants(&name(*which, attack)))
    };
    let backends: Vec<_> = Which::all(root).into_iter().filter(wanted).collect();
    if line.list {
        for which in backends {
            let names = ATTACKS.iter().filter(|attack| !matches!(attack.way, Way::Elsewhere(_)));
            names
                .map(|attack| name(which, attack))
                .filter(|name| line.wants(name))
                .for_each(|name| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let mut results = Results::new();
    let mut fell = vec![];
    for which in backends {
        let began = Instant::now();
        match attack_in_a_process(which) {
            Ok(cells) => {
                let down = cells.iter().filter(|(_, cell)| !cell.held);
                fell.extend(down.map(|(&position, _)| match ATTACKS.get(position) {
                    Some(attack) => name(which, attack),
                    None => format!("{}::{AFTERWARDS}", which.name()),
                }));
                println!("{}: {} attacks in {:.1} s", which.name(), cells.len(), began.elapsed().as_secs_f64());
                results.insert(which.name().to_owned(), cells);
            }
            Err(error) => {
                println!("{}: {error}", which.name());
                fell.push(format!("{}: {error}", which.name()));
            }
        }
    }
    if results.values().any(|cells| cells.len() > 1) {
        let markdown = table::markdown(&results);
        println!("\n{markdown}");
        if let Some(file) = env::var_os(TABLE)
            && let Err(error) = fs::write(&file, markdown)
        {
            fell.push(format!("the table could not be written to {}: {error}", Path::new(&file).display()));
        }
    }
    let held: usize = results.values().map(|cells| cells.values().filter(|cell| cell.held).count()).sum();
    if fell.is_empty() {
        println!("test result: ok. {held} passed; 0 failed");
        return ExitCode::SUCCESS;
    }
    println!("test result: FAILED. {held} passed; {} failed:\n    {}", fell.len(), fell.join("\n    "));
    ExitCode::FAILURE
}

/// Starts this program again: with the secret in its environment, with a file, a folder and a socket's file open that are
/// not closed by `exec`, and as the user that the backend is to be attacked as.
fn attack_in_a_process(which: Which) -> Result<BTreeMap<usize, Cell>, String> {
    let problem = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let folder = tempfile::tempdir().map_err(problem("no temporary folder"))?;
    let at = folder.path();
    let secret = format!("{CANARY}{}", random());
    let program = at.join("attacks");
    let own = at.join("own");
    let open = at.join("open");
    let place = || -> io::Result<()> {
        fs::set_permissions(at, fs::Permissions::from_mode(0o755))?;
        fs::write(&open, &secret)?;
        fs::create_dir_all(own.join("tmp"))?;
        // A plain user may not be able to reach the program where cargo has put it.
        fs::copy(env::current_exe()?, &program)?;
        if which.as_plain_user() {
            chown(&own, Some(NOBODY), Some(NOBODY))?;
            chown(own.join("tmp"), Some(NOBODY), Some(NOBODY))?;
        }
        Ok(())
    };
    place().map_err(problem("no place for another process"))?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"exec 7>>"$1.log" 8</ 9<"$1"; shift; exec "$@""#, "sh"]).arg(&open).arg(&program);
    command.args(env::args_os().skip(1)).env(ROLE, which.name()).env(FOLDER, &own).env(VARIABLE, &secret);
    if which.as_plain_user() {
        fs::write(at.join("open.log"), "")
            .and_then(|()| chown(at.join("open.log"), Some(NOBODY), None))
            .map_err(problem("log"))?;
        command.uid(NOBODY).gid(NOBODY).env("HOME", &own).env("TMPDIR", own.join("tmp")).current_dir(&own);
    }
    let status = command.status().map_err(problem("no other process"))?;
    let text =
        fs::read_to_string(own.join("results")).map_err(|_| format!("ended with {status} and without results"))?;
    let mut cells = BTreeMap::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, '\t');
        let (Some(position), Some(held), Some(words)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let position = position.parse().map_err(|_| format!("odd result {line:?}"))?;
        cells.insert(position, Cell { held: held == "held", words: words.to_owned() });
    }
    if !status.success() && cells.values().all(|cell| cell.held) {
        return Err(format!("ended with {status}"));
    }
    Ok(cells)
}

/// Attacks one backend from this process.
async fn attack(which: Which, folder: &Path, line: &CommandLine) -> ExitCode {
    let mut results = match fs::File::create(folder.join("results")) {
        Ok(file) => file,
        Err(error) => {
            println!("{}: no results can be written: {error}", which.name());
            return ExitCode::FAILURE;
        }
    };
    let mut well = true;
    let mut report = |position: usize, name: &str, verdict: Verdict, took: Duration| {
        let (held, words) = match verdict {
            Ok(words) => ("held", words),
            Err(why) => ("fell", why),
        };
        well &= held == "held";
        let words = words.replace(['\n', '\t'], " ");
        println!("attack {name} ... {held}: {words} ({:.1} s)", took.as_secs_f64());
        writeln!(results, "{position}\t{held}\t{words}").expect("results can be written");
    };
    let world = match Backend::open(which).await {
        Ok(backend) => World::new(backend, folder, true).map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    let world = match world {
        Ok(world) => Arc::new(world),
        Err(error) => {
            report(ATTACKS.len(), &format!("{}::{AFTERWARDS}", which.name()), Err(error), Duration::ZERO);
            return ExitCode::FAILURE;
        }
    };
    println!("{}: {:?}", which.name(), world.backend.can.0);
    let wanted: Vec<_> = ATTACKS.iter().enumerate().filter(|(_, attack)| line.wants(&name(which, attack))).collect();
    let beside = Arc::new(Semaphore::new(line.threads.unwrap_or(if which == Which::Container {
        BESIDE_CONTAINERS
    } else {
        BESIDE
    })));
    let mut running = JoinSet::new();
    for &(position, attack) in &wanted {
        let Way::Beside(carry_out) = attack.way else { continue };
        let (world, beside) = (Arc::clone(&world), Arc::clone(&beside));
        running.spawn(async move {
            let _turn = beside.acquire_owned().await;
            let began = Instant::now();
            let verdict = if world.backend.collects || !ARTIFACTS.contains(&attack.number) {
                timeout(PATIENCE, carry_out(&world)).await.unwrap_or_else(|_| Err("takes too long".into()))
            } else {
                Ok("nothing is collected without the right to mount".into())
            };
            (position, verdict, began.elapsed())
        });
    }
    while let Some(done) = running.join_next().await {
        match done {
            Ok((position, verdict, took)) => report(position, &name(which, &ATTACKS[position]), verdict, took),
            Err(error) => {
                report(ATTACKS.len(), AFTERWARDS, Err(format!("an attack panicked: {error}")), Duration::ZERO);
            }
        }
    }
    for &(position, attack) in &wanted {
        let Way::Alone(carry_out) = attack.way else { continue };
        let began = Instant::now();
        let verdict = timeout(PATIENCE, carry_out(&world)).await.unwrap_or_else(|_| Err("takes too long".into()));
        report(position, &name(which, attack), verdict, began.elapsed());
    }
    let began = Instant::now();
    // What a failed attack let go of may be on its way out.
    let _ = gone(&world.markers(), Duration::from_secs(10)).await;
    let afterwards = match Arc::into_inner(world) {
        Some(mut world) => match world.unharmed() {
            Ok(()) => world.backend.remains().await,
            Err(why) => Err(why),
        },
        None => Err("an attack still holds the world".into()),
    };
    report(ATTACKS.len(), &format!("{}::{AFTERWARDS}", which.name()), afterwards, began.elapsed());
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Starts four runs, says so, and waits to be killed.
async fn die(which: Which, folder: &Path) -> ExitCode {
    let begin = async {
        let world = World::new(Backend::open(which).await?, folder, false).map_err(|error| error.to_string())?;
        let mut runs = vec![];
        for _ in 0..4 {
            let attempt = Attempt::new(&world, "resources.deaf", &[]).limits(|l| l.wall_millis = 60_000).open_input();
            let mut run = attempt.start().await?;
            run.hear("deaf").await?;
            runs.push(run);
        }
        println!("ready {}", world.markers());
        tokio::time::sleep(PATIENCE).await;
        Ok::<_, String>(())
    };
    if let Err(error) = begin.await {
        println!("{error}");
    }
    ExitCode::FAILURE
}

/// Another host, with runs, that is killed while they go on.
pub(crate) struct HostThatDies {
    process: Child,
    output: BufReader<ChildStdout>,
    /// What the arguments of its runs begin with.
    pub(crate) markers: String,
}

impl HostThatDies {
    pub(crate) fn start(world: &World) -> io::Result<Self> {
        let folder = world.folder.join("dying");
        fs::create_dir_all(&folder)?;
        let mut command = Command::new(env::current_exe()?);
        command
            .env(ROLE, format!("die {}", world.backend.kind.name()))
            .env(FOLDER, folder)
            .envs(world.backend.environment());
        // A secret of its own, and with it markers of its own.
        command.env_remove(VARIABLE).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let output = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        Ok(Self { process, output, markers: String::new() })
    }

    pub(crate) fn ready(&mut self) -> Result<(), String> {
        let mut said = String::new();
        self.output.read_line(&mut said).map_err(|error| format!("another host says nothing: {error}"))?;
        let markers = said.trim_end().strip_prefix("ready ").ok_or_else(|| format!("another host says {said:?}"))?;
        self.markers = markers.to_owned();
        Ok(())
    }

    /// With SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for HostThatDies {
    fn drop(&mut self) {
        self.kill();
    }
}
