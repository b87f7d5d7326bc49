//! Published families in Python. The GPT is the twin of the declared one: it tells what a baseline's work takes here.
use super::GuestPart;
use crate::{bundle::Bundle, review::Review};
use prism_core::{Error, FamilyId};

/// The names of the published families in Python.
pub const NAMES: [&str; 1] = ["gpt-python"];

/// The source of a published family.
#[must_use]
pub fn source(name: &str) -> Option<&'static str> {
    match name {
        "gpt-python" => Some(include_str!("gpt.py")),
        _ => None,
    }
}

/// The architecture of a published family, as a guest receives it.
///
/// # Errors
/// That it breaks a rule which every bundle must keep: tests hold that none does.
pub fn architecture(name: &str) -> Option<Result<(GuestPart, FamilyId), Error>> {
    source(name).map(|source| {
        let review = Review::of(&Bundle::read(source.as_bytes())?, u64::MAX)?;
        match (review.parts.architecture, review.family) {
            (Some(architecture), Some(family)) => Ok((architecture, family)),
            _ => Err(Error::bug(format!("published family {name} has no architecture"))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PlanPolicy;

    #[test]
    fn the_published_families_keep_the_rules_of_every_bundle() {
        for name in NAMES {
            let bundle = Bundle::read(source(name).unwrap().as_bytes()).unwrap();
            let review = Review::of(&bundle, PlanPolicy::default().limits().source_bytes).unwrap();
            assert_eq!(review.proof(), None, "{name}");
            let (architecture, family) = architecture(name).unwrap().unwrap();
            assert_eq!((Some(&architecture), Some(family)), (review.parts.architecture.as_ref(), review.family));
        }
        assert!(architecture("gpt").is_none());
    }
}
