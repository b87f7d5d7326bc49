//! The runtimes that a devnet can have, and change to.

use codec::Decode;
use subxt::Metadata as Described;

use super::dialect::Dialect;
use super::error::DevnetError;
use super::metadata::{Edit, Metadata};
use super::runtime::{self, RuntimeVersion};

/// In whose terms a devnet speaks to its clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuntimeMetadata {
    /// Its own, made from the types that run it: subnets, mechanisms and amounts have types of their own, as since spec
    /// 429, and epochs follow an anchor, as since dynamic tempo.
    #[default]
    Own,
    /// Its own, with bare integers in the place of those types, as before spec 429.
    BareIntegers,
    /// That of another runtime, in SCALE with its magic number, version 14 to 16: calls, events, errors, storage and
    /// runtime interfaces go over by name, as far as both have them. Where it has no anchors of epochs (before dynamic
    /// tempo), they follow from block numbers. It says its spec version itself.
    Given(Vec<u8>),
}

/// A runtime for [`Fault::Upgrade`](super::Fault::Upgrade).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeUpgrade {
    /// The spec version, where the metadata doesn't say it.
    pub spec_version: u32,
    /// Its terms.
    pub metadata: RuntimeMetadata,
    /// Error of the SubtensorModule pallet before which another one is inserted, so that the numbers from it on shift
    /// by one. Not for given metadata.
    pub error_before: Option<String>,
}

impl RuntimeUpgrade {
    /// The same runtime under another spec version.
    #[must_use]
    pub fn to(spec_version: u32) -> Self {
        Self { spec_version, metadata: RuntimeMetadata::Own, error_before: None }
    }

    /// The same with other terms.
    #[must_use]
    pub fn metadata(mut self, metadata: RuntimeMetadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// The same with an error inserted before this one.
    #[must_use]
    pub fn error_before(mut self, name: impl Into<String>) -> Self {
        self.error_before = Some(name.into());
        self
    }
}

/// A runtime as clients see it.
#[derive(Debug)]
pub(super) struct Runtime {
    pub(super) version: RuntimeVersion,
    pub(super) metadata: Metadata,
    /// How its terms and those of this crate's types go over into each other; none where they are the same.
    pub(super) dialect: Option<Dialect>,
}

impl Runtime {
    /// Makes a runtime for a chain with this slot length.
    ///
    /// # Errors
    /// [`DevnetError::Config`] for metadata that can't be read or doesn't fit.
    pub(super) fn new(upgrade: &RuntimeUpgrade, slot_millis: u64) -> Result<Self, DevnetError> {
        let refuse = |reason: String| DevnetError::Config(format!("runtime metadata: {reason}"));
        let plain = Edit { bare_integers: false, error_before: None };
        let own = |version: &RuntimeVersion, edit: &Edit| Metadata::own(version, slot_millis, edit).map_err(refuse);
        let (version, metadata) = match &upgrade.metadata {
            RuntimeMetadata::Given(bytes) => {
                let metadata = Metadata::given(bytes).map_err(refuse)?;
                (version_of(&metadata).map_err(refuse)?, metadata)
            }
            terms => {
                let bare_integers = *terms == RuntimeMetadata::BareIntegers;
                let edit = Edit { bare_integers, error_before: upgrade.error_before.clone() };
                let version = runtime::version(upgrade.spec_version);
                let metadata = own(&version, &edit)?;
                if edit == plain {
                    return Ok(Self { version, metadata, dialect: None });
                }
                (version, metadata)
            }
        };
        let ours = own(&runtime::version(upgrade.spec_version), &plain)?;
        let dialect = Dialect::new(ours.newest(), metadata.newest()).map_err(refuse)?;
        Ok(Self { version, metadata, dialect: Some(dialect) })
    }

    /// Whether epochs follow an anchor in the state.
    pub(super) fn has_stateful_epochs(&self) -> bool {
        self.dialect.as_ref().is_none_or(|dialect| dialect.has_entry("SubtensorModule", "SubnetEpochIndex"))
    }
}

fn version_of(metadata: &Metadata) -> Result<RuntimeVersion, String> {
    let described = Described::decode_from(metadata.newest()).map_err(|error| error.to_string())?;
    let system = described.pallet_by_name("System").ok_or("no pallet System")?;
    let version = system.constant_by_name("Version").ok_or("no constant System.Version")?;
    RuntimeVersion::decode(&mut version.value()).map_err(|error| format!("constant System.Version: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_that_is_none_or_of_no_bittensor_chain_is_refused_with_a_reason() {
        let reason = |bytes: Vec<u8>| {
            let upgrade = RuntimeUpgrade::to(1).metadata(RuntimeMetadata::Given(bytes));
            Runtime::new(&upgrade, 12_000).unwrap_err().to_string()
        };
        let own = Runtime::new(&RuntimeUpgrade::to(425), 12_000).unwrap();
        let whole = own.metadata.newest();
        assert!(reason(Vec::new()).starts_with("devnet configuration: runtime metadata: "));
        assert!(reason(b"meta".to_vec()).contains("runtime metadata: "));
        assert!(reason(whole[..whole.len() / 2].to_vec()).contains("runtime metadata: "));
        assert!(reason(vec![0; 1000]).contains("runtime metadata: "));
        let unknown = RuntimeUpgrade::to(1).error_before("NoSuchError");
        assert!(Runtime::new(&unknown, 12_000).unwrap_err().to_string().contains("no error NoSuchError"));
        let again = Runtime::new(&RuntimeUpgrade::to(1).metadata(RuntimeMetadata::Given(whole.to_vec())), 12_000);
        assert_eq!(again.unwrap().version, own.version);
    }
}
