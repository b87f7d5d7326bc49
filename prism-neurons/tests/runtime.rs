//! `prism runtime` from outside, with a real PyTorch: the one in the cache folder, installed on first use.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#[path = "../../tests/support/guest_runtime.rs"]
mod guest_runtime;

use serde_json::Value;
use std::{path::Path, process::Command};

/// Exit code, standard output and standard error of `prism runtime` with this data folder.
fn runtime(data: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prism"));
    let output = command.arg("runtime").args(arguments).arg("--data").arg(data).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn show_says_what_to_do_where_nothing_is_installed() {
    let data = tempfile::tempdir().unwrap();
    for arguments in [&["show"][..], &["show", "--json", "--full"], &["image"]] {
        let (code, out, err) = runtime(data.path(), arguments);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.contains("prism runtime install"), "{err}");
    }
}

#[test]
fn a_program_that_is_no_python_is_refused_by_name() {
    let data = tempfile::tempdir().unwrap();
    let (code, _, err) = runtime(data.path(), &["install", "--python", "/bin/false"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("/bin/false"), "{err}");
    let (code, _, err) = runtime(data.path(), &["install", "--adopt", "/nowhere", "--cpu-stubs"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn an_installed_pytorch_is_found_again_and_works_without_its_cuda_libraries() {
    let installed = guest_runtime::installed();
    installed.verify_contents().unwrap();
    assert!(installed.torch_version.starts_with("2.15.0"), "{installed:?}");

    // The command's own folder is one that leads to the shared one.
    let data = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(guest_runtime::folder(), data.path().join("runtime")).unwrap();
    let python = installed.python.to_str().unwrap();
    let (code, out, err) = runtime(data.path(), &["install", "--json", "--python", python]);
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let (code, out, err) = runtime(data.path(), &["show", "--json"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), report);
    assert_eq!(report["digest"], installed.digest().to_string());
    assert_eq!(report["python"], python);

    // What a guest needs of it, started as a guest is: gradients, an optimizer, and processes that can train together.
    let script = "
import sys
sys.path[:0] = sys.argv[1:]
import torch
torch.manual_seed(0)
layer = torch.nn.Linear(4, 1)
optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
inputs = torch.randn(64, 4)
targets = inputs.sum(1, keepdim=True)
losses = []
for _ in range(100):
    loss = torch.nn.functional.mse_loss(layer(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(losses[-1] < losses[0] / 100, torch.distributed.is_gloo_available())
";
    let mut guest = Command::new(&installed.python);
    guest.args(["-I", "-S", "-B", "-c", script]).args(&installed.search).env_clear().env("OMP_NUM_THREADS", "1");
    guest.env("LD_LIBRARY_PATH", std::env::join_paths(&installed.libraries).unwrap());
    let output = guest.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "True True", "{said}");
}
