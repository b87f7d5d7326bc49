//! Positional parameters, read with errors instead of panics.

use jsonrpsee::types::{ErrorObjectOwned, Params};
use serde_json::Value;

use super::fault;
use crate::devnet::chain::Chain;
use crate::devnet::primitives::H256;

/// The parameters of one request.
pub(super) struct Arguments(Vec<Value>);

impl Arguments {
    pub(super) fn of(params: &Params<'_>) -> Result<Self, ErrorObjectOwned> {
        let values: Option<Vec<Value>> =
            params.parse().map_err(|_| fault::invalid_params("parameters must be an array"))?;
        Ok(Self(values.unwrap_or_default()))
    }

    /// The parameter at `index`, if it is given and not null.
    pub(super) fn get(&self, index: usize) -> Option<&Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, index: usize) -> Result<&str, ErrorObjectOwned> {
        self.get(index)
            .and_then(Value::as_str)
            .ok_or_else(|| fault::invalid_params(format!("parameter {index} must be text")))
    }

    pub(super) fn bytes(&self, index: usize) -> Result<Vec<u8>, ErrorObjectOwned> {
        let text = self.text(index)?;
        unhex(text).ok_or_else(|| fault::invalid_params(format!("parameter {index} must be 0x and digits")))
    }

    pub(super) fn optional_bytes(&self, index: usize) -> Result<Option<Vec<u8>>, ErrorObjectOwned> {
        self.get(index).map(|_| self.bytes(index)).transpose()
    }

    pub(super) fn count(&self, index: usize) -> Result<usize, ErrorObjectOwned> {
        self.get(index)
            .and_then(Value::as_u64)
            .and_then(|count| usize::try_from(count).ok())
            .ok_or_else(|| fault::invalid_params(format!("parameter {index} must be a count")))
    }

    pub(super) fn optional_hash(&self, index: usize) -> Result<Option<H256>, ErrorObjectOwned> {
        let Some(bytes) = self.optional_bytes(index)? else { return Ok(None) };
        let hash = <[u8; 32]>::try_from(bytes)
            .map_err(|_| fault::invalid_params(format!("parameter {index} must be a hash of 32 bytes")))?;
        Ok(Some(H256(hash)))
    }

    /// Number of the block whose hash is at `index`, the head without one.
    pub(super) fn block(&self, index: usize, chain: &Chain) -> Result<u64, ErrorObjectOwned> {
        match self.optional_hash(index)? {
            None => Ok(chain.head().header.number),
            Some(hash) => chain.block(hash).map(|block| block.header.number).ok_or_else(|| fault::unknown_block(hash)),
        }
    }
}

/// The bytes of `0x` and an even number of hexadecimal digits.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.strip_prefix("0x")?).ok()
}
