//! How alike two programs are, whatever their names, texts and numbers: for finding copies by index, not by scan.
use super::{
    identity::own_attributes,
    sources::Sources,
    syntax::{Kind, NodeId},
};
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;

/// Minima that are kept: the standard error of a similarity is at most `1 / (2 √128)`, 0.044.
const MINIMA: usize = 128;
/// Nodes of one shingle.
const SHINGLE: usize = 7;
/// Minima of one band: programs alike by 0.8 share one of sixteen bands with a probability of 0.95, those alike by 0.5
/// with one of 0.06.
const BAND: usize = 8;

/// MinHash (Broder 1997) of the shingles of a program's syntax tree in preorder. Names, texts, numbers, comments and
/// formatting are gone; operators and the attributes of other people's objects stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(Vec<u32>);

impl Fingerprint {
    /// The fingerprint of all files together. The order of files and of functions hardly matters.
    #[must_use]
    pub fn of(sources: &Sources) -> Self {
        let own = own_attributes(sources);
        let mut shingles = BTreeSet::new();
        for module in sources.modules() {
            let idle: BTreeSet<u32> = module.idle_texts().map(|node| node.range.start).collect();
            let mut window = [0_u64; SHINGLE];
            for id in module.below(module.root()) {
                let node = module.node(id);
                let silent = matches!(node.kind, Kind::List | Kind::Absent | Kind::Pass | Kind::Module)
                    || (matches!(node.kind, Kind::Str | Kind::Bytes) && idle.contains(&node.range.start))
                    || (node.kind == Kind::Expression && is_idle(module, id));
                if silent {
                    continue;
                }
                let told = match node.kind {
                    Kind::BinOp | Kind::UnaryOp | Kind::BoolOp | Kind::Compare | Kind::AugmentedAssign => true,
                    Kind::Attribute | Kind::Keyword => !own.contains(&node.text),
                    _ => false,
                };
                let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(node.kind as u8);
                for byte in node.text.bytes().filter(|_| told) {
                    hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
                }
                window.rotate_left(1);
                if let Some(last) = window.last_mut() {
                    *last = mix(hash);
                }
                shingles.insert(window.iter().fold(0_u64, |hash, part| mix(hash.rotate_left(5) ^ part)));
            }
        }
        let minimum = |index: usize| shingles.iter().map(|shingle| seeded(*shingle, index)).min().unwrap_or(u32::MAX);
        Self((0..MINIMA).map(minimum).collect())
    }

    /// Estimate of the part of shingles that two programs share (Jaccard), 0 to 1.
    #[must_use]
    pub fn similarity(&self, other: &Self) -> f64 {
        let same = self.0.iter().zip(&other.0).filter(|(a, b)| a == b).count();
        same as f64 / MINIMA as f64
    }

    /// Keys for an index (locality-sensitive hashing): those who share none are hardly alike.
    pub fn bands(&self) -> impl Iterator<Item = u64> {
        self.0
            .chunks(BAND)
            .enumerate()
            .map(|(index, band)| band.iter().fold(mix(index as u64), |hash, minimum| mix(hash ^ u64::from(*minimum))))
    }
}

impl Serialize for Fingerprint {
    /// Hexadecimal, eight digits for each minimum.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|minimum| minimum.to_be_bytes()).collect();
        serializer.serialize_str(&hex::encode(bytes))
    }
}

fn is_idle(module: &super::syntax::Module, id: NodeId) -> bool {
    matches!(module.node(module.child(id, 0)).kind, Kind::Str | Kind::Bytes)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn seeded(shingle: u64, index: usize) -> u32 {
    (mix(shingle ^ mix((index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> 32) as u32
}
