//! Will it still work: what this crate uses, against the runtime as it is now, and what keeps a hotkey from setting
//! weights.
//!
//! A report is data: a row for each thing that was looked at, with what was found and what to do about it. A runtime can
//! be examined without a connection, from a file of its metadata.
use crate::{
    client::{ChainClient, Tip},
    error::ChainError,
    extrinsic::{sign_for, subtensor},
    hyperparameters::Hyperparameters,
    metagraph::{Metagraph, storage_index},
    runtime::{AtBlock, Entry, Runtime, number, subnet},
    signer::Keypair,
};
use prism_core::{Block, Hotkey, MechanismId, Netuid};
use serde::Serialize;
use shape::{Fit, Way};
use std::{fmt, time::Duration};
use subxt::{dynamic::Value, utils::H256};
use surface::{Item, Need, SURFACE};

mod shape;
mod surface;
#[cfg(test)]
mod tests;
mod wallet;

pub use wallet::examine_keyfile;

const NOW: Entry = Entry::new("Timestamp", "Now");
const LAST_STORED_ROUND: Entry = Entry::new("Drand", "LastStoredRound");

/// Beacon rounds that the chain may be behind without anybody's noticing: some minutes.
const LATE_ROUNDS: u64 = 100;

/// Best blocks without finality from which weights aren't signed any more: half of an era.
const STALLED: u64 = 32;
/// How far this machine's clock may be from the newest block's before signed requests are refused: `btauth/1` allows two
/// seconds ahead, and a block is up to a slot old.
const AHEAD: Duration = Duration::from_secs(2);
/// Free balance of a coldkey below which fees may not be paid, rao.
const SMALL_CHANGE: u64 = 10_000_000;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Topic {
    /// A call, with its arguments.
    Call,
    /// A storage entry, with key and value.
    Storage,
    /// A constant.
    Constant,
    /// A method of a runtime interface.
    RuntimeApi,
    /// An event.
    Event,
    /// A transaction extension.
    Extension,
    /// The node that was asked.
    Node,
    /// The clocks.
    Clock,
    /// The subnet.
    Subnet,
    /// The hotkey on the subnet.
    Hotkey,
    /// The key files.
    Wallet,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Of the runtime: as when this version was made.
    Same,
    /// Of the runtime: otherwise, and it works all the same.
    Compatible,
    /// Of the runtime: it is gone, or doesn't take what this version gives.
    Missing,
    /// Of the rest: good.
    Good,
    /// Of the rest: to be looked at; weights can be set.
    Warning,
    /// Of the rest: not now, but without anybody's doing in a while.
    Waiting,
    /// Of the rest: bad until somebody does something.
    Bad,
}

impl Status {
    /// One word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Compatible => "compatible",
            Self::Missing => "missing",
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Waiting => "waiting",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Row {
    /// What it is about.
    pub topic: Topic,
    /// What was looked at.
    pub item: String,
    /// How it stands.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do about it, or what happens instead; nothing where all is well.
    pub advice: Option<String>,
    /// Whether no weight can be set as things stand, because of this.
    pub blocks_weights: bool,
}

impl Row {
    /// A row where all is well, or which blocks nothing.
    pub fn new(topic: Topic, item: impl Into<String>, status: Status, found: impl Into<String>) -> Self {
        let (item, found) = (item.into(), found.into());
        Self { topic, item, status, found, advice: None, blocks_weights: false }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The same, and no weight can be set because of it.
    #[must_use]
    pub fn blocking(mut self) -> Self {
        self.blocks_weights = true;
        self
    }
}

/// What was looked at, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The runtime's version.
    pub spec_version: u32,
    /// Whether the subnet hides weights until they are revealed; unknown without a connection.
    pub commit_reveal: Option<bool>,
    /// A row for each thing.
    pub rows: Vec<Row>,
}

impl Report {
    /// A runtime against what this crate uses. Without a subnet, weights count as blocked when they are on either kind.
    #[must_use]
    pub fn of_runtime(runtime: &Runtime) -> Self {
        Self::compare(runtime, None)
    }

    fn compare(runtime: &Runtime, commit_reveal: Option<bool>) -> Self {
        let mut rows: Vec<Row> =
            SURFACE.iter().map(|(item, need)| compare(runtime, item, *need, commit_reveal)).collect();
        rows.extend(strange_extensions(runtime));
        Self { spec_version: runtime.spec_version(), commit_reveal, rows }
    }

    /// Whether nothing that was looked at keeps weights from being set.
    #[must_use]
    pub fn can_set_weights(&self) -> bool {
        self.blocking().next().is_none()
    }

    /// What keeps weights from being set.
    pub fn blocking(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.blocks_weights)
    }
}

/// A runtime's answer to one line of the table.
fn compare(runtime: &Runtime, item: &Item, need: Need, commit_reveal: Option<bool>) -> Row {
    let metadata = runtime.metadata();
    let types = runtime.types();
    let pallet = |name: &str| metadata.pallet_by_name(name);
    let gone = || (Fit::Wrong("the runtime has no such thing".into()), "-".to_owned());
    let (topic, name, (fit, found)) = match *item {
        Item::Call(place, name, ours) => {
            let call = pallet(place).and_then(|pallet| pallet.call_variant_by_name(name));
            let fit = call.map(|call| {
                let live: Vec<(&str, u32)> =
                    call.fields.iter().map(|field| (field.name.as_deref().unwrap_or("?"), field.ty.id)).collect();
                let shown = live.iter().map(|(name, id)| format!("{name}: {}", shape::show(types, *id)));
                (shape::arguments(types, &live, ours), format!("({})", shown.collect::<Vec<_>>().join(", ")))
            });
            (Topic::Call, format!("{place}.{name}"), fit.unwrap_or_else(gone))
        }
        Item::Storage(place, name, keys, value) => {
            let info = runtime.entry(Entry::new(place, name));
            let fit = info.map(|info| {
                let parts: Vec<String> = info.keys.iter().map(|key| shape::show(types, key.key_id)).collect();
                let mut fit = shape::fit(types, info.value_id, value, Way::Read);
                if parts.len() == keys.len() {
                    let fits = keys.iter().zip(info.keys.iter());
                    fit = fits.fold(fit, |fit, (ours, live)| fit.and(shape::fit(types, live.key_id, *ours, Way::Sent)));
                } else {
                    let reason = format!("its key has {} parts, {} are known", parts.len(), keys.len());
                    fit = fit.and(Fit::Wrong(reason));
                }
                (fit, format!("[{}] -> {}", parts.join(", "), shape::show(types, info.value_id)))
            });
            (Topic::Storage, format!("{place}.{name}"), fit.unwrap_or_else(|_| gone()))
        }
        Item::Constant(place, name, ours) => {
            let constant = pallet(place).and_then(|pallet| pallet.constant_by_name(name));
            let fit = constant
                .map(|constant| (shape::fit(types, constant.ty(), ours, Way::Read), shape::show(types, constant.ty())));
            (Topic::Constant, format!("{place}.{name}"), fit.unwrap_or_else(gone))
        }
        Item::Api(interface, name, inputs, output) => {
            let method = metadata.runtime_api_trait_by_name(interface).and_then(|api| {
                let method = api.method_by_name(name)?;
                let live: Vec<u32> = method.inputs().map(|input| input.id).collect();
                let shown: Vec<String> = live.iter().map(|id| shape::show(types, *id)).collect();
                let mut fit = shape::fit(types, method.output_ty(), output, Way::Read);
                if live.len() == inputs.len() {
                    let fits = inputs.iter().zip(&live);
                    fit = fits.fold(fit, |fit, (ours, live)| fit.and(shape::fit(types, *live, *ours, Way::Sent)));
                } else {
                    let reason = format!("it takes {} arguments, {} are known", live.len(), inputs.len());
                    fit = fit.and(Fit::Wrong(reason));
                }
                Some((fit, format!("({}) -> {}", shown.join(", "), shape::show(types, method.output_ty()))))
            });
            (Topic::RuntimeApi, format!("{interface}_{name}"), method.unwrap_or_else(gone))
        }
        Item::Event(place, name) => {
            let events = pallet(place).and_then(|pallet| pallet.event_variants());
            let event = events.and_then(|events| events.iter().find(|event| event.name == name));
            let fit = event.map(|event| {
                let fields = event.fields.iter().map(|field| shape::show(types, field.ty.id));
                (Fit::Same, format!("({})", fields.collect::<Vec<_>>().join(", ")))
            });
            (Topic::Event, format!("{place}.{name}"), fit.unwrap_or_else(gone))
        }
        Item::Extension(name) => {
            let known = extensions(runtime).any(|(live, ..)| live == name);
            let fit = if known { (Fit::Same, "it is there".to_owned()) } else { gone() };
            (Topic::Extension, name.to_owned(), fit)
        }
    };
    judge(Row::new(topic, name, Status::Same, found), fit, need, commit_reveal)
}

/// What a misfit means for who needs the thing.
fn judge(mut row: Row, fit: Fit, need: Need, commit_reveal: Option<bool>) -> Row {
    const UPGRADE: &str = "update PRISM: the runtime changed beyond what this version understands";
    let reason = match fit {
        Fit::Same => return row,
        Fit::Compatible => {
            row.status = Status::Compatible;
            return row;
        }
        Fit::Wrong(reason) => reason,
    };
    row.status = Status::Missing;
    row.found = if row.found == "-" { reason } else { format!("{}: {reason}", row.found) };
    match need {
        Need::Weights => row.advise(UPGRADE).blocking(),
        Need::Direct if commit_reveal != Some(true) => row.advise(UPGRADE).blocking(),
        Need::Commit if commit_reveal != Some(false) => row.advise(UPGRADE).blocking(),
        Need::Direct => row.advise("nothing: this subnet hides its weights"),
        Need::Commit => row.advise("nothing: this subnet doesn't hide its weights"),
        Need::Only(what) => row.advise(format!("update PRISM: {what} won't work")),
        Need::Instead(what) => row.advise(format!("nothing: {what}")),
    }
}

/// The extensions of a signed extrinsic: name, type of the value, type of what is signed besides.
fn extensions(runtime: &Runtime) -> impl Iterator<Item = (&str, u32, u32)> {
    let extensions = runtime.metadata().extrinsic().transaction_extensions_by_version(0);
    extensions.into_iter().flatten().map(|one| (one.identifier(), one.extra_ty(), one.additional_ty()))
}

/// Extensions that this version doesn't know: harmless while they hold nothing.
fn strange_extensions(runtime: &Runtime) -> Vec<Row> {
    let known = |name: &str| SURFACE.iter().any(|(item, _)| matches!(item, Item::Extension(ours) if *ours == name));
    let types = runtime.types();
    let strange = extensions(runtime).filter(|(name, ..)| !known(name));
    let rows = strange.map(|(name, value, signed)| {
        let empty = [value, signed].into_iter().all(|id| shape::is_empty(types, id));
        let found = format!("{}, {}", shape::show(types, value), shape::show(types, signed));
        let row = Row::new(Topic::Extension, name, Status::Compatible, found);
        if empty {
            return row;
        }
        let row = Row { status: Status::Missing, ..row };
        row.advise("update PRISM: extrinsics carry something that this version doesn't know").blocking()
    });
    rows.collect()
}

/// Whose weights, where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subject {
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism on it.
    pub mechanism: MechanismId,
    /// The validator's hotkey; without one, only the runtime and the subnet are looked at.
    pub hotkey: Option<Hotkey>,
    /// The version key that goes with its weights.
    pub version_key: u64,
    /// This machine's time since the Unix epoch; without it, clocks aren't compared.
    pub now: Option<Duration>,
}

impl Subject {
    /// A subnet's first mechanism, with version key 0.
    #[must_use]
    pub fn new(netuid: Netuid) -> Self {
        Self { netuid, mechanism: MechanismId(0), hotkey: None, version_key: 0, now: None }
    }

    /// The same with a hotkey.
    #[must_use]
    pub fn hotkey(mut self, hotkey: Hotkey) -> Self {
        self.hotkey = Some(hotkey);
        self
    }
}

impl ChainClient {
    /// Looks at all that keeps weights from being set, at the best block.
    ///
    /// # Errors
    /// Those of connecting and of reading the runtime. What can't be read after that is a row.
    pub async fn examine(&self, subject: &Subject) -> Result<Report, ChainError> {
        let finalized = self.finalized().await?;
        let at = self.at_best().await?;
        let rules = at.hyperparameters(subject.netuid).await;
        let commit_reveal = rules.as_ref().ok().map(|rules| rules.commit_reveal);
        let mut report = Report::compare(&at.runtime, commit_reveal);
        let rows = &mut report.rows;
        let (row, sample) = signing(&at.runtime).await;
        rows.push(row);
        if let Some(sample) = sample
            && let Ok(fee) = self.fee(&sample).await
        {
            let found = format!("{fee} rao for an empty vector, where the chain charges for weights");
            rows.push(Row::new(Topic::Node, "fee", Status::Good, found));
        }
        rows.push(Row::new(
            Topic::Node,
            "genesis",
            Status::Good,
            format!("0x{}{}", hex::encode(self.genesis()), network(&self.genesis())),
        ));
        rows.push(finality(at.number, finalized.number));
        if let Some(now) = subject.now {
            rows.push(clock(&at, now).await);
        }
        match at.subnet_exists(subject.netuid).await {
            Ok(true) => match rules {
                Ok(rules) => {
                    rows.extend(subnet_rows(&at, subject, &rules).await);
                    if let Some(hotkey) = subject.hotkey {
                        rows.extend(hotkey_rows(&at, subject, hotkey, &rules).await);
                    }
                }
                Err(error) => rows.push(unread(Topic::Subnet, "rules", &error)),
            },
            Ok(false) => rows.push(
                Row::new(Topic::Subnet, "subnet", Status::Bad, format!("there is no subnet {}", subject.netuid))
                    .advise("check netuid and endpoint")
                    .blocking(),
            ),
            Err(error) => rows.push(unread(Topic::Subnet, "subnet", &error)),
        }
        Ok(report)
    }
}

fn unread(topic: Topic, item: &str, error: &ChainError) -> Row {
    Row::new(topic, item, Status::Bad, error.to_string()).advise("try another endpoint, or update PRISM").blocking()
}

/// The networks that are known by their genesis (official SDK, settings.py).
fn network(genesis: &[u8; 32]) -> &'static str {
    const FINNEY: &str = "2f0555cc76fc2840a25a6ea3b9637146806f1f44b090c175ffde2a7e5ab36c03";
    if hex::encode(genesis) == FINNEY { " (finney)" } else { "" }
}

/// Whether an extrinsic can be made at all: a sample of one, signed by nobody's key and sent to nobody.
async fn signing(runtime: &Runtime) -> (Row, Option<Vec<u8>>) {
    let none = || Value::unnamed_composite([]);
    let arguments = [
        ("netuid", subnet(Netuid(1))),
        ("mecid", number(0_u8)),
        ("dests", none()),
        ("weights", none()),
        ("version_key", number(0_u64)),
    ];
    let call = subtensor("set_mechanism_weights", arguments);
    let birth = Tip { number: 0, hash: H256([0; 32]) };
    match sign_for(runtime, birth, 64, 0, &call, &Keypair::from_seed(&[1; 32])).await {
        Ok(signed) => {
            let found = format!("{} bytes", signed.bytes.len());
            (Row::new(Topic::Call, "a signed extrinsic", Status::Same, found), Some(signed.bytes))
        }
        Err(error) => {
            let row = Row::new(Topic::Call, "a signed extrinsic", Status::Missing, error.to_string());
            (row.advise("update PRISM: the runtime changed beyond what this version understands").blocking(), None)
        }
    }
}

fn finality(best: u64, finalized: u64) -> Row {
    let lag = best.saturating_sub(finalized);
    let found = format!("best block {best}, final block {finalized}");
    let row = Row::new(Topic::Node, "finality", Status::Good, found);
    if lag <= STALLED {
        return row;
    }
    Row { status: Status::Waiting, ..row }.advise("wait for finality, or use another endpoint").blocking()
}

async fn clock(at: &AtBlock, now: Duration) -> Row {
    let block: u64 = match at.get(NOW, vec![]).await {
        Ok(millis) => millis,
        Err(error) => return Row::new(Topic::Clock, "clock", Status::Warning, error.to_string()),
    };
    let slot = at.block_time().unwrap_or(Duration::from_secs(12));
    let block = Duration::from_millis(block);
    let (ahead, behind) = (block.saturating_sub(now), now.saturating_sub(block));
    let found = match ahead.is_zero() {
        true => format!("the newest block is {:.0} s old", behind.as_secs_f64()),
        false => format!("the newest block is {:.0} s in this machine's future", ahead.as_secs_f64()),
    };
    let row = Row::new(Topic::Clock, "clock", Status::Good, found);
    if ahead > AHEAD {
        return Row { status: Status::Warning, ..row }
            .advise("set this machine's clock (NTP): signed requests are refused");
    }
    if behind > slot.saturating_mul(5) {
        return Row { status: Status::Warning, ..row }
            .advise("set this machine's clock (NTP), or use another endpoint: this one may be behind");
    }
    row
}

async fn subnet_rows(at: &AtBlock, subject: &Subject, rules: &Hyperparameters) -> Vec<Row> {
    let netuid = subject.netuid;
    let mut rows = Vec::new();
    let form = if rules.commit_reveal { "weights are committed" } else { "weights are set directly" };
    let found = format!("{} of {} slots taken, tempo {}, {form}", rules.neurons, rules.max_neurons, rules.tempo);
    rows.push(Row::new(Topic::Subnet, "subnet", Status::Good, found));
    if netuid.0 == 0 {
        let row = Row::new(Topic::Subnet, "root", Status::Bad, "the root network takes no weights");
        rows.push(row.advise("choose another subnet").blocking());
    }
    if subject.mechanism.0 >= rules.mechanisms {
        let found = format!("there are {}, {} is not one of them", rules.mechanisms, subject.mechanism);
        rows.push(Row::new(Topic::Subnet, "mechanism", Status::Bad, found).advise("check the mechanism").blocking());
    }
    if rules.commit_reveal && rules.commit_reveal_version.is_some_and(|version| version != 4) {
        let found = format!("the chain takes version {:?}, this crate makes 4", rules.commit_reveal_version);
        rows.push(Row::new(Topic::Subnet, "commitments", Status::Bad, found).advise("update PRISM").blocking());
    }
    let epoch = match at.epoch_clock(netuid).await {
        Ok(clock) => match clock.next_epoch_block(at.block(), netuid) {
            Some(next) => Row::new(Topic::Subnet, "epoch", Status::Good, format!("the next one is at block {next}")),
            None => Row::new(Topic::Subnet, "epoch", Status::Warning, "the subnet runs no epochs")
                .advise("wait for its owner to set a tempo"),
        },
        Err(error) => unread(Topic::Subnet, "epoch", &error),
    };
    rows.push(epoch);
    if rules.commit_reveal {
        rows.extend(beacon(at).await);
    }
    rows
}

/// Whether the chain gets what opens commitments.
async fn beacon(at: &AtBlock) -> Option<Row> {
    let read = async {
        let Some(beacon) = at.beacon().await? else { return Ok(None) };
        let (now, stored) = tokio::try_join!(at.now_millis(), at.get::<u64>(LAST_STORED_ROUND, vec![]))?;
        let due = (now / 1000).saturating_sub(beacon.genesis_unix) / beacon.period.max(1);
        Ok(Some((due.saturating_sub(stored), stored)))
    };
    let row = |status, found: String| Row::new(Topic::Subnet, "beacon", status, found);
    match read.await {
        Ok(None) => None,
        Ok(Some((behind, stored))) if behind <= LATE_ROUNDS => Some(row(Status::Good, format!("round {stored}"))),
        Ok(Some((behind, stored))) => Some(
            row(Status::Warning, format!("the chain's newest round is {stored}, {behind} behind"))
                .advise("wait: commitments aren't opened before the chain gets its rounds, and some may be missed"),
        ),
        Err::<_, ChainError>(error) => Some(row(Status::Warning, error.to_string())),
    }
}

async fn hotkey_rows(at: &AtBlock, subject: &Subject, hotkey: Hotkey, rules: &Hyperparameters) -> Vec<Row> {
    let netuid = subject.netuid;
    let metagraph = match at.metagraph(netuid).await {
        Ok(metagraph) => metagraph,
        Err(error) => return vec![unread(Topic::Hotkey, "registration", &error)],
    };
    let Some(member) = metagraph.members.iter().find(|member| member.hotkey == hotkey) else {
        let found = format!("hotkey {hotkey} has no slot on subnet {netuid}");
        let row = Row::new(Topic::Hotkey, "registration", Status::Bad, found);
        return vec![row.advise("register the hotkey on the subnet").blocking()];
    };
    let found = format!("hotkey {hotkey} has slot {} since block {}", member.uid, member.registered);
    let mut rows = vec![Row::new(Topic::Hotkey, "registration", Status::Good, found)];
    let owner = match at.owner_hotkey(netuid).await {
        Ok(owner) => owner == Some(hotkey),
        Err(_) => false,
    };
    rows.push(permit(at, member.validator_permit, owner, subject).await);
    rows.push(stake(&metagraph, member.stake, owner, rules));
    let index = storage_index(netuid, subject.mechanism);
    rows.push(match at.last_update(index, member.uid).await {
        Ok(last) => rate_limit(at, last, rules),
        Err(error) => unread(Topic::Hotkey, "rate limit", &error),
    });
    if subject.version_key < rules.weights_version_key {
        let found = format!("it is {}, the subnet asks for {}", subject.version_key, rules.weights_version_key);
        let row = Row::new(Topic::Hotkey, "version key", Status::Bad, found);
        rows.push(row.advise("update the validator, or give the subnet's version key").blocking());
    }
    rows.push(match at.account(&member.coldkey).await {
        Ok(account) => fees(account.free),
        Err(error) => Row::new(Topic::Hotkey, "fees", Status::Warning, error.to_string()),
    });
    rows
}

async fn permit(at: &AtBlock, permit: bool, owner: bool, subject: &Subject) -> Row {
    const ITEM: &str = "validator permit";
    match (permit, owner) {
        (true, _) => Row::new(Topic::Hotkey, ITEM, Status::Good, "it has one"),
        (false, true) => Row::new(Topic::Hotkey, ITEM, Status::Good, "none, and the owner's hotkey needs none"),
        (false, false) => {
            let next = at.epoch_clock(subject.netuid).await;
            let next = next.ok().and_then(|clock| clock.next_epoch_block(at.block(), subject.netuid));
            let when = next.map_or_else(String::new, |block| format!("; the next is at block {block}"));
            Row::new(Topic::Hotkey, ITEM, Status::Bad, "it has none")
                .advise(format!("add stake: permits are given at epochs, to the largest stakes{when}"))
                .blocking()
        }
    }
}

fn stake(metagraph: &Metagraph, stake: u64, owner: bool, rules: &Hyperparameters) -> Row {
    let rank = metagraph.members.iter().filter(|member| member.stake > stake).count() + 1;
    let found = format!(
        "stake weight {stake} rao, the {rank}. of {}; the chain asks for {}",
        metagraph.members.len(),
        rules.stake_threshold
    );
    let row = Row::new(Topic::Hotkey, "stake", Status::Good, found);
    if owner || stake >= rules.stake_threshold {
        return row;
    }
    Row { status: Status::Bad, ..row }.advise("add stake to the hotkey").blocking()
}

fn rate_limit(at: &AtBlock, last: u64, rules: &Hyperparameters) -> Row {
    let free = last.saturating_add(rules.weights_rate_limit);
    let blocks = if last == 0 { 0 } else { free.saturating_sub(at.number.saturating_add(1)) };
    let found = match last {
        0 => "it never set weights".to_owned(),
        last => {
            format!("last weights or registration at block {last}, {} blocks between two", rules.weights_rate_limit)
        }
    };
    let row = Row::new(Topic::Hotkey, "rate limit", Status::Good, found);
    if blocks == 0 {
        return row;
    }
    let seconds = at.block_time().unwrap_or_default().as_secs().saturating_mul(blocks);
    let advice = format!("wait {blocks} blocks, until {}, some {} minutes", Block(free), seconds.div_ceil(60));
    Row { status: Status::Waiting, ..row }.advise(advice).blocking()
}

fn fees(free: u64) -> Row {
    let row = Row::new(Topic::Hotkey, "fees", Status::Good, format!("its coldkey has {free} rao free"));
    if free >= SMALL_CHANGE {
        return row;
    }
    Row { status: Status::Warning, ..row }
        .advise("fund the coldkey: runtimes after spec 425 charge it for weights and announcements")
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.item, self.status.as_str(), self.found)?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}
