//! What is shown while runs go on: a line for each event, a bar for all runs and one for each that is going on.
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use prism_core::{Observer, TaskId, observer::Event};
use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
};

/// Progress on standard error: bars on a terminal, plain lines elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    bars: MultiProgress,
    all: ProgressBar,
    runs: Mutex<BTreeMap<TaskId, ProgressBar>>,
    plain: bool,
    quiet: bool,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let bars = MultiProgress::new();
        let all = bars.add(ProgressBar::new(0));
        all.set_style(style("{msg:<22} {wide_bar} {pos}/{len} runs, {elapsed}"));
        let plain = !std::io::stderr().is_terminal();
        Self { bars, all, runs: Mutex::new(BTreeMap::new()), plain, quiet }
    }

    pub(crate) fn say(&self, line: &str) {
        if self.quiet {
            return;
        }
        if self.plain {
            eprintln!("{line}");
        } else {
            // Only a closed terminal can't be written to.
            let _ = self.bars.println(line);
        }
    }

    pub(crate) fn expect_runs(&self, count: usize) {
        self.all.set_message("training");
        self.all.set_length(count as u64);
        self.say(&format!("training and measuring {count} runs"));
    }

    /// Further runs, when the first are done.
    pub(crate) fn expect_more(&self, count: usize) {
        self.all.inc_length(count as u64);
    }

    pub(crate) fn finish(&self) {
        self.all.finish_and_clear();
        for (_, bar) in std::mem::take(&mut *self.runs.lock().unwrap_or_else(PoisonError::into_inner)) {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Progress {
    fn on(&self, event: &Event<'_>) {
        let Event::Progress { task, done, of } = event else { return };
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if done < of {
            let bar = runs.entry(*task).or_insert_with(|| {
                let bar = self.bars.add(ProgressBar::new(*of));
                bar.set_style(style("  run {msg:<16} {wide_bar} {pos}/{len} steps"));
                bar.set_message(task.short());
                bar
            });
            bar.set_position(*done);
        } else if let Some(bar) = runs.remove(task) {
            bar.finish_and_clear();
            self.all.inc(1);
            if self.plain {
                let (position, length) = (self.all.position(), self.all.length().unwrap_or_default());
                drop(runs);
                self.say(&format!("run {} done, {position} of {length}", task.short()));
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
