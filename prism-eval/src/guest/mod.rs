//! Python in a sandbox, playing the same game as everything else: see [`Player`](crate::player::Player).
pub mod bundle;
pub mod runtime;

pub use bundle::{GuestBundle, GuestBundleError, GuestPart, GuestParts};
pub use runtime::Runtime;
