//! Saying on the chain where a neuron listens.
use crate::{
    client::ChainClient,
    error::ChainError,
    extrinsic::subtensor,
    runtime::{AtBlock, Entry, account, number, subnet},
    signer::Signer,
};
use prism_core::{Block, Error, Fault, Hotkey, Kind, Netuid, Retry};
use serde::Serialize;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use subxt::ext::scale_decode::{self, DecodeAsType};

const AXONS: Entry = Entry::subtensor("Axons");
const SERVING_RATE_LIMIT: Entry = Entry::subtensor("ServingRateLimit");

/// The protocol number that the official SDK gives.
const PROTOCOL: u8 = 4;

/// Where a neuron listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Axon {
    /// Address and port.
    pub address: SocketAddr,
    /// A number of the subnet's own; the official SDK gives 4.
    pub protocol: u8,
    /// The neuron's version; 0 in a withdrawn announcement.
    pub version: u32,
}

impl Axon {
    /// An axon at an address, with the numbers that the official SDK gives.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self { address, protocol: PROTOCOL, version: 1 }
    }

    /// What takes an announcement back: nowhere, version 0, as the official SDK does it.
    #[must_use]
    pub fn withdrawn() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 1)), protocol: PROTOCOL, version: 0 }
    }

    /// Whether this takes an announcement back.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.version == 0 && self.address.ip().is_unspecified()
    }

    /// Whether the chain takes it (subtensor, subnets/serving.rs), and whether anyone could come there.
    fn check(&self) -> Result<(), AxonError> {
        if self.address.port() == 0 {
            return Err(AxonError::Port);
        }
        if self.is_withdrawn() {
            return Ok(());
        }
        let reason = match self.address.ip() {
            IpAddr::V4(Ipv4Addr::BROADCAST) => "it is the broadcast address",
            IpAddr::V6(ip) if ip == Ipv6Addr::from(u128::MAX) => "it is no address of a host",
            ip if ip.is_unspecified() => "it is nowhere: give the address that others reach this machine by",
            ip if ip.is_loopback() => "it is this machine's own, which others can't reach",
            ip if ip.is_multicast() => "it is a multicast address",
            _ => return Ok(()),
        };
        Err(AxonError::Address { ip: self.address.ip(), reason })
    }
}

/// An axon as the chain has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Announced {
    /// Where the neuron listens.
    pub axon: Axon,
    /// The block of the announcement.
    pub block: Block,
}

/// Why an axon was not announced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AxonError {
    /// An address that is of no use to others.
    #[error("axon address {ip} can't be announced: {reason}")]
    Address {
        /// The address.
        ip: IpAddr,
        /// Why.
        reason: &'static str,
    },
    /// Port 0.
    #[error("axon port 0 can't be announced")]
    Port,
    /// Only registered hotkeys may announce.
    #[error("hotkey {hotkey} is not registered on subnet {netuid}")]
    Unregistered {
        /// Whose axon.
        hotkey: Hotkey,
        /// Where it would have to be registered.
        netuid: Netuid,
    },
    /// Announced a moment ago.
    #[error("axon was announced at block {since}, and can be again in {blocks} blocks")]
    TooSoon {
        /// The block of the last announcement.
        since: Block,
        /// How many blocks to wait.
        blocks: u64,
    },
    /// The block shows success and another axon.
    #[error("block {0} holds another axon of the hotkey than the one announced")]
    ReadBack(Block),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl From<AxonError> for Error {
    fn from(error: AxonError) -> Self {
        use AxonError as E;
        let (kind, retry) = match error {
            E::Chain(error) => return error.into(),
            E::Address { .. } | E::Port => (Kind::Invalid, Retry::Never),
            E::Unregistered { .. } => (Kind::Refused, Retry::Never),
            E::TooSoon { .. } => (Kind::Limit, Retry::After(Duration::from_secs(60))),
            E::ReadBack(_) => (Kind::Conflict, Retry::Never),
        };
        Self::new(kind, Fault::Validator, error.to_string()).retry(retry)
    }
}

/// `AxonInfo` of the runtime, as far as it is used.
#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
pub(crate) struct AxonInfo {
    block: u64,
    version: u32,
    ip: u128,
    port: u16,
    ip_type: u8,
    protocol: u8,
}

impl From<AxonInfo> for Announced {
    fn from(info: AxonInfo) -> Self {
        let ip = match (info.ip_type, u32::try_from(info.ip)) {
            (4, Ok(ip)) => IpAddr::V4(Ipv4Addr::from_bits(ip)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(info.ip)),
        };
        let axon = Axon { address: SocketAddr::new(ip, info.port), protocol: info.protocol, version: info.version };
        Self { axon, block: Block(info.block) }
    }
}

impl ChainClient {
    /// Announces where the hotkey's neuron listens, waits for it to be in a block, and reads it back.
    ///
    /// # Errors
    /// Before anything is sent: `Address`, `Port`, `Unregistered`, `TooSoon`. Then `Chain` as for every call, and
    /// `ReadBack`.
    pub async fn serve_axon(&self, hotkey: &dyn Signer, netuid: Netuid, axon: &Axon) -> Result<Announced, AxonError> {
        axon.check()?;
        let who = hotkey.hotkey();
        let best = self.at_best().await?;
        if best.uid(netuid, &who).await?.is_none() {
            return Err(AxonError::Unregistered { hotkey: who, netuid });
        }
        if let Some(before) = best.axon(netuid, &who).await? {
            let limit: u64 = best.get(SERVING_RATE_LIMIT, vec![subnet(netuid)]).await?;
            // It lands in the next block at the earliest.
            let wait = before.block.0.saturating_add(limit).saturating_sub(best.number.saturating_add(1));
            if wait > 0 {
                return Err(AxonError::TooSoon { since: before.block, blocks: wait });
            }
        }
        let (ip, ip_type) = match axon.address.ip() {
            IpAddr::V4(ip) => (u128::from(ip.to_bits()), 4_u8),
            IpAddr::V6(ip) => (ip.to_bits(), 6),
        };
        let call = subtensor(
            "serve_axon",
            [
                ("netuid", subnet(netuid)),
                ("version", number(axon.version)),
                ("ip", number(ip)),
                ("port", number(axon.address.port())),
                ("ip_type", number(ip_type)),
                ("protocol", number(axon.protocol)),
                ("placeholder1", number(0_u8)),
                ("placeholder2", number(0_u8)),
            ],
        );
        let (place, _) = self.land(&call, hotkey).await?;
        let block = Block(place.tip.number);
        match self.at(place.tip).await?.axon(netuid, &who).await? {
            Some(announced) if announced.block == block && announced.axon == *axon => Ok(announced),
            _ => Err(AxonError::ReadBack(block)),
        }
    }

    /// Where a hotkey's neuron listens, by its own word, at the best block; `None` when it never said, or took it back.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn axon(&self, netuid: Netuid, hotkey: Hotkey) -> Result<Option<Announced>, ChainError> {
        let announced = self.at_best().await?.axon(netuid, &hotkey).await?;
        Ok(announced.filter(|announced| !announced.axon.is_withdrawn()))
    }
}

impl AtBlock {
    async fn axon(&self, netuid: Netuid, hotkey: &Hotkey) -> Result<Option<Announced>, ChainError> {
        let info: Option<AxonInfo> = self.find(AXONS, vec![subnet(netuid), account(hotkey)]).await?;
        // Runtimes in which the entry has a default give block 0 for who never announced.
        Ok(info.map(Announced::from).filter(|announced| announced.block.0 > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        devnet::SubnetConfig,
        landing::{Landing, NETUID, key},
    };

    #[tokio::test(flavor = "multi_thread")]
    async fn an_axon_is_announced_read_back_and_taken_back() {
        let neuron = key("neuron");
        let chain = Landing::with(&["neuron"], SubnetConfig { serving_rate_limit: 2, ..SubnetConfig::default() }).await;
        let client = &chain.client;
        assert_eq!(client.axon(NETUID, neuron.hotkey()).await.unwrap(), None);
        for address in ["203.0.113.7:8091", "[2001:db8::7]:443"] {
            let axon = Axon::at(address.parse().unwrap());
            let announced = chain.land(client.serve_axon(&neuron, NETUID, &axon)).await.unwrap();
            assert_eq!(announced.axon, axon);
            assert_eq!(client.axon(NETUID, neuron.hotkey()).await.unwrap(), Some(announced));
            chain.devnet.produce_blocks(2).await;
        }
        chain.land(client.serve_axon(&neuron, NETUID, &Axon::withdrawn())).await.unwrap();
        assert_eq!(client.axon(NETUID, neuron.hotkey()).await.unwrap(), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_second_announcement_and_a_stranger_s_are_refused_before_they_are_sent() {
        let neuron = key("neuron");
        let chain =
            Landing::with(&["neuron"], SubnetConfig { serving_rate_limit: 50, ..SubnetConfig::default() }).await;
        let axon = Axon::at("203.0.113.7:8091".parse().unwrap());
        let error = chain.client.serve_axon(&key("stranger"), NETUID, &axon).await.unwrap_err();
        assert!(matches!(error, AxonError::Unregistered { .. }), "{error}");
        let first = chain.land(chain.client.serve_axon(&neuron, NETUID, &axon)).await.unwrap();
        let (head, _) = chain.devnet.head();
        let error = chain.client.serve_axon(&neuron, NETUID, &axon).await.unwrap_err();
        let AxonError::TooSoon { since, blocks } = error else { panic!("{error}") };
        assert_eq!((since, blocks), (first.block, first.block.0 + 50 - (head + 1)));
        assert_eq!(Error::from(error).kind(), Kind::Limit);
        // The chain agrees to the block.
        chain.devnet.produce_blocks(u32::try_from(blocks).unwrap()).await;
        chain.land(chain.client.serve_axon(&neuron, NETUID, &axon)).await.unwrap();
    }

    #[test]
    fn addresses_that_nobody_can_come_to_are_refused() {
        for address in [
            "0.0.0.0:80",
            "127.0.0.1:80",
            "127.8.8.8:80",
            "255.255.255.255:80",
            "224.0.0.1:80",
            "[::]:80",
            "[::1]:80",
            "[ff02::1]:80",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:80",
        ] {
            let error = Axon::at(address.parse().unwrap()).check().unwrap_err();
            assert!(matches!(error, AxonError::Address { .. }), "{address}: {error}");
        }
        assert!(matches!(Axon::at("203.0.113.7:0".parse().unwrap()).check(), Err(AxonError::Port)));
        assert!(Axon::withdrawn().check().is_ok());
        assert!(Axon::at("10.1.2.3:80".parse().unwrap()).check().is_ok(), "subnets of one's own");
    }
}
