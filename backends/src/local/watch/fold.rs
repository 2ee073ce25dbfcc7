//! When to say what has come together.

use std::time::Duration;

use tokio::time::Instant;

/// Events of so long are said together, unless all was quiet before.
pub(super) const WINDOW: Duration = Duration::from_millis(5);
/// As long as that becomes while events keep coming.
pub(super) const LONGEST: Duration = Duration::from_millis(100);
/// With more events than this in one window there is load.
const LOAD: u64 = 16;

/// The window. What comes after a quiet time goes at once; what comes soon after that, together.
#[derive(Debug)]
pub(super) struct Fold {
    window: Duration,
    said: Option<Instant>,
}

impl Fold {
    pub(super) fn new() -> Self {
        Self {
            window: WINDOW,
            said: None,
        }
    }

    /// What is there now may be said at this time. It does not move because more comes: nothing waits for a file that is written to
    /// all the time.
    pub(super) fn due(&self) -> Option<Instant> {
        self.said.map(|said| said + self.window)
    }

    /// It was said, and was made of so many events.
    pub(super) fn said(&mut self, now: Instant, events: u64) {
        let load = events > LOAD && self.said.is_some_and(|said| now - said <= 2 * self.window);
        self.window = match load {
            true => (2 * self.window).min(LONGEST),
            false => WINDOW,
        };
        self.said = Some(now);
    }
}
