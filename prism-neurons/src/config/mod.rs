//! Configuration: one TOML file, then the environment, then flags. Each part stands beside its documented default; unknown
//! keys are an error. Secrets are paths to files, never values.
mod load;
mod span;

pub use load::{ConfigError, Overrides, load, print};
pub use span::Span;

use prism_chain::CommitScheme;
use prism_core::{Hotkey, MechanismId, Netuid, plan::RunMode};
use prism_eval::{sandbox::detect::SandboxConfig, score::ScorerChoice};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf};

/// Everything a validator is told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValidatorConfig {
    /// Which chain and subnet.
    pub chain: ChainConfig,
    /// Who signs.
    pub key: KeyConfig,
    /// Where submissions come in.
    pub http: HttpConfig,
    /// Where the operator is answered.
    pub internal: InternalConfig,
    /// Where state is kept.
    pub data: DataConfig,
    /// When cohorts close and what seeds them.
    pub cohort: CohortConfig,
    /// How much is run at once.
    pub evaluation: EvaluationConfig,
    /// How bundles of Python are run.
    pub guest: GuestConfig,
    /// Who reads submissions besides the rules.
    pub review: ReviewConfig,
}

/// Which chain and subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChainConfig {
    /// Websocket addresses of nodes, tried in order.
    pub endpoints: Vec<String>,
    /// The chain's genesis hash, `0x` and 64 digits; a node on another chain is refused. Not checked when absent.
    pub genesis: Option<String>,
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism within it.
    pub mechanism: MechanismId,
    /// Who takes the share that nobody earned; the subnet owner when absent.
    pub burn_hotkey: Option<Hotkey>,
    /// How weights are committed where the subnet asks for commitments: `timelock` (the chain reveals them), or `hash`
    /// for a chain that no beacon reaches (this validator reveals them, and must be up in the reveal epoch).
    pub commit: CommitScheme,
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self {
            endpoints: vec!["wss://entrypoint-finney.opentensor.ai:443".into()],
            genesis: None,
            netuid: Netuid(1),
            mechanism: MechanismId(0),
            burn_hotkey: None,
            commit: CommitScheme::Timelock,
        }
    }
}

/// Who signs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyConfig {
    /// A file that holds the hotkey's secret: a keyfile, a mnemonic, a `0x` seed, or a development URI such as `//Alice`.
    pub hotkey_file: Option<PathBuf>,
    /// A wallet in the official layout, by its name, instead of a file.
    pub wallet: Option<String>,
    /// The hotkey in that wallet; `default` when absent.
    pub hotkey: Option<String>,
    /// The folder of wallets; `~/.bittensor/wallets` when absent.
    pub wallets: Option<PathBuf>,
    /// A file that holds the password of an encrypted key; the terminal is asked when absent.
    pub password_file: Option<PathBuf>,
}

/// Where submissions come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The address to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Submissions of one hotkey in one cohort.
    pub quota: u32,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8091)), quota: 8 }
    }
}

/// Where the operator is answered: held submissions, and what to do about them. Off without an address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InternalConfig {
    /// The address to listen on; port 0 takes any free one. Not one that miners reach.
    pub listen: Option<SocketAddr>,
    /// A file that holds the token which every request must bring, at least 16 characters.
    pub token_file: Option<PathBuf>,
}

/// Where state is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The folder of the database and the artifacts.
    pub folder: PathBuf,
    /// The folder of the text that models learn from, as `prism data prepare` makes it.
    pub dataset: Option<PathBuf>,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { folder: PathBuf::from("prism-data"), dataset: None }
    }
}

/// When cohorts close and what seeds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CohortConfig {
    /// Blocks for which a cohort is open.
    pub blocks: u64,
    /// The seed is the hash of the finalized block this many after the closing one.
    pub delay: u64,
    /// A word that stands in for the block hash, so that runs replay. For development: rows are known before they are
    /// measured.
    pub fixed_seed: Option<String>,
}

impl Default for CohortConfig {
    fn default() -> Self {
        Self { blocks: 360, delay: 3, fixed_seed: None }
    }
}

/// How much is run at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Which plan is measured: `gpu_proxy_eval`, `full_scale_eval`, or `local_cpu_smoke`, which never is eligible.
    pub mode: RunMode,
    /// What evidence is worth: `prism`, or `prequential`, which ranks by bits per byte alone.
    pub scorer: ScorerChoice,
    /// Runs at the same time.
    pub workers: u32,
    /// Attempts of one run before it counts as failed for lack of infrastructure.
    pub attempts: u32,
    /// The longest a run may take.
    pub deadline: Span,
    /// The least time between two checkpoints of a run of Python, and before the first. A shorter run that this machine
    /// fails starts anew, and a longer one goes on from its last checkpoint, at the price that it wins no title.
    pub checkpoint_every: Span,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            mode: RunMode::GpuProxyEval,
            scorer: ScorerChoice::Prism,
            workers: 2,
            attempts: 3,
            deadline: Span::from_secs(3600),
            checkpoint_every: Span::from_secs(600),
        }
    }
}

/// How bundles of Python are run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuestConfig {
    /// A `runtime.json`, or the folder that holds it; that of the data folder (`prism runtime install`) when absent.
    /// Without either, bundles of Python are held.
    pub runtime: Option<PathBuf>,
    /// Which wall they run behind, and what it must hold.
    pub sandbox: SandboxConfig,
    /// A container image with the runtime, by digest, instead of this host's folders.
    pub image: Option<String>,
    /// The container engine's socket; looked for when absent.
    pub engine_socket: Option<PathBuf>,
    /// The container engine's name for another OCI runtime, like `runsc` or `kata`.
    pub engine_runtime: Option<String>,
    /// Devices by id; none for CPU.
    pub gpus: Vec<String>,
    /// Processes that train together, 1 to 8.
    pub processes: u32,
    /// Threads of each process.
    pub threads: u32,
    /// Sandboxes that wait with PyTorch imported.
    pub warm: u32,
    /// Memory of each, bytes.
    pub memory: u64,
}

impl Default for GuestConfig {
    fn default() -> Self {
        Self {
            runtime: None,
            sandbox: SandboxConfig::default(),
            image: None,
            engine_socket: None,
            engine_runtime: None,
            gpus: Vec::new(),
            processes: 1,
            threads: 1,
            warm: 1,
            memory: 8 << 30,
        }
    }
}

/// A language model that reads submissions; off without an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReviewConfig {
    /// The full address of an OpenAI-compatible endpoint for chat completions.
    pub endpoint: Option<String>,
    /// The model's name there.
    pub model: Option<String>,
    /// A file that holds the key, sent as a bearer token.
    pub key_file: Option<PathBuf>,
    /// The longest wait for an answer.
    pub deadline: Span,
    /// Most bytes of source that it is given; longer submissions are held.
    pub source_bytes: usize,
}

impl Default for ReviewConfig {
    fn default() -> Self {
        Self { endpoint: None, model: None, key_file: None, deadline: Span::from_secs(120), source_bytes: 200_000 }
    }
}

/// Everything a miner is told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinerConfig {
    /// Who signs.
    pub key: KeyConfig,
    /// The validators' addresses, as in `http://host:port`.
    pub validators: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_defaults_are_read_back_as_the_defaults() {
        let text = print(&ValidatorConfig::default()).unwrap();
        assert!(text.contains("deadline = \"3600s\""), "{text}");
        let back: ValidatorConfig = load(Some(&text), &[], &Overrides::default()).unwrap();
        assert_eq!(back, ValidatorConfig::default());
    }

    #[test]
    fn flags_beat_the_environment_and_the_environment_beats_the_file() {
        let file = "[chain]\nnetuid = 3\n[http]\nquota = 5\n[cohort]\nblocks = 9\n";
        let environment = [("PRISM__CHAIN__NETUID", "4"), ("PRISM__HTTP__QUOTA", "6"), ("UNRELATED", "x")];
        let environment = environment.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let flags = Overrides::default().set("chain.netuid", 7);
        let config: ValidatorConfig = load(Some(file), &environment, &flags).unwrap();
        assert_eq!((config.chain.netuid, config.http.quota, config.cohort.blocks), (Netuid(7), 6, 9));
    }

    #[test]
    fn an_unknown_key_and_a_wrong_type_are_named() {
        let none = Overrides::default();
        let unknown = load::<ValidatorConfig>(Some("[chain]\nnetuidd = 3\n"), &[], &none).unwrap_err().to_string();
        assert!(unknown.contains("netuidd"), "{unknown}");
        let wrong = load::<ValidatorConfig>(Some("[http]\nquota = \"many\"\n"), &[], &none).unwrap_err().to_string();
        assert!(wrong.contains("quota"), "{wrong}");
        let environment = [("PRISM__HTTP__QUTOA".to_owned(), "6".to_owned())];
        let misspelt = load::<ValidatorConfig>(None, &environment, &none).unwrap_err().to_string();
        assert!(misspelt.contains("qutoa"), "{misspelt}");
    }
}
