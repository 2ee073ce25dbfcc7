//! What systemd is told, if it started the daemon: that it is ready, that it ends, and that it is alive.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::jobs::Jobs;

/// The daemon answers.
pub(super) fn ready() {
    tell(NotifyState::Ready);
}

/// The daemon ends.
pub(super) fn stopping() {
    tell(NotifyState::Stopping);
}

/// Says again and again that the daemon is alive, if systemd wants to hear it.
pub(super) async fn feed_watchdog(jobs: Jobs) {
    if let Some(period) = sd_notify::watchdog_enabled() {
        let alive = || {
            let jobs = jobs.clone();
            async move { jobs.figures().await.is_some() }
        };
        // Where systemd does not come to read, this waits for it, and must not have everything else wait as well.
        let say = || async {
            let said = spawn_blocking(|| tell(NotifyState::Watchdog));
            // The runtime ends.
            let _ = said.await;
        };
        feed(period, alive, say).await;
    }
}

/// Twice a period, as long as whoever owns the jobs answers. If it hangs, nothing is said, and systemd starts the daemon anew.
async fn feed<F, S>(period: Duration, alive: impl Fn() -> F, say: impl Fn() -> S)
where
    F: Future<Output = bool>,
    S: Future<Output = ()>,
{
    let mut ticks = interval((period / 2).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !alive().await {
            return;
        }
        say().await;
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(reason = %error, "systemd cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::watch;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_only_while_the_owner_of_the_jobs_answers() {
        let (answers, fed) = (watch::channel(true).0, AtomicU32::new(0));
        let alive = async || answers.subscribe().wait_for(|it| *it).await.is_ok();
        let say = async || {
            fed.fetch_add(1, Ordering::Relaxed);
        };
        let script = async {
            // Between two beats, which come at 0, 5, 10 seconds ...
            tokio::time::sleep(Duration::from_secs(11)).await;
            assert_eq!(fed.load(Ordering::Relaxed), 3);
            answers.send_replace(false);
            tokio::time::sleep(Duration::from_secs(1000)).await;
            assert_eq!(fed.load(Ordering::Relaxed), 3, "it hangs");
            answers.send_replace(true);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(fed.load(Ordering::Relaxed) > 3, "it is back");
        };
        tokio::select! {
            () = feed(Duration::from_secs(10), alive, say) => panic!("it ended"),
            () = script => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_the_jobs() {
        feed(
            Duration::from_secs(10),
            async || false,
            async || panic!("fed"),
        )
        .await;
    }
}
