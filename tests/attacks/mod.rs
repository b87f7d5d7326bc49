//! Attacks from inside a sandbox, each with its effect on the host; the same for every backend.
mod attempt;
mod backend;
mod command_line;
mod files;
mod kernel;
mod lifecycle;
mod looking;
mod network;
mod resources;
mod suite;
mod table;
mod world;

pub(crate) use suite::main;

use std::{future::Future, pin::Pin};
use world::World;

/// What came of an attack: a few words for the table, or why the wall did not hold.
type Verdict = Result<String, String>;

type Carried<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// Who carries out an attack.
#[derive(Clone, Copy)]
enum Way {
    /// This suite, several at a time.
    Beside(for<'a> fn(&'a World) -> Carried<'a>),
    /// This suite, while nothing else runs: the attack is measured by what it does to the host.
    Alone(for<'a> fn(&'a World) -> Carried<'a>),
    /// Other tests, or nobody; says who and why.
    Elsewhere(&'static str),
}

/// One attack.
#[derive(Clone, Copy)]
struct Attack {
    /// As in the list of attacks; several may share one.
    number: u32,
    name: &'static str,
    way: Way,
}

macro_rules! attacks { ($($number:literal $name:literal => $way:ident $what:expr;)*) => {
    &[$(Attack { number: $number, name: $name, way: attacks!(@ $way $what) }),*]
}; (@ elsewhere $what:expr) => { Way::Elsewhere($what) };
   (@ beside $what:expr) => { Way::Beside(|world| Box::pin($what(world))) };
   (@ alone $what:expr) => { Way::Alone(|world| Box::pin($what(world))) };
}

/// All of them.
const ATTACKS: &[Attack] = attacks![
    1 "fork bomb" => beside resources::forks;
    1 "thread bomb" => beside resources::threads;
    1 "orphans without end" => beside resources::orphans;
    2 "memory bomb" => beside resources::memory;
    3 "memory in many processes" => beside resources::memory_spread;
    3 "memory in scratch files" => beside resources::memory_in_scratch;
    3 "memory in shared memory" => beside resources::memory_in_shared;
    3 "memory in nameless files" => beside resources::memory_in_memfd;
    3 "memory in pipes" => beside resources::memory_in_pipes;
    3 "memory in sockets" => beside resources::memory_in_sockets;
    4 "full disk" => alone resources::disk;
    5 "inode flood" => beside resources::inodes;
    6 "sparse tebibyte" => beside resources::sparse;
    7 "spinning threads and processes" => beside resources::spin;
    7 "spinning orphans" => beside resources::spin_in_orphans;
    8 "deaf loop" => beside resources::deaf;
    9 "daemons" => beside resources::daemons;
    10 "waiting without end" => beside resources::waiting;
    11 "floods of output" => alone resources::floods;
    11 "flood that nobody reads" => alone resources::unread;
    11 "output at the limit" => beside resources::output_boundary;
    12 "descriptors without end" => beside resources::descriptors;
    13 "raised limits" => beside resources::raise_limits;
    13 "limits of the first process" => beside resources::limits_of_the_first;
    14 "locked, huge and shared memory" => beside resources::locked;
    15 "mount family" => beside kernel::mounts;
    16 "new namespaces" => beside kernel::namespaces;
    17 "trace stop as main" => beside kernel::trace_me;
    18 "tracing others" => beside kernel::others;
    19 "first process's files" => beside kernel::first_process;
    20 "system calls nobody needs" => beside kernel::never;
    20 "unknown system calls" => beside kernel::unknown;
    21 "foreign calling conventions" => beside kernel::foreign_abi;
    22 "personality" => beside kernel::personality;
    23 "terminal input" => beside kernel::terminal;
    24 "device nodes" => beside kernel::devices;
    25 "settings of the host" => beside kernel::settings;
    26 "privileges" => beside kernel::privileges;
    27 "crash with core" => beside kernel::crash;
    28 "killing everybody" => beside kernel::kill_all;
    28 "killing its own group" => beside kernel::kill_group;
    29 "timing and processor leaks" => elsewhere "documented: left to kernel and processor";
    30 "connecting to the host" => beside network::host;
    31 "local sockets of the host" => beside network::local;
    32 "asking for names" => beside network::names;
    33 "socket families" => beside network::families;
    34 "neighbours on one port" => beside network::neighbours;
    35 "environment" => beside looking::environment;
    36 "files of the host" => beside looking::everything;
    36 "known paths of the host" => beside looking::paths;
    37 "inherited descriptors" => beside looking::descriptors;
    38 "held-out data" => beside looking::held_out;
    39 "covert channels" => elsewhere "a rule, not a wall: nothing of a cohort leaves before it is closed";
    40 "another run's leavings" => beside looking::neighbour;
    41 "writing outside" => beside files::outside;
    42 "artifact is a link" => beside files::links;
    42 "folder of artifacts is a link" => beside files::root_is_a_link;
    43 "artifact with two names" => beside files::hardlinks;
    44 "artifact is not a file" => beside files::special;
    45 "swapped while collected" => beside files::race;
    46 "names of artifacts" => beside files::names;
    46 "trees of artifacts" => beside files::trees;
    47 "rights of artifacts" => beside files::modes;
    48 "size of artifacts" => beside files::sizes;
    49 "checkpoint that runs code" => beside files::pickle;
    50 "paths in archives" => elsewhere "prism-eval bundle::archive: names_that_lead_out_of_the_bundle_are_refused, names_that_are_there_twice_or_collide_are_refused, links_and_special_files_are_refused";
    51 "archive bombs" => elsewhere "prism-eval bundle::archive: a_bomb_is_stopped_by_the_count_while_unpacking, numbers_of_files_and_entries_are_bounded, local_and_central_headers_must_agree";
    52 "encrypted archives" => elsewhere "prism-eval bundle::archive: foreign_suffixes_encryption_and_methods_are_refused";
    53 "oversize upload" => elsewhere "prism-eval bundle: base64_is_strict; prism-neurons intake";
    54 "patched interpreter" => elsewhere "tests/guest.rs and tests/red_team";
    55 "forged ends" => beside lifecycle::claims;
    56 "early end" => beside lifecycle::nothing;
    57 "forged checkpoint" => elsewhere "tests/guest.rs and tests/red_team";
    58 "clocks" => beside lifecycle::clocks;
    59 "graphics processors" => beside lifecycle::gpus;
    60 "many at once" => beside lifecycle::many;
    60 "host killed" => alone lifecycle::host_killed;
    60 "dropped in mid-attack" => beside lifecycle::dropped;
    60 "running while frozen" => alone lifecycle::frozen;
    60 "program that is not there" => beside lifecycle::missing_program;
];
