//! Between this crate's types and the terms of another runtime, by name.

use std::borrow::Cow;
use std::collections::BTreeMap;

use codec::{Compact, Decode, Encode};
use sp_crypto_hashing::twox_128;
use subxt::Metadata;

use super::dispatch::{DispatchError, ModuleError};
use super::pallets::system::{self, EventRecord};
use super::runtime::{RuntimeCall, RuntimeEvent};
use super::transcode::{Typed, is_same, transcode};

/// Bytes of a storage key that name pallet and entry.
const PREFIX: usize = 32;

/// How a storage entry's values go over.
#[derive(Debug, Clone, Copy)]
enum Values {
    Same,
    Other { ours: u32, theirs: u32 },
}

/// What a runtime calls things, beside what this crate does.
#[derive(Debug)]
pub(super) struct Dialect {
    ours: Metadata,
    theirs: Metadata,
    /// Type of one event record, there and here.
    records: (u32, u32),
    /// The storage entries that both have.
    entries: BTreeMap<Vec<u8>, Values>,
    /// Errors by pallet and number, here and there.
    errors: BTreeMap<(u8, u8), (u8, u8)>,
}

impl Dialect {
    /// Reads both sides. An error says what the runtime lacks.
    pub(super) fn new(ours: &[u8], theirs: &[u8]) -> Result<Self, String> {
        let read = |bytes: &[u8]| Metadata::decode_from(bytes).map_err(|error| error.to_string());
        let (ours, theirs) = (read(ours)?, read(theirs)?);
        let extensions = |metadata: &Metadata| -> Option<Vec<String>> {
            // The version that extrinsics of version 4 have.
            let extensions = metadata.extrinsic().transaction_extensions_by_version(0)?;
            Some(extensions.map(|extension| extension.identifier().to_owned()).collect())
        };
        let (here, there) = (extensions(&ours), extensions(&theirs));
        if here != there {
            return Err(format!("transaction extensions are {there:?}, expected {here:?}"));
        }
        let records = (record(&ours)?, record(&theirs)?);
        let (entries, errors) = (entries(&ours, &theirs), errors(&ours, &theirs));
        Ok(Self { ours, theirs, records, entries, errors })
    }

    fn here(&self, id: u32) -> Typed<'_> {
        Typed::new(self.ours.types(), id)
    }

    fn there(&self, id: u32) -> Typed<'_> {
        Typed::new(self.theirs.types(), id)
    }

    /// Reads a call off the input.
    pub(super) fn decode_call(&self, input: &mut &[u8]) -> Result<RuntimeCall, codec::Error> {
        let (theirs, ours) = (self.theirs.outer_enums().call_enum_ty(), self.ours.outer_enums().call_enum_ty());
        let mut bytes = Vec::new();
        transcode(input, self.there(theirs), self.here(ours), &mut bytes)
            .map_err(|error| codec::Error::from("call can't be read").chain(error.to_string()))?;
        RuntimeCall::decode(&mut bytes.as_slice())
    }

    /// A call as the runtime encodes it, if it has it.
    pub(super) fn encode_call(&self, call: &RuntimeCall) -> Option<Vec<u8>> {
        let (ours, theirs) = (self.ours.outer_enums().call_enum_ty(), self.theirs.outer_enums().call_enum_ty());
        self.over(&call.encode(), ours, theirs)
    }

    fn over(&self, bytes: &[u8], ours: u32, theirs: u32) -> Option<Vec<u8>> {
        let (mut input, mut out) = (bytes, Vec::with_capacity(bytes.len()));
        transcode(&mut input, self.here(ours), self.there(theirs), &mut out).ok()?;
        Some(out)
    }

    /// The value of `System.Events`. An event that the runtime doesn't have is left out.
    pub(super) fn encode_events(&self, records: &[EventRecord]) -> Vec<u8> {
        let (ours, theirs) = self.records;
        let encoded: Vec<_> =
            records.iter().filter_map(|record| self.over(&self.renumbered(record).encode(), ours, theirs)).collect();
        let mut bytes = Compact(u32::try_from(encoded.len()).unwrap_or(u32::MAX)).encode();
        encoded.into_iter().for_each(|record| bytes.extend(record));
        bytes
    }

    /// The record with the runtime's number for its error.
    fn renumbered<'a>(&self, record: &'a EventRecord) -> Cow<'a, EventRecord> {
        let RuntimeEvent::System(system::Event::ExtrinsicFailed {
            dispatch_error: DispatchError::Module(error),
            dispatch_info,
        }) = &record.event
        else {
            return Cow::Borrowed(record);
        };
        let [number, ..] = error.error;
        let dispatch_error = match self.errors.get(&(error.index, number)) {
            Some((index, number)) => DispatchError::Module(ModuleError { index: *index, error: [*number, 0, 0, 0] }),
            None => DispatchError::Other,
        };
        let event = system::Event::ExtrinsicFailed { dispatch_error, dispatch_info: *dispatch_info };
        Cow::Owned(EventRecord { event: event.into(), ..record.clone() })
    }

    /// A stored value in the runtime's terms; none where it has no such entry.
    pub(super) fn value<'a>(&self, key: &[u8], value: Cow<'a, [u8]>) -> Option<Cow<'a, [u8]>> {
        match self.entries.get(key.get(..PREFIX)?)? {
            Values::Same => Some(value),
            Values::Other { ours, theirs } => self.over(&value, *ours, *theirs).map(Cow::Owned),
        }
    }

    /// Whether the runtime has the storage entry under this key.
    pub(super) fn has_key(&self, key: &[u8]) -> bool {
        key.get(..PREFIX).is_some_and(|prefix| self.entries.contains_key(prefix))
    }

    /// Whether the runtime has this storage entry.
    pub(super) fn has_entry(&self, pallet: &str, entry: &str) -> bool {
        let pallet = self.theirs.pallet_by_name(pallet);
        pallet.and_then(|pallet| pallet.storage()?.entry_by_name(entry)).is_some()
    }

    /// The answer of a runtime interface in the runtime's terms; none where it has no such method.
    pub(super) fn answer(&self, interface: &str, method: &str, answer: &[u8]) -> Option<Vec<u8>> {
        let output = |metadata: &Metadata| {
            Some(metadata.runtime_api_trait_by_name(interface)?.method_by_name(method)?.output_ty())
        };
        self.over(answer, output(&self.ours)?, output(&self.theirs)?)
    }
}

fn record(metadata: &Metadata) -> Result<u32, String> {
    let system = metadata.pallet_by_name("System").and_then(|pallet| pallet.storage()?.entry_by_name("Events"));
    let events = system.ok_or("no storage entry System.Events")?.value_ty();
    match metadata.types().resolve(events).map(|ty| &ty.type_def) {
        Some(scale_info::TypeDef::Sequence(sequence)) => Ok(sequence.type_param.id),
        _ => Err("System.Events is no list".to_owned()),
    }
}

fn entries(ours: &Metadata, theirs: &Metadata) -> BTreeMap<Vec<u8>, Values> {
    let mut entries = BTreeMap::new();
    for pallet in ours.pallets() {
        let storages = pallet.storage().zip(theirs.pallet_by_name(pallet.name()).and_then(|pallet| pallet.storage()));
        let Some((here, there)) = storages else { continue };
        for entry in here.entries() {
            let Some(other) = there.entry_by_name(entry.name()) else { continue };
            let is_same_key = entry.keys().len() == other.keys().len()
                && entry.keys().zip(other.keys()).all(|(a, b)| {
                    a.hasher == b.hasher
                        && is_same(Typed::new(ours.types(), a.key_id), Typed::new(theirs.types(), b.key_id))
                });
            // Keys of another form would have to be hashed anew: such an entry isn't served.
            if !is_same_key {
                continue;
            }
            let (ours_ty, theirs_ty) = (entry.value_ty(), other.value_ty());
            // Events are encoded when they happen, by the runtime in force.
            let is_same = (pallet.name(), entry.name()) == ("System", "Events")
                || is_same(Typed::new(ours.types(), ours_ty), Typed::new(theirs.types(), theirs_ty));
            let values = if is_same { Values::Same } else { Values::Other { ours: ours_ty, theirs: theirs_ty } };
            let prefix = [twox_128(here.prefix().as_bytes()), twox_128(entry.name().as_bytes())].concat();
            entries.insert(prefix, values);
        }
    }
    entries
}

fn errors(ours: &Metadata, theirs: &Metadata) -> BTreeMap<(u8, u8), (u8, u8)> {
    let mut errors = BTreeMap::new();
    for pallet in ours.pallets() {
        let Some(other) = theirs.pallet_by_name(pallet.name()) else { continue };
        let there: BTreeMap<_, _> =
            other.error_variants().unwrap_or_default().iter().map(|error| (&error.name, error.index)).collect();
        for error in pallet.error_variants().unwrap_or_default() {
            if let Some(number) = there.get(&error.name) {
                errors.insert((pallet.error_index(), error.index), (other.error_index(), *number));
            }
        }
    }
    errors
}
