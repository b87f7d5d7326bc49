//! The Python side, as it is handed to the sandbox: a read-only folder.
use std::{fs, io, path::Path};

/// Where the runner's folder lies inside.
pub(super) const INSIDE: &str = "/opt/prism";

/// Files of the runner by path.
const FILES: [(&str, &str); 12] = [
    ("main.py", include_str!("runner/main.py")),
    ("prism.py", include_str!("runner/prism.py")),
    ("prism_guest/__init__.py", include_str!("runner/prism_guest/__init__.py")),
    ("prism_guest/channel.py", include_str!("runner/prism_guest/channel.py")),
    ("prism_guest/checkpoint.py", include_str!("runner/prism_guest/checkpoint.py")),
    ("prism_guest/deterministic.py", include_str!("runner/prism_guest/deterministic.py")),
    ("prism_guest/hooks.py", include_str!("runner/prism_guest/hooks.py")),
    ("prism_guest/modules.py", include_str!("runner/prism_guest/modules.py")),
    ("prism_guest/ranks.py", include_str!("runner/prism_guest/ranks.py")),
    ("prism_guest/recipe.py", include_str!("runner/prism_guest/recipe.py")),
    ("prism_guest/session.py", include_str!("runner/prism_guest/session.py")),
    ("prism_guest/state.py", include_str!("runner/prism_guest/state.py")),
];

/// Writes the runner into an empty folder.
pub(super) fn unpack(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder.join("prism_guest"))?;
    FILES.iter().try_for_each(|(path, text)| fs::write(folder.join(path), text))
}
