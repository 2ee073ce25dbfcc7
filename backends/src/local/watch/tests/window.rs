//! When what was seen is said, on a controlled clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, advance, timeout};
use wl_core::storage::{Area, Observation};

use super::fake::text;
use crate::local::tests::kit::p;
use crate::local::watch::drive::Shared;
use crate::local::watch::fold::{Fold, LONGEST, WINDOW};
use crate::local::watch::{How, Watching};

/// A watcher whose events the test makes up.
struct Line {
    watching: Watching,
    fold: Fold,
}

impl Line {
    fn new() -> Self {
        let watching = Watching {
            how: How::Inotify,
            shared: Arc::new(Shared::default()),
            driver: tokio::spawn(std::future::pending()),
            dropped: 0,
        };
        Self {
            watching,
            fold: Fold::new(),
        }
    }

    fn seen(&self, path: &str) {
        let mut news = self.watching.shared.lock();
        news.area.add_path(p(path));
        news.events += 1;
        drop(news);
        self.watching.shared.arrived.notify_one();
    }

    async fn next(&mut self) -> Observation {
        self.watching.next(&mut self.fold).await.unwrap()
    }

    async fn said(&mut self) -> String {
        text(&self.next().await.into_area())
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_quiet_time_a_path_goes_at_once() {
    let mut line = Line::new();
    for _ in 0..3 {
        advance(WINDOW).await;
        line.seen("a");
        let start = Instant::now();
        assert_eq!(line.said().await, "a |");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_soon_after_is_said_together_and_not_later_than_the_window() {
    let mut line = Line::new();
    line.seen("a");
    line.said().await;
    let start = Instant::now();
    line.seen("b");
    // A file that is written to all the time does not put it off.
    for _ in 0..4 {
        assert!(timeout(WINDOW / 5, line.next()).await.is_err());
        line.seen("c");
    }
    assert_eq!(line.said().await, "b c |");
    assert!(start.elapsed() <= WINDOW + Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn under_load_the_window_stretches_up_to_its_limit_and_shrinks_when_it_is_over() {
    let mut line = Line::new();
    let mut gaps = Vec::new();
    for _ in 0..8 {
        for number in 0..100 {
            line.seen(&number.to_string());
        }
        let start = Instant::now();
        line.next().await;
        gaps.push(start.elapsed().as_millis());
    }
    assert_eq!(gaps[..6], [0, 5, 10, 20, 40, 80]);
    assert!(
        gaps[6..].iter().all(|&gap| gap == LONGEST.as_millis()),
        "{gaps:?}"
    );
    line.seen("a");
    line.next().await;
    advance(WINDOW).await;
    line.seen("a");
    let start = Instant::now();
    line.next().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn one_change_after_the_other_is_no_load() {
    let mut line = Line::new();
    for _ in 0..100 {
        for _ in 0..5 {
            line.seen("a");
        }
        let start = Instant::now();
        line.next().await;
        assert!(start.elapsed() <= WINDOW);
        advance(Duration::from_millis(6)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_loses_nothing() {
    let mut line = Line::new();
    line.seen("a");
    line.said().await;
    line.seen("b");
    assert!(
        timeout(Duration::from_millis(1), line.next())
            .await
            .is_err()
    );
    line.seen("c");
    assert_eq!(line.said().await, "b c |");
    assert!(timeout(Duration::from_secs(1), line.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_said_with_all_that_was_seen_beside_it() {
    let mut line = Line::new();
    line.seen("a");
    {
        let mut news = line.watching.shared.lock();
        news.gap = true;
        news.area = Area::Everything;
    }
    let said = line.next().await;
    assert!(matches!(
        said,
        Observation::Gap {
            area: Area::Everything,
            ..
        }
    ));
    line.seen("b");
    assert_eq!(line.said().await, "b |");
}

#[tokio::test(start_paused = true)]
async fn when_nobody_takes_events_any_more_it_says_so() {
    let mut line = Line::new();
    line.watching.driver.abort();
    assert!(line.watching.next(&mut line.fold).await.is_err());
}
