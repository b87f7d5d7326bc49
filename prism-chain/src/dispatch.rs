//! What a block says of a call that failed.
use prism_core::{Kind, Retry};
use std::{fmt, time::Duration};
use subxt::{
    Metadata,
    dynamic::{At as _, Value},
    ext::scale_value::{Composite, ValueDef},
};

/// Why a call failed, in the chain's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchError {
    name: String,
    item: bool,
}

/// Calls that succeed although a call inside them failed, by the event that tells: batches, proxies, `sudo`.
const INNER_CALLS: [(&str, &str); 8] = [
    ("SubtensorModule", "BatchWeightItemFailed"),
    ("Utility", "ItemFailed"),
    ("Utility", "BatchInterrupted"),
    ("Utility", "DispatchedAs"),
    ("Proxy", "ProxyExecuted"),
    ("Multisig", "MultisigExecuted"),
    ("Sudo", "Sudid"),
    ("Sudo", "SudoAsDone"),
];

impl DispatchError {
    /// `Pallet.Error` for a pallet's error, as `SubtensorModule.SettingWeightsTooFast`; the names of the variants for
    /// others, as `Token.FundsUnavailable`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a call inside a call failed, as an item of a batch; the others may have succeeded.
    #[must_use]
    pub fn is_item(&self) -> bool {
        self.item
    }

    /// What to do about it; nothing for errors that a neuron isn't expected to see.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        advice(self.error())
    }

    /// The error's own name, without the pallet's.
    fn error(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }

    fn passes(&self) -> bool {
        matches!(
            self.error(),
            "SettingWeightsTooFast"
                | "CommittingWeightsTooFast"
                | "TooManyUnrevealedCommits"
                | "CommitQueueFull"
                | "RevealTooEarly"
                | "ServingRateLimitExceeded"
                | "SpaceLimitExceeded"
                | "TooManyRegistrationsThisBlock"
                | "TooManyRegistrationsThisInterval"
                | "HotKeySetTxRateLimitExceeded"
        )
    }

    pub(crate) fn kind(&self) -> Kind {
        if self.passes() { Kind::Limit } else { Kind::Refused }
    }

    pub(crate) fn retry(&self, pause: Duration) -> Retry {
        if self.passes() { Retry::After(pause) } else { Retry::Never }
    }

    /// From the fields of `System.ExtrinsicFailed`.
    pub(crate) fn of_extrinsic(fields: &Composite<()>, metadata: &Metadata) -> Self {
        let error = fields.at("dispatch_error").or_else(|| fields.at(0));
        let name = error.map_or_else(|| "unknown".to_owned(), |error| name(error, metadata));
        Self { name, item: false }
    }

    /// Whether the event tells how a call inside a call ended.
    pub(crate) fn is_told_by(pallet: &str, event: &str) -> bool {
        INNER_CALLS.contains(&(pallet, event))
    }

    /// From the fields of an event that tells how a call inside a call ended; nothing for a success.
    pub(crate) fn of_item(fields: &Composite<()>, metadata: &Metadata) -> Option<Self> {
        fields.values().find_map(|value| match &value.value {
            ValueDef::Variant(result) if result.name == "Ok" => None,
            ValueDef::Variant(result) if result.name == "Err" => {
                Some(Self { name: name(result.values.at(0)?, metadata), item: true })
            }
            ValueDef::Variant(_) => Some(Self { name: name(value, metadata), item: true }),
            _ => None,
        })
    }
}

impl fmt::Display for DispatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.item {
            f.write_str(" in a call inside it")?;
        }
        self.advice().map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

/// The chain's own name for a `sp_runtime::DispatchError`.
fn name(error: &Value, metadata: &Metadata) -> String {
    let byte = |value: Option<&Value>| value.and_then(|value| u8::try_from(value.as_u128()?).ok());
    let mut names = Vec::new();
    let mut value = error;
    while let ValueDef::Variant(variant) = &value.value {
        if variant.name == "Module"
            && let Some(module) = variant.values.at(0)
            && let (Some(index), Some(number)) = (byte(module.at("index")), byte(module.at("error").at(0)))
            && let Some(pallet) = metadata.pallet_by_error_index(index)
        {
            let error = pallet.error_variant_by_index(number).map_or("unknown error", |variant| variant.name.as_str());
            return format!("{}.{error}", pallet.name());
        }
        names.push(variant.name.as_str());
        match variant.values.at(0) {
            Some(inner) => value = inner,
            None => break,
        }
    }
    if names.is_empty() { "unknown".to_owned() } else { names.join(".") }
}

/// What to do about an error of the pallets that a neuron calls (subtensor, macros/errors.rs and commitments, spec 425;
/// later names from the official SDK).
fn advice(error: &str) -> Option<&'static str> {
    Some(match error {
        "CommitRevealEnabled" => "commit the weights: the subnet hides them until an epoch later",
        "CommitRevealDisabled" => "set the weights directly: the subnet doesn't hide them any more",
        "IncorrectCommitRevealVersion" => "update PRISM: the chain asks for another form of commitment",
        "InvalidRevealRound" => "commit anew with a later reveal round; check this machine's clock",
        "CommitPayloadTooLarge" => "pay fewer neurons: the encrypted vector is too long",
        "CommitQueueFull" | "TooManyUnrevealedCommits" => "wait for the next epoch, in which commitments are opened",
        "SettingWeightsTooFast" | "CommittingWeightsTooFast" => "wait for the subnet's weights rate limit to pass",
        "NoWeightsCommitFound" => "commit before revealing",
        "ExpiredWeightCommit" => "commit anew: the reveal epoch is over",
        "RevealTooEarly" => "reveal in the commitment's own reveal epoch",
        "InvalidRevealCommitHashNotMatch" => "reveal exactly what was committed, with the same salt",
        "CanNotSetRootNetworkWeights" => "choose another subnet than the root",
        "HotKeyNotRegisteredInSubNet" | "HotKeyNotRegisteredInNetwork" | "AccountNotAllowedCommit" => {
            "register the hotkey on the subnet"
        }
        "NotEnoughStakeToSetWeights" => "add stake to the hotkey",
        "NeuronNoValidatorPermit" => "wait for an epoch: permits are given there, to the largest stakes",
        "IncorrectWeightVersionKey" => "update the validator: the subnet asks for a newer version key",
        "MechanismDoesNotExist" | "SubnetNotExists" => "check subnet and mechanism",
        "WeightVecNotEqualSize"
        | "DuplicateUids"
        | "UidVecContainInvalidOne"
        | "UidsLengthExceedUidsInSubNet"
        | "MaxWeightExceeded" => "read the subnet anew and conform the vector to it",
        "WeightVecLengthIsLow" => "pay more neurons: the subnet asks for a longer vector",
        "SubNetRegistrationDisabled" => "wait for the subnet's owner to open registration",
        "RegistrationNotPermittedOnRootSubnet" => "choose another subnet than the root",
        "HotKeyAlreadyRegisteredInSubNet" => "nothing: the hotkey is registered",
        "NotEnoughBalanceToStake" | "InsufficientBalance" | "InsufficientTaoBalance" | "FundsUnavailable" => {
            "fund the coldkey"
        }
        "NonAssociatedColdKey" => "sign with the coldkey that owns the hotkey",
        "NoNeuronIdAvailable" => "wait: every slot is immune now",
        "RegistrationPriceLimitExceeded" => "raise the limit, or wait for the price to fall",
        "TooManyRegistrationsThisBlock" | "TooManyRegistrationsThisInterval" => "try again some blocks later",
        "ServingRateLimitExceeded" => "wait for the subnet's serving rate limit to pass",
        "InvalidIpAddress" | "InvalidIpType" => "announce an address that others can reach",
        "InvalidPort" => "announce a port above zero",
        "SpaceLimitExceeded" => "wait for the next epoch: this one's space for commitments is used up",
        "TooManyFieldsInCommitmentInfo" => "commit fewer fields",
        "HotKeySetTxRateLimitExceeded" => "wait for the rate limit of key swaps to pass",
        "CallFiltered" => "wait: the chain takes no such calls now (safe mode, or not permitted for this signer)",
        "BadOrigin" => "sign with the key that the call is for",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tests::finney;

    fn error(name: &str) -> DispatchError {
        DispatchError { name: name.into(), item: false }
    }

    #[test]
    fn an_error_names_itself_and_what_to_do() {
        let fast = error("SubtensorModule.SettingWeightsTooFast");
        assert_eq!(
            fast.to_string(),
            "SubtensorModule.SettingWeightsTooFast; wait for the subnet's weights rate limit to pass"
        );
        assert_eq!((fast.kind(), fast.retry(Duration::ZERO)), (Kind::Limit, Retry::After(Duration::ZERO)));
        let odd = error("Module.Unheard");
        assert_eq!((odd.to_string().as_str(), odd.kind()), ("Module.Unheard", Kind::Refused));
    }

    #[test]
    fn the_live_chain_s_errors_are_named_by_its_own_metadata() {
        let Some(finney) = finney() else { return };
        let metadata = finney.metadata();
        let module = |pallet: u8, number: u8| {
            let bytes = [number, 0, 0, 0].map(|byte| Value::u128(byte.into()));
            let module = [("index", Value::u128(pallet.into())), ("error", Value::unnamed_composite(bytes))];
            let error = Value::unnamed_variant("Module", [Value::named_composite(module)]);
            DispatchError::of_extrinsic(&Composite::named([("dispatch_error", error)]), metadata)
        };
        for (number, name) in [(4, "HotKeyNotRegisteredInSubNet"), (28, "SettingWeightsTooFast"), (17, "DuplicateUids")]
        {
            assert_eq!(module(7, number).name(), format!("SubtensorModule.{name}"));
            assert!(module(7, number).advice().is_some());
        }
        assert_eq!(module(7, 255).name(), "SubtensorModule.unknown error");
        let token = Value::unnamed_variant("Token", [Value::unnamed_variant("FundsUnavailable", [])]);
        let fields = Composite::named([("dispatch_error", token)]);
        assert_eq!(
            DispatchError::of_extrinsic(&fields, metadata).to_string(),
            "Token.FundsUnavailable; fund the coldkey"
        );
    }

    #[test]
    fn a_failed_item_of_a_batch_is_told_from_one_that_succeeded() {
        let Some(finney) = finney() else { return };
        let metadata = finney.metadata();
        let origin = || Value::unnamed_variant("BadOrigin", []);
        let read = |fields| DispatchError::of_item(&fields, metadata);
        let failed = read(Composite::named([("error", origin())])).unwrap();
        assert_eq!((failed.name(), failed.is_item()), ("BadOrigin", true));
        let err = Value::unnamed_variant("Err", [origin()]);
        assert_eq!(read(Composite::named([("result", err)])), Some(failed.clone()));
        let index = ("index", Value::u128(3));
        let interrupted = Composite::named([index, ("error", origin())]);
        assert_eq!(read(interrupted), Some(failed));
        let ok = Value::unnamed_variant("Ok", [Value::unnamed_composite([])]);
        assert_eq!(read(Composite::named([("result", ok)])), None);
        assert!(!DispatchError::is_told_by("Utility", "ItemCompleted"));
        for (pallet, event) in INNER_CALLS {
            let pallet = metadata.pallet_by_name(pallet).unwrap();
            let known = pallet.event_variants().unwrap().iter().any(|variant| variant.name == event);
            assert!(known, "{}.{event}", pallet.name());
        }
    }
}
