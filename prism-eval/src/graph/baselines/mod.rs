//! Published baseline families: what a submission is measured against, at the same sizes.
//!
//! All are 64 wide and 2 deep, those with attention with 4 heads, times the factors of the context: small enough for one processor core.
use super::{GraphError, GraphSpec};

/// The families' names, as a `training_for_arch` may give them in `architecture_id`.
pub const NAMES: [&str; 3] = ["gpt", "llama", "recurrent"];

/// The submitted form of a family's document.
#[must_use]
pub fn document(name: &str) -> Option<&'static str> {
    match name {
        "gpt" => Some(include_str!("gpt.graph.yaml")),
        "llama" => Some(include_str!("llama.graph.yaml")),
        "recurrent" => Some(include_str!("recurrent.graph.yaml")),
        _ => None,
    }
}

/// A published family; none of another name exists.
///
/// # Errors
/// The documents are part of this crate and parse; see [`GraphSpec::read`].
pub fn spec(name: &str) -> Option<Result<GraphSpec, GraphError>> {
    document(name).map(|text| GraphSpec::read(text.as_bytes(), "baseline.graph.yaml"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Context, Limits, cost, family};

    #[test]
    fn every_family_resolves_and_grows_with_its_factors() {
        let limits = Limits::default();
        for name in NAMES {
            let spec = spec(name).unwrap().unwrap();
            let base = Context::new(256, 64);
            let graph = spec.resolve(&base, &limits).unwrap();
            assert_eq!(cost::layers(&graph), 2, "{name}");
            let wide = spec.resolve(&Context { width_factor: 2, ..base }, &limits).unwrap();
            let deep = spec.resolve(&Context { depth_factor: 2, ..base }, &limits).unwrap();
            assert!(cost::parameters(&wide) > 3 * cost::parameters(&graph), "{name}");
            assert_eq!(cost::layers(&deep), 4, "{name}");
            assert_ne!(family(&graph), family(&wide));
        }
        assert!(spec("other").is_none());
    }

    #[test]
    fn sizes_are_those_of_the_papers_formulas() {
        let (d, v, t, l) = (64_u64, 256, 64, 2);
        let context = Context::new(256, 64);
        let resolve = |name| spec(name).unwrap().unwrap().resolve(&context, &Limits::default()).unwrap();
        // Tables, then per block four projections, two MLP matrices, their biases and two norms, then the last norm.
        let gpt = d * v + d * t + l * (4 * d * d + 8 * d * d + (4 + 4 + 1) * d + 4 * d) + 2 * d;
        assert_eq!(cost::parameters(&resolve("gpt")), gpt);
        let hidden = 176;
        let llama = 2 * d * v + l * (4 * d * d + 3 * d * hidden + 2 * d) + d;
        assert_eq!(cost::parameters(&resolve("llama")), llama);
        let matrices = l * (4 * d * d + 8 * d * d) + d * v;
        assert_eq!(cost::flops_per_token(&resolve("gpt")), 6 * matrices + 12 * l * d * t);
    }
}
