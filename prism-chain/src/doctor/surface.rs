//! All that this crate asks of a runtime, in one table. A test holds it against the code that asks.
use super::shape::Shape::{self, Any, Bool, Bytes, Hash, List, Perhaps, Record, Tuple, Uint, Variants};

/// Something of a runtime that this crate uses, by its names.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item {
    /// A call, with its arguments.
    Call(&'static str, &'static str, &'static [(&'static str, Shape)]),
    /// A storage entry, with the parts of its key and its value.
    Storage(&'static str, &'static str, &'static [Shape], Shape),
    /// A constant.
    Constant(&'static str, &'static str, Shape),
    /// A method of a runtime interface, with its arguments and its answer.
    Api(&'static str, &'static str, &'static [Shape], Shape),
    /// An event.
    Event(&'static str, &'static str),
    /// A transaction extension.
    Extension(&'static str),
}

/// What stops working without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Every weight.
    Weights,
    /// Weights on subnets without commit-reveal.
    Direct,
    /// Weights on subnets with commit-reveal.
    Commit,
    /// Something else, named here.
    Only(&'static str),
    /// Nothing: this happens instead.
    Instead(&'static str),
}

const NETUID: Shape = Uint(16);
const MECID: Shape = Uint(8);
const ACCOUNT: Shape = Hash;
const UIDS: Shape = List(&Uint(16));
const SHARES: Shape = List(&Uint(16));
const AMOUNTS: Shape = List(&Uint(64));
const FLAGS: Shape = List(&Bool);
const AXON: Shape = Record(&[
    ("block", Uint(64)),
    ("version", Uint(32)),
    ("ip", Uint(128)),
    ("port", Uint(16)),
    ("ip_type", Uint(8)),
    ("protocol", Uint(8)),
]);
const METAGRAPH: Shape = Perhaps(&Record(&[
    ("hotkeys", Perhaps(&List(&ACCOUNT))),
    ("coldkeys", Perhaps(&List(&ACCOUNT))),
    ("axons", Perhaps(&List(&AXON))),
    ("active", Perhaps(&FLAGS)),
    ("validator_permit", Perhaps(&FLAGS)),
    ("last_update", Perhaps(&AMOUNTS)),
    ("emission", Perhaps(&AMOUNTS)),
    ("dividends", Perhaps(&SHARES)),
    ("incentives", Perhaps(&SHARES)),
    ("consensus", Perhaps(&SHARES)),
    ("block_at_registration", Perhaps(&AMOUNTS)),
    ("alpha_stake", Perhaps(&AMOUNTS)),
    ("tao_stake", Perhaps(&AMOUNTS)),
    ("total_stake", Perhaps(&AMOUNTS)),
]));

const DATA: Shape = Variants(&["Raw0", "Raw128", "BigRaw", "TimelockEncrypted"]);
const COMMITMENT: Shape = Record(&[("fields", List(&DATA))]);
const COMMITMENTS: Need = Need::Only("commitments");
const HASHED: Need = Need::Only("weights that are committed by hash");
/// Calls inside calls, of which a neuron makes none itself.
const INNER: Need = Need::Instead("a call inside another that fails so is not noticed");

const PALLET: &str = "SubtensorModule";

/// An entry of Subtensor's own pallet, by subnet.
const fn by_subnet(name: &'static str, value: Shape) -> Item {
    Item::Storage(PALLET, name, &[NETUID], value)
}

/// The table. Types are those of finney at spec 393; where there was none yet, of spec 425.
pub(super) const SURFACE: &[(Item, Need)] = &[
    // What is signed and sent.
    (
        Item::Call(
            PALLET,
            "set_mechanism_weights",
            &[("netuid", NETUID), ("mecid", MECID), ("dests", UIDS), ("weights", SHARES), ("version_key", Uint(64))],
        ),
        Need::Direct,
    ),
    (
        Item::Call(
            PALLET,
            "commit_timelocked_mechanism_weights",
            &[
                ("netuid", NETUID),
                ("mecid", MECID),
                ("commit", Bytes),
                ("reveal_round", Uint(64)),
                ("commit_reveal_version", Uint(16)),
            ],
        ),
        Need::Commit,
    ),
    (
        Item::Call(PALLET, "commit_mechanism_weights", &[("netuid", NETUID), ("mecid", MECID), ("commit_hash", Hash)]),
        HASHED,
    ),
    (
        Item::Call(
            PALLET,
            "reveal_mechanism_weights",
            &[
                ("netuid", NETUID),
                ("mecid", MECID),
                ("uids", UIDS),
                ("values", SHARES),
                ("salt", List(&Uint(16))),
                ("version_key", Uint(64)),
            ],
        ),
        HASHED,
    ),
    (Item::Call("Commitments", "set_commitment", &[("netuid", NETUID), ("info", COMMITMENT)]), COMMITMENTS),
    (
        Item::Call(PALLET, "burned_register", &[("netuid", NETUID), ("hotkey", ACCOUNT)]),
        Need::Only("registration at any price"),
    ),
    (
        Item::Call(PALLET, "register_limit", &[("netuid", NETUID), ("hotkey", ACCOUNT), ("limit_price", Uint(64))]),
        Need::Instead("registration at any price is left"),
    ),
    (
        Item::Call(
            PALLET,
            "serve_axon",
            &[
                ("netuid", NETUID),
                ("version", Uint(32)),
                ("ip", Uint(128)),
                ("port", Uint(16)),
                ("ip_type", Uint(8)),
                ("protocol", Uint(8)),
                ("placeholder1", Uint(8)),
                ("placeholder2", Uint(8)),
            ],
        ),
        Need::Only("announcing an axon"),
    ),
    (Item::Extension("CheckSpecVersion"), Need::Instead("it is not signed over")),
    (Item::Extension("CheckTxVersion"), Need::Instead("it is not signed over")),
    (Item::Extension("CheckGenesis"), Need::Instead("it is not signed over")),
    (Item::Extension("CheckMortality"), Need::Weights),
    (Item::Extension("CheckNonce"), Need::Weights),
    (Item::Extension("ChargeTransactionPayment"), Need::Instead("no tip is offered")),
    (Item::Extension("CheckMetadataHash"), Need::Instead("it is not signed over")),
    // What became of it.
    (Item::Event("System", "ExtrinsicSuccess"), Need::Weights),
    (Item::Event("System", "ExtrinsicFailed"), Need::Weights),
    (Item::Event(PALLET, "TimelockedWeightsRevealed"), Need::Commit),
    (Item::Event(PALLET, "WeightsRevealed"), HASHED),
    (Item::Event(PALLET, "NeuronRegistered"), Need::Only("registration's answer")),
    (Item::Event(PALLET, "BatchWeightItemFailed"), INNER),
    (Item::Event("Utility", "ItemFailed"), INNER),
    (Item::Event("Utility", "BatchInterrupted"), INNER),
    (Item::Event("Utility", "DispatchedAs"), INNER),
    (Item::Event("Proxy", "ProxyExecuted"), INNER),
    (Item::Event("Multisig", "MultisigExecuted"), INNER),
    (Item::Event("Sudo", "Sudid"), INNER),
    (Item::Event("Sudo", "SudoAsDone"), INNER),
    (Item::Storage("System", "Events", &[], Any), Need::Weights),
    (
        Item::Storage(
            "System",
            "Account",
            &[ACCOUNT],
            Record(&[("nonce", Uint(32)), ("data", Record(&[("free", Uint(64))]))]),
        ),
        Need::Weights,
    ),
    // The clock.
    (Item::Constant("Aura", "SlotDuration", Uint(64)), Need::Weights),
    (Item::Storage("Timestamp", "Now", &[], Uint(64)), Need::Only("the comparison of clocks")),
    // Who is on the subnet.
    (
        Item::Api("SubnetInfoRuntimeApi", "get_selective_metagraph", &[NETUID, UIDS], METAGRAPH),
        Need::Instead("the metagraph is read from storage"),
    ),
    (by_subnet("NetworksAdded", Bool), Need::Weights),
    (by_subnet("SubnetworkN", Uint(16)), Need::Weights),
    (Item::Storage(PALLET, "Keys", &[NETUID, Uint(16)], ACCOUNT), Need::Weights),
    (Item::Storage(PALLET, "Uids", &[NETUID, ACCOUNT], Uint(16)), Need::Weights),
    (Item::Storage(PALLET, "Owner", &[ACCOUNT], ACCOUNT), Need::Only("coldkeys in the stored metagraph")),
    (by_subnet("SubnetOwner", ACCOUNT), Need::Only("looking a subnet's owner up")),
    (by_subnet("SubnetOwnerHotkey", ACCOUNT), Need::Weights),
    (Item::Storage(PALLET, "Axons", &[NETUID, ACCOUNT], AXON), Need::Only("addresses in the stored metagraph")),
    (by_subnet("Active", FLAGS), Need::Instead("nobody is shown active")),
    (by_subnet("ValidatorPermit", FLAGS), Need::Weights),
    (by_subnet("LastUpdate", AMOUNTS), Need::Weights),
    (
        Item::Storage(PALLET, "BlockAtRegistration", &[NETUID, Uint(16)], Uint(64)),
        Need::Only("the stored metagraph's blocks of registration"),
    ),
    (by_subnet("Consensus", SHARES), Need::Instead("it is shown as zero")),
    (by_subnet("Incentive", SHARES), Need::Instead("it is shown as zero")),
    (by_subnet("Dividends", SHARES), Need::Instead("it is shown as zero")),
    (by_subnet("Emission", AMOUNTS), Need::Instead("it is shown as zero")),
    (Item::Storage(PALLET, "TotalHotkeyAlpha", &[ACCOUNT, NETUID], Uint(64)), Need::Weights),
    (Item::Storage(PALLET, "TaoWeight", &[], Uint(64)), Need::Only("stake thresholds")),
    (
        Item::Storage(PALLET, "ParentKeys", &[ACCOUNT, NETUID], List(&Tuple(&[Uint(64), ACCOUNT]))),
        Need::Instead("stake is taken as the hotkey's own"),
    ),
    (
        Item::Storage(PALLET, "ChildKeys", &[ACCOUNT, NETUID], List(&Tuple(&[Uint(64), ACCOUNT]))),
        Need::Instead("stake is taken as the hotkey's own"),
    ),
    (Item::Storage(PALLET, "Weights", &[NETUID, Uint(16)], List(&Tuple(&[Uint(16), Uint(16)]))), Need::Weights),
    // Weights that wait for their reveal.
    (
        Item::Storage(
            PALLET,
            "TimelockedWeightCommits",
            &[NETUID, Uint(64)],
            List(&Tuple(&[ACCOUNT, Uint(64), Bytes, Uint(64)])),
        ),
        Need::Commit,
    ),
    (
        Item::Storage(PALLET, "WeightCommits", &[NETUID, ACCOUNT], List(&Tuple(&[Hash, Uint(64), Uint(64), Uint(64)]))),
        HASHED,
    ),
    (
        Item::Storage(
            "Drand",
            "BeaconConfig",
            &[],
            Record(&[("public_key", Bytes), ("period", Uint(32)), ("genesis_time", Uint(32))]),
        ),
        Need::Instead("the configuration's beacon is used, or drand's quicknet"),
    ),
    // The subnet's rules.
    (by_subnet("Tempo", Uint(16)), Need::Weights),
    (by_subnet("WeightsSetRateLimit", Uint(64)), Need::Weights),
    (by_subnet("WeightsVersionKey", Uint(64)), Need::Instead("any version key is taken as good")),
    (by_subnet("MinAllowedWeights", Uint(16)), Need::Weights),
    (by_subnet("MaxWeightsLimit", Uint(16)), Need::Instead("weights are not clipped")),
    (by_subnet("CommitRevealWeightsEnabled", Bool), Need::Weights),
    (by_subnet("RevealPeriodEpochs", Uint(64)), Need::Commit),
    (Item::Storage(PALLET, "CommitRevealWeightsVersion", &[], Uint(16)), Need::Commit),
    (by_subnet("MechanismCountCurrent", Uint(8)), Need::Instead("one mechanism is assumed")),
    (by_subnet("MaxAllowedUids", Uint(16)), Need::Weights),
    (by_subnet("MaxAllowedValidators", Uint(16)), Need::Instead("it is shown as no limit")),
    (by_subnet("ImmunityPeriod", Uint(16)), Need::Instead("it is shown as zero")),
    (by_subnet("ActivityCutoff", Uint(16)), Need::Instead("it is shown as no limit")),
    (by_subnet("ServingRateLimit", Uint(64)), Need::Instead("it is shown as zero")),
    (by_subnet("NetworkRegistrationAllowed", Bool), Need::Instead("it is shown as open")),
    (by_subnet("Burn", Uint(64)), Need::Only("the price of registration")),
    (Item::Storage(PALLET, "StakeThreshold", &[], Uint(64)), Need::Instead("no threshold is assumed")),
    // Its epochs: stateful since dynamic tempo.
    (by_subnet("LastEpochBlock", Uint(64)), Need::Instead("epochs follow the closed form")),
    (by_subnet("PendingEpochAt", Uint(64)), Need::Instead("epochs follow the closed form")),
    (by_subnet("SubnetEpochIndex", Uint(64)), Need::Instead("epochs follow the closed form")),
    (by_subnet("BlocksSinceLastStep", Uint(64)), Need::Instead("epochs follow the closed form")),
    // Commitments.
    (
        Item::Storage(
            "Commitments",
            "CommitmentOf",
            &[NETUID, ACCOUNT],
            Record(&[("block", Uint(32)), ("info", Record(&[("fields", List(&DATA))]))]),
        ),
        COMMITMENTS,
    ),
    (Item::Storage("Commitments", "LastCommitment", &[NETUID, ACCOUNT], Uint(32)), COMMITMENTS),
    (
        Item::Storage("Commitments", "RevealedCommitments", &[NETUID, ACCOUNT], List(&Tuple(&[Bytes, Uint(64)]))),
        COMMITMENTS,
    ),
    (
        Item::Storage(
            "Commitments",
            "UsedSpaceOf",
            &[NETUID, ACCOUNT],
            Record(&[("last_epoch", Uint(64)), ("used_space", Uint(64))]),
        ),
        COMMITMENTS,
    ),
    (Item::Storage("Commitments", "MaxSpace", &[], Uint(32)), COMMITMENTS),
    (Item::Constant("Commitments", "MaxFields", Uint(32)), COMMITMENTS),
    (Item::Storage("Drand", "LastStoredRound", &[], Uint(64)), Need::Only("commitments under a timelock")),
    // Fees.
    (
        Item::Api("TransactionPaymentApi", "query_info", &[Any, Uint(32)], Record(&[("partial_fee", Uint(64))])),
        Need::Only("showing fees"),
    ),
];
