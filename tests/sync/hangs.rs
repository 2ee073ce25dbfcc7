//! A storage hangs, or is slow, under a job that goes on, and watchers say what the test makes up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use wl_core::model::{Direction, Side, Sides};
use wl_core::storage::{Area, Observation, StorageWatcher};
use wl_core::sync::{News, NewsSender, SyncJob, Syncer, SyncerType};
use wl_core::testing::{Call, Observer, When, observe};
use wl_syncers::General;

use crate::watched::{Watcher, path};
use crate::world::{World, read};

const A_SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Quick,
    /// It takes two seconds for whatever it is asked.
    Slow,
    /// It answers nothing until it is quick again.
    Hangs,
}

#[derive(Debug)]
struct Moody {
    mood: watch::Sender<Mood>,
    /// So many calls hung.
    hung: watch::Sender<u32>,
    heard: Mutex<Option<UnboundedReceiver<Observation>>>,
}

impl Observer for Moody {
    fn watch(&self) -> Option<Box<dyn StorageWatcher>> {
        Some(Box::new(Watcher(self.heard.lock().unwrap().take()?)))
    }

    fn pause(&self, when: When, _: &Call) -> Option<BoxFuture<'static, ()>> {
        let mut mood = self.mood.subscribe();
        let now = *mood.borrow();
        match (when, now) {
            (When::After, _) | (_, Mood::Quick) => None,
            (When::Before, Mood::Slow) => Some(sleep(2 * A_SECOND).boxed()),
            (When::Before, Mood::Hangs) => {
                self.hung.send_modify(|hung| *hung += 1);
                Some(async move { drop(mood.wait_for(|mood| *mood == Mood::Quick).await) }.boxed())
            }
        }
    }
}

/// A job that goes on, and what it tells.
struct Following {
    world: World,
    syncer: General,
    target: Arc<Moody>,
    say: UnboundedSender<Observation>,
    news: mpsc::Receiver<News>,
}

impl Following {
    /// In sync, with the watcher of the source at the test's hands; the target is polled every `poll`.
    async fn synced(poll: Duration) -> Self {
        let world = World::new();
        world.storages.source.write_file("first", "1").unwrap();
        let moody = |heard| {
            Arc::new(Moody {
                mood: watch::channel(Mood::Quick).0,
                hung: watch::channel(0).0,
                heard: Mutex::new(heard),
            })
        };
        let (say, heard) = unbounded_channel();
        let (source, target) = (moody(Some(heard)), moody(None));
        let (told, news) = mpsc::channel(1000);
        let mut job = SyncJob {
            poll: Sides::new(None, Some(poll)),
            news: NewsSender::to(told),
            ..world.job(World::options(Direction::TwoWay))
        };
        job.storages = Sides::new(
            observe(job.storages.source, source),
            observe(job.storages.target, Arc::clone(&target) as _),
        );
        let syncer = General::create(job);
        syncer.start_sync().await.unwrap();
        let mut following = Self {
            world,
            syncer,
            target,
            say,
            news,
        };
        following
            .until(|news| matches!(news, News::Looked(_)))
            .await;
        following
    }

    /// Somebody writes to the source, and its watcher says so.
    fn change(&self, name: &str) {
        self.world.storages[Side::Source]
            .write_file(name, "new")
            .unwrap();
        let area = Area::path(path(name));
        self.say
            .send(Observation::Look { area, cursor: None })
            .unwrap();
    }

    fn target_is(&self, mood: Mood) {
        self.target.mood.send_replace(mood);
    }

    /// What is told, up to this.
    async fn until(&mut self, wanted: impl Fn(&News) -> bool) -> Vec<News> {
        let mut all = Vec::new();
        while !all.last().is_some_and(&wanted) {
            let news = timeout(600 * A_SECOND, self.news.recv()).await;
            all.push(news.expect("nothing is told").unwrap());
        }
        all
    }

    /// The names that are told to wait, and how long that took.
    async fn until_pending(&mut self) -> (Vec<String>, Duration) {
        let began = Instant::now();
        let all = self.until(|news| matches!(news, News::Pending(_))).await;
        let Some(News::Pending(pending)) = all.last() else {
            unreachable!()
        };
        let names = pending.first.iter().map(|path| path.as_str().to_owned());
        (names.collect(), began.elapsed())
    }

    /// It is told that the target does not answer, and nothing else; once that is over and it is told that nothing is pending any more, all is
    /// in sync.
    async fn is_silent_and_comes_to_be_in_sync(&mut self) {
        let silent = self.until(|news| matches!(news, News::Silent(_))).await;
        assert_eq!(silent.len(), 1, "{silent:?}");
        self.target_is(Mood::Quick);
        let withdrawn = |news: &News| matches!(news, News::Pending(pending) if !pending.is_some());
        self.until(withdrawn).await;
        let Sides { source, target } = self.world.storages.clone();
        assert_eq!(read(&source), read(&target));
        self.syncer.stop_sync().await.unwrap();
    }
}

fn is_pending(news: &News) -> bool {
    matches!(news, News::Pending(_) | News::Silent(_))
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_told_is_owned_up_to_while_its_look_hangs() {
    let mut following = Following::synced(3600 * A_SECOND).await;
    following.change("quick");
    let quick = following
        .until(|news| matches!(news, News::Looked(_)))
        .await;
    assert!(!quick.iter().any(is_pending), "{quick:?}");
    following.target_is(Mood::Hangs);
    following.change("a");
    let (names, took) = following.until_pending().await;
    assert!(names == ["a"] && took <= 2 * A_SECOND, "{names:?} {took:?}");
    // And so is what comes meanwhile.
    following.change("b");
    let (names, took) = following.until_pending().await;
    assert!(
        names == ["a", "b"] && took <= A_SECOND,
        "{names:?} {took:?}"
    );
    following.is_silent_and_comes_to_be_in_sync().await;
}

/// What was held open is let go of after two seconds without a look, and nobody heard the watchers as long as that hung.
#[tokio::test(start_paused = true)]
async fn a_change_is_owned_up_to_while_the_run_comes_to_rest_on_a_storage_that_hangs() {
    let mut following = Following::synced(3600 * A_SECOND).await;
    following.change("quick");
    following
        .until(|news| matches!(news, News::Looked(_)))
        .await;
    following.target_is(Mood::Hangs);
    let mut hung = following.target.hung.subscribe();
    hung.wait_for(|hung| *hung == 1).await.unwrap();
    following.change("a");
    let (names, took) = following.until_pending().await;
    assert!(names == ["a"] && took <= 2 * A_SECOND, "{names:?} {took:?}");
    following.is_silent_and_comes_to_be_in_sync().await;
}

/// Where changes are only looked for every so often, none is known of: such a look may take its time.
#[tokio::test(start_paused = true)]
async fn a_slow_look_that_nothing_was_told_for_is_no_change() {
    let mut following = Following::synced(10 * A_SECOND).await;
    following.target_is(Mood::Slow);
    sleep(300 * A_SECOND).await;
    following.syncer.stop_sync().await.unwrap();
    let mut all = Vec::new();
    while let Ok(news) = following.news.try_recv() {
        all.push(news);
    }
    let slow = |news: &News| match news {
        News::Watching(health) => health.target.mode.contains("as a look takes"),
        _ => false,
    };
    assert!(all.iter().any(slow), "{all:?}");
    assert!(!all.iter().any(is_pending), "{all:?}");
}
