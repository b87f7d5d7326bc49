//! What a program is compared with others by: its shapes, whatever their names, texts and numbers.
use super::{
    identity::own_attributes,
    sources::Sources,
    syntax::{Kind, Module, NodeId},
};
use crate::duplicate::{hash, hash_text, mix};
use std::collections::BTreeSet;

/// Nodes of one shingle.
const SHINGLE: usize = 7;

/// The shingles of a program's syntax trees in preorder. Names, texts, numbers, comments and formatting are gone; operators
/// and the attributes of other people's objects stay. The order of files and of functions hardly matters.
#[must_use]
pub fn shingles(sources: &Sources) -> BTreeSet<u64> {
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
            let text = if told { hash_text(&node.text) } else { 0 };
            window.rotate_left(1);
            if let Some(last) = window.last_mut() {
                *last = mix(hash([u64::from(node.kind as u8), text]));
            }
            shingles.insert(hash(window));
        }
    }
    shingles
}

fn is_idle(module: &Module, id: NodeId) -> bool {
    matches!(module.node(module.child(id, 0)).kind, Kind::Str | Kind::Bytes)
}
