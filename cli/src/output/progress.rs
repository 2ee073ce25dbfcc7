//! The progress line: files, bytes, rate, time left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use wl_daemon::sync::{Phase, Progress, ProgressView};

use super::human::bytes;

/// Draws the line five times a second until `done`, then takes it away.
pub async fn draw(progress: Arc<Progress>, done: CancellationToken) {
    let started = Instant::now();
    let mut ticks = interval(Duration::from_millis(200));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // Work that is done at once shows nothing.
    ticks.tick().await;
    loop {
        tokio::select! {
            () = done.cancelled() => break,
            _ = ticks.tick() => super::stderr(&drawn(&line(progress.view(), started.elapsed()))),
        }
    }
    super::stderr("\r\x1b[K");
}

/// The line over the one before. While it is written the terminal does not wrap: where it is too narrow the end is cut off, and
/// the next line still finds the place.
fn drawn(line: &str) -> String {
    format!("\r\x1b[?7l{line}\x1b[K\x1b[?7h")
}

/// The line; short enough for 80 columns.
fn line(view: ProgressView, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let mut line = match view.phase {
        Phase::Comparing => format!("{} compared, ", view.seen),
        Phase::Finishing | Phase::Done => String::new(),
    };
    line += &format!(
        "{} of {} changes, {} of {}",
        view.files_done,
        // Folders are found as they are made.
        view.files_found.max(view.files_done),
        bytes(view.bytes_done),
        bytes(view.bytes_found)
    );
    if view.bytes_done > 0 {
        let rate = view.bytes_done as f64 / seconds;
        line += &format!(", {}/s", bytes(rate as u64));
        // While listings run the end is not known.
        if view.phase == Phase::Finishing {
            let left = view.bytes_found.saturating_sub(view.bytes_done) as f64 / rate;
            line += &format!(", {} left", time(left));
        }
    }
    line
}

fn time(seconds: f64) -> String {
    match seconds.ceil() as u64 {
        s @ 0..=99 => format!("{s} s"),
        s @ 100..=5999 => format!("{} min", s.div_ceil(60)),
        s => format!("{} h", s.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(phase: Phase) -> ProgressView {
        ProgressView {
            phase,
            seen: 123_456,
            files_found: 5000,
            files_done: 1000,
            bytes_found: 40 << 20,
            bytes_done: 10 << 20,
        }
    }

    #[test]
    fn the_time_left_is_told_once_the_end_is_known() {
        assert_eq!(
            line(view(Phase::Comparing), Duration::from_secs(5)),
            "123456 compared, 1000 of 5000 changes, 10.0 MiB of 40.0 MiB, 2.0 MiB/s"
        );
        assert_eq!(
            line(view(Phase::Finishing), Duration::from_secs(5)),
            "1000 of 5000 changes, 10.0 MiB of 40.0 MiB, 2.0 MiB/s, 15 s left"
        );
    }

    #[test]
    fn no_more_is_done_than_was_found() {
        let all = ProgressView {
            files_done: 5300,
            ..view(Phase::Finishing)
        };
        let line = line(all, Duration::from_secs(5));
        assert!(line.starts_with("5300 of 5300 changes"), "{line}");
    }

    #[test]
    fn a_narrow_terminal_cuts_the_line() {
        assert_eq!(drawn("line"), "\r\x1b[?7lline\x1b[K\x1b[?7h");
    }

    #[test]
    fn times_are_rounded_up() {
        assert_eq!(time(0.2), "1 s");
        assert_eq!(time(100.0), "2 min");
        assert_eq!(time(7200.0), "2 h");
    }
}
