//! The factor on the peak rate over a run.
use crate::recipe::Schedule;
use std::f64::consts::PI;

impl Schedule {
    /// The factor for one step, counted from 0, of `steps`.
    ///
    /// The warm-up takes `round(warmup * steps)` steps and ends at 1; the step after it is the first to fall, from 1
    /// towards `floor`, which it would reach one step after the last.
    #[must_use]
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        let (warmup, floor) = match self {
            Self::Constant { warmup } => (warmup.get(), 1.0),
            Self::Cosine { warmup, floor } | Self::Linear { warmup, floor } => (warmup.get(), floor.get()),
        };
        #[allow(clippy::cast_precision_loss)]
        let (step, steps) = (step as f64, steps as f64);
        let warm = (warmup * steps).round().clamp(0.0, steps);
        if step < warm {
            return (step + 1.0) / warm;
        }
        if step >= steps {
            return floor;
        }
        let done = (step - warm) / (steps - warm);
        match self {
            Self::Constant { .. } => 1.0,
            Self::Cosine { .. } => floor + (1.0 - floor) * 0.5 * (1.0 + (PI * done).cos()),
            Self::Linear { .. } => 1.0 - (1.0 - floor) * done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::Finite;

    fn finite(value: f64) -> Finite {
        Finite::new(value).unwrap()
    }

    fn factors(schedule: Schedule) -> Vec<f64> {
        (0..10).map(|step| (schedule.factor(step, 10) * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn constant_rises_over_the_warm_up_and_stays() {
        let schedule = Schedule::Constant { warmup: finite(0.4) };
        assert_eq!(factors(schedule), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn linear_falls_evenly_to_its_floor() {
        let schedule = Schedule::Linear { warmup: finite(0.2), floor: finite(0.2) };
        assert_eq!(factors(schedule), [0.5, 1.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]);
        assert!((schedule.factor(10, 10) - 0.2).abs() < 1e-12);
    }

    #[test]
    fn cosine_is_half_way_down_in_the_middle() {
        let schedule = Schedule::Cosine { warmup: finite(0.0), floor: finite(0.1) };
        let expected = [1.0, 0.977975, 0.914058, 0.814503, 0.689058, 0.55, 0.410942, 0.285497, 0.185942, 0.122025];
        assert_eq!(factors(schedule), expected);
    }

    #[test]
    fn a_warm_up_over_the_whole_run_ends_at_the_peak() {
        let schedule = Schedule::Cosine { warmup: Finite::ONE, floor: Finite::ZERO };
        assert_eq!(factors(schedule), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]);
    }
}
