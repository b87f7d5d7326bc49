//! Processor time of threads, as the kernel counts it.
use std::{fs, time::Duration};

/// Processor time that the calling thread has used, from Linux's `schedstat` (nanoseconds, first field); `None` where
/// the kernel does not tell.
pub(super) fn of_this_thread() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_busy_thread_is_charged_and_a_sleeping_one_is_not() {
        let charge = |work: fn()| {
            let thread = std::thread::spawn(move || {
                let before = of_this_thread().unwrap();
                work();
                of_this_thread().unwrap() - before
            });
            thread.join().unwrap()
        };
        let busy = charge(|| {
            let start = Instant::now();
            let mut x = 1.0f64;
            while start.elapsed() < Duration::from_millis(60) {
                x = (x + 1.5).sqrt();
            }
            assert!(x > 0.0);
        });
        let idle = charge(|| std::thread::sleep(Duration::from_millis(60)));
        assert!(busy > idle, "{busy:?} {idle:?}");
    }
}
