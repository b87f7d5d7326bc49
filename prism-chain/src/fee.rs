//! What an extrinsic costs.
use crate::{
    client::ChainClient,
    error::ChainError,
    runtime::{Api, Runtime},
};

/// Read by name: the chain's fee is a `u64`, where subxt's own reader expects a `u128`.
const QUERY_INFO: Api = Api::new("TransactionPaymentApi", "query_info");

impl ChainClient {
    /// The fee of a signed extrinsic in rao, at the best block. Who pays it is the chain's rule: weights and
    /// announcements are charged to the coldkey that owns the hotkey, or are free, by the runtime's version.
    ///
    /// # Errors
    /// `Missing` when the runtime doesn't tell fees; those of a read.
    pub async fn fee(&self, extrinsic: &[u8]) -> Result<u64, ChainError> {
        let at = self.at_best().await?;
        if !at.runtime.has_api(QUERY_INFO) {
            return Err(at.runtime.missing(format!("runtime interface {QUERY_INFO}")));
        }
        let length = u32::try_from(extrinsic.len()).map_err(|_| ChainError::Encode {
            item: format!("input of {QUERY_INFO}"),
            spec: at.spec(),
            reason: format!("the extrinsic has {} bytes", extrinsic.len()),
        })?;
        // The extrinsic's wire form is its SCALE form, length prefix and all.
        let input = [extrinsic, &length.to_le_bytes()].concat();
        let answer = at.call_raw(&QUERY_INFO.to_string(), &input).await?;
        at.runtime.partial_fee(&answer)
    }
}

impl Runtime {
    fn partial_fee(&self, answer: &[u8]) -> Result<u64, ChainError> {
        let unset = || ChainError::Unset { item: format!("{QUERY_INFO}.partial_fee") };
        let info = self.api_record(QUERY_INFO, answer)?.ok_or_else(unset)?;
        info.field("partial_fee")?.ok_or_else(unset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tests::finney;
    use codec::{Compact, Encode as _};

    #[test]
    fn the_live_chain_s_fee_is_read_with_eight_bytes() {
        let Some(finney) = finney() else { return };
        // RuntimeDispatchInfo { weight { ref_time, proof_size }, class: Normal, partial_fee: u64 }.
        let answer = (Compact(1_000_000_u64), Compact(3_000_u64), 0_u8, 12_345_u64).encode();
        assert_eq!(finney.partial_fee(&answer).unwrap(), 12_345);
        let short = finney.partial_fee(&answer[..answer.len() - 1]).unwrap_err();
        assert!(matches!(short, ChainError::Decode { .. }), "{short}");
    }
}
