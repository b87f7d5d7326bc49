//! The result: one line per attack, one column per backend, in Markdown.
use super::{ATTACKS, Way};
use std::{collections::BTreeMap, fmt::Write};

/// What became of one attack on one backend.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) held: bool,
    pub(crate) words: String,
}

/// By name of the backend, then by position of the attack.
pub(crate) type Results = BTreeMap<String, BTreeMap<usize, Cell>>;

/// Writes it, without what was not asked for.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = String::from("| | attack |");
    for backend in results.keys() {
        let _ = write!(text, " {backend} |");
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(results.len()));
    text.push('\n');
    for (position, attack) in ATTACKS.iter().enumerate() {
        let run = results.values().any(|cells| cells.contains_key(&position));
        if !run && !matches!(attack.way, Way::Elsewhere(_)) {
            continue;
        }
        let mut row = format!("| {} | {} |", attack.number, attack.name);
        for cells in results.values() {
            let _ = match (attack.way, cells.get(&position)) {
                (Way::Elsewhere(who), _) => write!(row, " {} |", plain(who)),
                (_, Some(Cell { held: true, words })) => write!(row, " {} |", plain(words)),
                (_, Some(Cell { held: false, words })) => write!(row, " **fell**: {} |", plain(words)),
                (_, None) => write!(row, " not run |"),
            };
        }
        text.push_str(&row);
        text.push('\n');
    }
    text
}

fn plain(words: &str) -> String {
    words.chars().map(|c| if c.is_control() || c == '|' { ' ' } else { c }).take(400).collect()
}
