//! Attacks from inside the sandboxes: each asserts on the outcome and on the host afterwards.
//!
//! `cargo test --test sandbox_attacks [FILTER]`; a filter is part of `BACKEND::NUMBER NAME`. The table that is printed at the
//! end is also written to the file that `PRISM_ATTACK_TABLE` names.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]
mod attacks;

fn main() -> std::process::ExitCode {
    prism_eval::sandbox::launcher::enter();
    attacks::main()
}
