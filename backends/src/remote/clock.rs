//! The clock that limits and retries go by.

use std::time::Duration;

use tokio::time::Instant;

/// Time since the connection was made.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    started: Instant,
    /// A clock for tests: whoever sleeps moves it on.
    #[cfg(test)]
    pretended: Option<std::sync::Arc<std::sync::Mutex<Duration>>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            #[cfg(test)]
            pretended: None,
        }
    }
}

impl Clock {
    #[cfg(test)]
    pub(super) fn pretended() -> Self {
        Self {
            pretended: Some(std::sync::Arc::default()),
            ..Self::default()
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        #[cfg(test)]
        if let Some(now) = &self.pretended {
            return *now.lock().unwrap();
        }
        self.started.elapsed()
    }

    pub(super) async fn sleep(&self, pause: Duration) {
        #[cfg(test)]
        if let Some(now) = &self.pretended {
            *now.lock().unwrap() += pause;
            return tokio::task::yield_now().await;
        }
        tokio::time::sleep(pause).await;
    }
}
