//! Errors as a node words and numbers them (`sc-rpc-api`).

use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::types::error::INVALID_PARAMS_CODE;

use crate::devnet::block::hex;
use crate::devnet::extrinsic::{InvalidTransaction, TransactionValidityError};
use crate::devnet::pool::{PRIORITY, PoolError};
use crate::devnet::primitives::H256;
use crate::devnet::runtime_api::CallError;

const BAD_FORMAT: i32 = 1001;
const VERIFICATION: i32 = 1002;
const POOL_INVALID_TX: i32 = 1010;
const POOL_UNKNOWN_VALIDITY: i32 = 1011;
const POOL_TEMPORARILY_BANNED: i32 = 1012;
const POOL_ALREADY_IMPORTED: i32 = 1013;
const POOL_TOO_LOW_PRIORITY: i32 = 1014;
const POOL_IMMEDIATELY_DROPPED: i32 = 1016;
const INVALID_COUNT: i32 = 4002;
const CLIENT: i32 = 4003;

pub(super) fn invalid_params(reason: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(INVALID_PARAMS_CODE, "Invalid params", Some(reason.into()))
}

pub(super) fn unknown_block(hash: H256) -> ErrorObjectOwned {
    let message = format!("Client error: UnknownBlock: Header was not found in the database: {}", hex(hash));
    ErrorObjectOwned::owned(CLIENT, message, None::<()>)
}

pub(super) fn too_many(value: usize, max: usize) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(
        INVALID_COUNT,
        format!("count exceeds maximum value. value: {value}, max: {max}"),
        None::<()>,
    )
}

pub(super) fn call(error: &CallError) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(CLIENT, format!("Client error: Execution failed: {error}"), None::<()>)
}

/// The words of `sp_runtime` for an invalid transaction.
fn words(invalid: InvalidTransaction) -> String {
    match invalid {
        InvalidTransaction::Call => "Transaction call is not expected".to_owned(),
        InvalidTransaction::Payment => "Inability to pay some fees (e.g. account balance too low)".to_owned(),
        InvalidTransaction::Future => "Transaction will be valid in the future".to_owned(),
        InvalidTransaction::Stale => "Transaction is outdated".to_owned(),
        InvalidTransaction::BadProof => "Transaction has a bad signature".to_owned(),
        InvalidTransaction::AncientBirthBlock => "Transaction has an ancient birth block".to_owned(),
        InvalidTransaction::ExhaustsResources => "Transaction would exhaust the block limits".to_owned(),
        InvalidTransaction::Custom(code) => format!("Custom error: {code}"),
        InvalidTransaction::BadMandatory => "A call was labelled as mandatory, but resulted in an Error.".to_owned(),
        InvalidTransaction::MandatoryValidation => {
            "Transaction dispatch is mandatory; transactions must not be validated.".to_owned()
        }
        InvalidTransaction::BadSigner => "Invalid signing address".to_owned(),
    }
}

pub(super) fn pool(error: &PoolError) -> ErrorObjectOwned {
    match error {
        PoolError::BadFormat(reason) => {
            ErrorObjectOwned::owned(BAD_FORMAT, format!("Extrinsic has invalid format: {reason}"), None::<()>)
        }
        PoolError::Verification(reason) => {
            let message = format!("Verification Error: Runtime error: Execution failed: {reason}");
            ErrorObjectOwned::owned(VERIFICATION, message, None::<()>)
        }
        PoolError::Validity(TransactionValidityError::Invalid(invalid)) => {
            ErrorObjectOwned::owned(POOL_INVALID_TX, "Invalid Transaction", Some(words(*invalid)))
        }
        PoolError::Validity(TransactionValidityError::Unknown(unknown)) => {
            ErrorObjectOwned::owned(POOL_UNKNOWN_VALIDITY, "Unknown Transaction Validity", Some(format!("{unknown:?}")))
        }
        PoolError::TemporarilyBanned => {
            ErrorObjectOwned::owned(POOL_TEMPORARILY_BANNED, "Transaction is temporarily banned", None::<()>)
        }
        PoolError::AlreadyImported(hash) => {
            ErrorObjectOwned::owned(POOL_ALREADY_IMPORTED, "Transaction Already Imported", Some(hex(hash)))
        }
        PoolError::TooLowPriority => ErrorObjectOwned::owned(
            POOL_TOO_LOW_PRIORITY,
            format!("Priority is too low: ({PRIORITY} vs {PRIORITY})"),
            Some("The transaction has too low priority to replace another transaction already in the pool."),
        ),
        PoolError::ImmediatelyDropped => ErrorObjectOwned::owned(
            POOL_IMMEDIATELY_DROPPED,
            "Immediately Dropped",
            Some("The transaction couldn't enter the pool because of the limit"),
        ),
    }
}
