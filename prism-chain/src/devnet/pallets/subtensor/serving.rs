//! Announcing where a neuron listens (`subnets/serving.rs`).

use codec::{Decode, Encode};
use scale_info::TypeInfo;

use super::{AXONS, Call, Error, Event, SERVING_RATE_LIMIT, UIDS};
use crate::devnet::dispatch::Execution;
use crate::devnet::primitives::{AccountId32, NetUid};
use crate::devnet::state::Read;

/// Where a neuron listens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) struct AxonInfo {
    /// Block of the announcement.
    pub(in crate::devnet) block: u64,
    pub(in crate::devnet) version: u32,
    /// The address as a number: IPv4 1.2.3.4 is 0x01020304.
    pub(in crate::devnet) ip: u128,
    pub(in crate::devnet) port: u16,
    /// 4 or 6.
    pub(in crate::devnet) ip_type: u8,
    pub(in crate::devnet) protocol: u8,
    pub(in crate::devnet) placeholder1: u8,
    pub(in crate::devnet) placeholder2: u8,
}

/// Whether an axon may announce this address. Zero withdraws an IPv4 announcement.
fn is_valid_ip(ip_type: u8, ip: u128) -> bool {
    const LOCALHOST: u128 = 0x7f00_0001;
    match ip_type {
        4 => ip < u128::from(u32::MAX) && ip != LOCALHOST,
        _ => ip > 1 && ip != u128::MAX,
    }
}

/// The checks of `serve_axon`; the announcement when they pass.
pub(super) fn check(
    state: &impl Read,
    block: u64,
    hotkey: &AccountId32,
    netuid: NetUid,
    call: &Call,
) -> Result<Option<AxonInfo>, Error> {
    let Call::serve_axon { version, ip, port, ip_type, protocol, placeholder1, placeholder2, .. } = call else {
        return Ok(None);
    };
    if !UIDS.contains(state, (netuid, hotkey.clone())) {
        return Err(Error::HotKeyNotRegisteredInNetwork);
    }
    if !matches!(ip_type, 4 | 6) {
        return Err(Error::InvalidIpType);
    }
    if !is_valid_ip(*ip_type, *ip) {
        return Err(Error::InvalidIpAddress);
    }
    let limit = SERVING_RATE_LIMIT.get(state, (netuid,));
    if let Some(before) = AXONS.get(state, (netuid, hotkey.clone())).filter(|axon| axon.block > 0)
        && block.saturating_sub(before.block) < limit
    {
        return Err(Error::ServingRateLimitExceeded);
    }
    if *port == 0 {
        return Err(Error::InvalidPort);
    }
    Ok(Some(AxonInfo {
        block,
        version: *version,
        ip: *ip,
        port: *port,
        ip_type: *ip_type,
        protocol: *protocol,
        placeholder1: *placeholder1,
        placeholder2: *placeholder2,
    }))
}

pub(super) fn serve(
    execution: &mut Execution<'_>,
    hotkey: &AccountId32,
    netuid: NetUid,
    call: &Call,
) -> Result<(), Error> {
    if let Some(axon) = check(execution.state, execution.block, hotkey, netuid, call)? {
        AXONS.put(execution.state, (netuid, hotkey.clone()), &axon);
        execution.deposit(Event::AxonServed(netuid, hotkey.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devnet::state::State;

    const NETUID: NetUid = NetUid(1);

    fn call(ip: u128, ip_type: u8, port: u16) -> Call {
        Call::serve_axon {
            netuid: NETUID,
            version: 1,
            ip,
            port,
            ip_type,
            protocol: 4,
            placeholder1: 0,
            placeholder2: 0,
        }
    }

    #[test]
    fn checks_come_in_the_runtime_order() {
        let mut state = State::default();
        let who = AccountId32::new([1; 32]);
        let answer = |state: &State, block, call: &Call| check(state, block, &who, NETUID, call).err();
        assert_eq!(answer(&state, 5, &call(1, 9, 0)), Some(Error::HotKeyNotRegisteredInNetwork));
        UIDS.put(&mut state, (NETUID, who.clone()), &0);
        assert_eq!(answer(&state, 5, &call(0x7f00_0001, 9, 0)), Some(Error::InvalidIpType));
        assert_eq!(answer(&state, 5, &call(0x7f00_0001, 4, 0)), Some(Error::InvalidIpAddress));
        assert_eq!(answer(&state, 5, &call(1, 6, 80)), Some(Error::InvalidIpAddress));
        assert_eq!(answer(&state, 5, &call(0x0102_0304, 4, 0)), Some(Error::InvalidPort));
        assert_eq!(answer(&state, 5, &call(0, 4, 1)), None, "zero withdraws");
        AXONS.put(&mut state, (NETUID, who.clone()), &AxonInfo { block: 5, ..AxonInfo::default() });
        assert_eq!(answer(&state, 54, &call(0x0102_0304, 4, 0)), Some(Error::ServingRateLimitExceeded));
        assert_eq!(answer(&state, 55, &call(0x0102_0304, 4, 80)), None);
    }
}
