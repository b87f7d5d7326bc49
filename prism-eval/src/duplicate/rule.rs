//! From what is alike to what follows: a pure rule.
use super::{
    fingerprint::{Fingerprint, Part},
    report::{Action, DUPLICATE_SCHEMA, DuplicateReport, Excuse, Grade, Match, Thresholds},
    sketch::Compact,
};
use crate::policy::DuplicateNumbers;
use prism_core::{Digest, FamilyId, Finite, Hotkey, SubmissionId, submission::Precedence};
use std::collections::BTreeMap;

/// How many of the closest a report names.
const CLOSEST: usize = 3;

/// A part of an earlier submission, as an index keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Of which submission.
    pub submission: SubmissionId,
    /// Whose; none for a published architecture, which is nobody's.
    pub hotkey: Option<Hotkey>,
    /// The family it belongs to.
    pub family: FamilyId,
    /// Its place in the order of arrival.
    pub precedence: Precedence,
    /// Which part.
    pub part: Part,
    /// Digest of all that is run of the submission.
    pub work: Digest,
    /// Digest of the part's structure.
    pub structure: Digest,
    /// What the part is compared by.
    pub sketch: Option<Compact>,
}

/// The submission that a report is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Which.
    pub submission: SubmissionId,
    /// Whose, and its place in the order of arrival.
    pub precedence: Precedence,
    /// What is known of it.
    pub fingerprint: &'a Fingerprint,
}

/// What a submission resembles among `entries`, and what follows.
///
/// - Only what came earlier counts; who copied is a matter of precedence.
/// - Equal work belongs to the family that is there. It is measured as the same task or shows the same, and the frontier
///   credits it nothing.
/// - Equal structure is the same family; equal recipes are the same on one family, and alike on two.
/// - What lies in the band is held, where it is another miner's; what is alike from `near` on is attributed.
/// - Own work has no consequence, nor has what came after something as alike of one's own: one may always tune one's own.
/// - A published architecture is prior work of nobody: it is never a reason to hold, and who is not nearer to another
///   miner's work than to a published architecture took nothing of that miner's.
/// - Neither excuses what is equal to another miner's work by what is merely alike.
#[must_use]
pub fn report(subject: &Subject<'_>, entries: &[Entry], numbers: &DuplicateNumbers) -> DuplicateReport {
    let matches = matches(subject, entries, numbers);
    let (held, nearest) = nearest(&matches);
    let (grade, action) = match nearest {
        Some(nearest) if held && numbers.holds() => (nearest.grade, Action::Hold),
        Some(nearest) => match nearest.grade {
            Grade::Exact | Grade::Structural => (nearest.grade, Action::Attach),
            Grade::Near | Grade::Borderline => (nearest.grade, Action::Attribute),
            Grade::None => (Grade::None, Action::Allow),
        },
        None => (Grade::None, Action::Allow),
    };
    DuplicateReport {
        schema: DUPLICATE_SCHEMA.to_owned(),
        submission: subject.submission,
        grade,
        action,
        reason: reason(action, nearest),
        family: nearest.map(|nearest| nearest.family),
        closest: closest(&matches),
        thresholds: Thresholds {
            near: numbers.near,
            borderline_low: numbers.borderline_low,
            borderline_high: numbers.borderline_high,
        },
        losses: None,
    }
}

/// Own earlier submissions that one which is held is a tune of, the most alike first: each is as near as `near` in every
/// part that has to be looked at. What an operator said of one of them was said of this one, too.
#[must_use]
pub fn tuned(subject: &Subject<'_>, entries: &[Entry], numbers: &DuplicateNumbers) -> Vec<SubmissionId> {
    let matches = matches(subject, entries, numbers);
    let doubtful: Vec<Part> = doubtful(&matches).map(|one| one.part).collect();
    let hotkey = Some(subject.precedence.hotkey);
    let own: Vec<&Match> = matches.iter().map(|(_, one)| one).filter(|one| one.hotkey == hotkey).collect();
    let near = |id: SubmissionId, part: Part| {
        own.iter().any(|one| (one.submission, one.part) == (id, part) && one.similarity >= numbers.near)
    };
    let mut found = Vec::new();
    for one in own.iter().filter(|one| doubtful.contains(&one.part)) {
        if !found.contains(&one.submission) && doubtful.iter().all(|part| near(one.submission, *part)) {
            found.push(one.submission);
        }
    }
    found
}

/// What is alike and came earlier: what has consequences first, then the most alike, then the oldest.
fn matches(subject: &Subject<'_>, entries: &[Entry], numbers: &DuplicateNumbers) -> Vec<(Precedence, Match)> {
    let mut matches: Vec<(Precedence, Match)> = entries
        .iter()
        .filter(|entry| entry.submission != subject.submission && is_earlier(entry, subject))
        .filter_map(|entry| Some((entry.precedence, compare(subject.fingerprint, entry, numbers)?)))
        .collect();
    excuse(subject, &mut matches, numbers);
    matches.sort_by(|(first, a), (second, b)| {
        let key = |one: &Match| (one.without_consequence.is_none(), one.grade, one.similarity);
        key(b).cmp(&key(a)).then_with(|| (first, a.submission).cmp(&(second, b.submission)))
    });
    matches
}

fn is_earlier(entry: &Entry, subject: &Subject<'_>) -> bool {
    entry.hotkey.is_none() || entry.precedence < subject.precedence
}

/// How alike a part of the subject is; none where it has no such part or nothing is alike.
fn compare(fingerprint: &Fingerprint, entry: &Entry, numbers: &DuplicateNumbers) -> Option<Match> {
    let own = fingerprint.parts.iter().find(|part| part.part == entry.part)?;
    let same_family = fingerprint.family == entry.family;
    let (grade, similarity) = if entry.work == fingerprint.work {
        (Grade::Exact, 1.0)
    } else if own.structure == entry.structure && (own.part == Part::Architecture || same_family) {
        (Grade::Structural, 1.0)
    } else if own.structure == entry.structure {
        (Grade::Near, 1.0)
    } else {
        let similarity = own.sketch.as_ref()?.compact().similarity(entry.sketch.as_ref()?);
        (numbers.grade(similarity, own.part), similarity)
    };
    if grade == Grade::None {
        return None;
    }
    let equal = grade >= Grade::Structural;
    Some(Match {
        submission: entry.submission,
        hotkey: entry.hotkey,
        family: entry.family,
        part: entry.part,
        grade,
        similarity: Finite::new(similarity)?,
        standard_error: Finite::new(if equal { 0.0 } else { Compact::standard_error(similarity) })?,
        without_consequence: None,
    })
}

/// Marks the matches that have no consequence. What is equal to another miner's work is covered only by what is equal as
/// well: something of one's own that is merely alike, or another size of a published architecture, explains no copy.
fn excuse(subject: &Subject<'_>, matches: &mut [(Precedence, Match)], numbers: &DuplicateNumbers) {
    let own = Some(subject.precedence.hotkey);
    let cover = |one: &&(Precedence, Match)| one.1.hotkey.is_none() || one.1.hotkey == own;
    let covers: Vec<(Precedence, Match)> = matches.iter().filter(cover).cloned().collect();
    for (precedence, one) in matches.iter_mut() {
        let covering = covers
            .iter()
            .filter(|(_, other)| other.part == one.part && (one.grade < Grade::Structural || other.grade >= one.grade));
        let excuses = covering.filter_map(|(since, other)| match other.hotkey {
            Some(_) if other.similarity >= numbers.borderline_low && *since < *precedence => Some(Excuse::OwnBefore),
            None if other.similarity >= one.similarity => Some(Excuse::Published),
            _ => None,
        });
        one.without_consequence = match one.hotkey {
            None => None,
            hotkey if hotkey == own => Some(Excuse::Own),
            Some(_) => excuses.min(),
        };
    }
}

/// Whether a part has to be looked at, and the match that decides: that part's, else the nearest of all. A part is looked
/// at when the nearest of what it resembles is borderline and another miner's.
fn nearest(matches: &[(Precedence, Match)]) -> (bool, Option<&Match>) {
    let whole = counted(matches).next();
    if whole.is_some_and(|whole| whole.grade == Grade::Exact) {
        return (false, whole);
    }
    match doubtful(matches).next() {
        Some(doubtful) => (true, Some(doubtful)),
        None => (false, whole),
    }
}

fn counted(matches: &[(Precedence, Match)]) -> impl Iterator<Item = &Match> {
    matches.iter().map(|(_, one)| one).filter(|one| one.without_consequence.is_none())
}

/// For each part that has to be looked at, the match that says so.
fn doubtful(matches: &[(Precedence, Match)]) -> impl Iterator<Item = &Match> {
    let mut by_part: BTreeMap<Part, &Match> = BTreeMap::new();
    for one in counted(matches) {
        by_part.entry(one.part).or_insert(one);
    }
    by_part.into_values().filter(|one| one.grade == Grade::Borderline && one.hotkey.is_some())
}

fn closest(matches: &[(Precedence, Match)]) -> Vec<Match> {
    let mut closest: Vec<Match> = Vec::new();
    for (_, one) in matches {
        if closest.len() < CLOSEST && closest.iter().all(|known| known.submission != one.submission) {
            closest.push(one.clone());
        }
    }
    closest
}

fn reason(action: Action, nearest: Option<&Match>) -> String {
    let Some(nearest) = nearest else { return "resembles nothing on record".into() };
    let part = nearest.part.as_str();
    let whose = match nearest.hotkey {
        Some(hotkey) => format!("submission {} of {hotkey}", nearest.submission.short()),
        None => "a published architecture".to_owned(),
    };
    let family = nearest.family.short();
    let (similarity, error) = (nearest.similarity.get(), nearest.standard_error.get());
    match (action, nearest.grade) {
        (_, Grade::Exact) => {
            format!(
                "all that is run is that of {whose}, which came first: it belongs to family {family}, and equal work adds nothing to the frontier"
            )
        }
        (_, Grade::Structural) => format!("{part} has the structure of {whose}: it belongs to family {family}"),
        (Action::Hold, _) => format!(
            "{part} shares {similarity:.2} ± {error:.2} of its shapes with {whose}, in the band in which an operator looks first"
        ),
        (Action::Allow, _) => "resembles nothing on record".into(),
        (_, _) => format!(
            "{part} shares {similarity:.2} ± {error:.2} of its shapes with {whose}: it comes from family {family}"
        ),
    }
}
