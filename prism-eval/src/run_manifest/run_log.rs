//! `run_log.jsonl`: what happened in all runs of a submission, one JSON object a line.
use prism_core::{Digest, Evidence, Finite, TaskId, evidence::RunOutcome, plan::RunRole};
use serde::Serialize;

/// Most bytes of a log; what comes after is not written, and a last line says so.
const MAX_BYTES: usize = 16 << 20;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Run { task: TaskId, role: &'a RunRole, seed: Digest, engine: &'a str, device: &'a str },
    Point { task: TaskId, step: u64, tokens: u64, rows: usize, audits: usize, bits_per_byte: Option<Finite> },
    HeldOut { task: TaskId, rows: usize, audits: usize, bits_per_byte: Option<Finite> },
    End { task: TaskId, outcome: &'a RunOutcome, resumed: u32, cpu_millis: u64, gpu_millis: u64 },
    Cut { runs: usize },
}

/// The log of these runs, in their order.
pub(super) fn lines(runs: &[Evidence]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        if bytes.len() > MAX_BYTES {
            push(&mut bytes, &Line::Cut { runs: runs.len() - at });
            break;
        }
        one(run, &mut bytes);
    }
    bytes
}

fn one(run: &Evidence, bytes: &mut Vec<u8>) {
    let task = run.task.id();
    let (role, seed, engine, device) = (&run.task.role, run.task.seed.0, run.engine.as_str(), run.device.as_str());
    push(bytes, &Line::Run { task, role, seed, engine, device });
    for point in &run.points {
        let (step, tokens, rows, audits) = (point.step, point.tokens, point.row_bits.len(), point.audits.len());
        push(bytes, &Line::Point { task, step, tokens, rows, audits, bits_per_byte: point.bits_per_byte() });
    }
    if let Some(point) = &run.held_out {
        let (rows, audits) = (point.row_bits.len(), point.audits.len());
        push(bytes, &Line::HeldOut { task, rows, audits, bits_per_byte: point.bits_per_byte() });
    }
    let (cpu_millis, gpu_millis) = (run.work.cpu_millis, run.work.gpu_millis);
    push(bytes, &Line::End { task, outcome: &run.outcome, resumed: run.resumed, cpu_millis, gpu_millis });
}

fn push(bytes: &mut Vec<u8>, line: &Line<'_>) {
    // Numbers are finite by type: there is no value that JSON can't carry.
    bytes.extend(serde_json::to_vec(line).unwrap_or_default());
    bytes.push(b'\n');
}
