//! What dispatching a call can answer: dispatch errors, dispatch information, and the execution it runs in.

use codec::{Decode, Encode};
use scale_info::build::{Fields, Variants};
use scale_info::{Path, Type, TypeInfo};

use super::ledger::Entries;
use super::runtime::RuntimeEvent;
use super::state::State;

/// A pallet's error: the pallet's index and the SCALE bytes of its error enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) struct ModuleError {
    pub(super) index: u8,
    pub(super) error: [u8; 4],
}

impl ModuleError {
    pub(super) fn new(index: u8, error: &impl Encode) -> Self {
        let mut bytes = [0; 4];
        for (to, from) in bytes.iter_mut().zip(error.encode()) {
            *to = from;
        }
        Self { index, error: bytes }
    }
}

/// Errors of fungible balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) enum TokenError {
    FundsUnavailable,
    OnlyProvider,
    BelowMinimum,
    CannotCreate,
    UnknownAsset,
    Frozen,
    Unsupported,
    CannotCreateHold,
    NotExpendable,
    Blocked,
}

/// Errors of checked arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) enum ArithmeticError {
    Underflow,
    Overflow,
    DivisionByZero,
}

/// Why a dispatched call had no effect; the order of variants is `sp_runtime::DispatchError`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) enum DispatchError {
    Other,
    CannotLookup,
    BadOrigin,
    Module(ModuleError),
    ConsumerRemaining,
    NoProviders,
    TooManyConsumers,
    Token(TokenError),
    Arithmetic(ArithmeticError),
}

impl TypeInfo for DispatchError {
    type Identity = Self;
    // Written by hand for its path: clients find the type by it.
    fn type_info() -> Type {
        Type::builder().path(Path::from_segments_unchecked(["sp_runtime", "DispatchError"])).variant(
            Variants::new()
                .variant("Other", |v| v.index(0))
                .variant("CannotLookup", |v| v.index(1))
                .variant("BadOrigin", |v| v.index(2))
                .variant("Module", |v| v.index(3).fields(Fields::unnamed().field(|f| f.ty::<ModuleError>())))
                .variant("ConsumerRemaining", |v| v.index(4))
                .variant("NoProviders", |v| v.index(5))
                .variant("TooManyConsumers", |v| v.index(6))
                .variant("Token", |v| v.index(7).fields(Fields::unnamed().field(|f| f.ty::<TokenError>())))
                .variant("Arithmetic", |v| v.index(8).fields(Fields::unnamed().field(|f| f.ty::<ArithmeticError>()))),
        )
    }
}

/// Computation and proof size of a call. This chain doesn't meter, so both are zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) struct Weight {
    #[codec(compact)]
    ref_time: u64,
    #[codec(compact)]
    proof_size: u64,
}

/// Which share of a block a call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) enum DispatchClass {
    Normal,
    Operational,
    Mandatory,
}

/// Whether the signer pays a fee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) enum Pays {
    Yes,
    No,
}

/// What `ExtrinsicSuccess` and `ExtrinsicFailed` say about the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) struct DispatchEventInfo {
    pub(super) weight: Weight,
    pub(super) class: DispatchClass,
    pub(super) pays_fee: Pays,
}

/// What pallets work on while a block is built: the open state, and what the call leaves behind.
#[derive(Debug)]
pub(super) struct Execution<'a> {
    pub(super) state: &'a mut State,
    /// The block being built.
    pub(super) block: u64,
    pub(super) events: Vec<RuntimeEvent>,
    /// Weight vectors and commitments that this execution wrote.
    pub(super) entries: Entries,
    /// Position of the extrinsic in its block.
    pub(super) extrinsic: u32,
}

impl<'a> Execution<'a> {
    pub(super) fn new(state: &'a mut State, block: u64, extrinsic: u32) -> Self {
        Self { state, block, events: Vec::new(), entries: Entries::default(), extrinsic }
    }

    pub(super) fn deposit(&mut self, event: impl Into<RuntimeEvent>) {
        self.events.push(event.into());
    }
}
