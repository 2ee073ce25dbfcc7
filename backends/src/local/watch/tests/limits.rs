//! With too few watches: still right, only slower, and it says so.

use std::fs;
use std::sync::Arc;

use tokio::time::Instant;
use wl_core::storage::{
    Area, NoFilter, Observation, POLL_INTERVAL, Rhythm, StorageBackend, StorageWatcher,
    WatchRequest,
};

use super::fake::{Fake, text};
use super::namespace::{inside_namespaces, is_inside};
use super::real::{PATIENCE, next, until};
use crate::local::tests::kit::{Lab, p};
use crate::local::watch::drive::Shared;
use crate::local::watch::fold::Fold;
use crate::local::watch::limits::{Limit, handles_last, silent};
use crate::local::watch::machine::MOST_POLLED;
use crate::local::watch::words::Why;
use crate::local::watch::{
    How, LocalWatcher, Marks, Place, RETRY_SELDOM, Retry, State, Watching, Way,
};

const LIMIT: &str = "/proc/sys/user/max_inotify_watches";
const INSTANCES: &str = "/proc/sys/user/max_inotify_instances";

#[test]
fn what_is_beyond_the_limit_is_polled_and_counted() {
    let fake = Fake::default();
    fake.0.lock().unwrap().most = Some(3);
    let mut core = fake.core_of("a=2 b=3 c=4 c/d=5 c/no=8 c/d/e=6 f=7");
    let unwatched = core.unwatched();
    assert_eq!((unwatched.folders, unwatched.of), (4, 7), "{unwatched:?}");
    // With room again the rest is watched, and said once more.
    fake.0.lock().unwrap().most = None;
    core.watches.retry();
    core.set_up(&|| true);
    assert_eq!(core.unwatched().area, Area::default());
    assert_eq!(core.watches.places().len(), 7);
    let Area::Parts(said) = core.watches.take().area else {
        panic!("everything");
    };
    assert!(!said.subtrees().is_empty());
}

#[test]
fn without_room_another_try_changes_nothing() {
    let fake = Fake::default();
    fake.0.lock().unwrap().most = Some(2);
    let mut core = fake.core_of("a=2 b=3 b/c=4 d=5");
    let before = core.unwatched();
    let version = core.watches.version();
    core.watches.retry();
    core.set_up(&|| true);
    assert_eq!(core.unwatched(), before);
    assert_eq!(core.watches.version(), version);
    assert!(core.watches.take().area.is_empty());
}

/// One that is refused again and again stands in nobody's way, wherever it is among those that wait.
#[test]
fn who_goes_on_being_refused_holds_up_nobody() {
    for stubborn in ["a", "b", "d"] {
        let fake = Fake::default();
        let all = ["a", "b", "c", "d"].map(p);
        fake.0.lock().unwrap().refused.extend(all);
        let mut core = fake.core_of("a=2 b=3 c=4 c/x=5 d=6");
        assert_eq!(core.watches.polled().len(), 4);
        fake.0.lock().unwrap().refused = [p(stubborn)].into();
        let looks = fake.0.lock().unwrap().looks;
        core.watches.retry();
        core.set_up(&|| true);
        let left: Vec<_> = core.watches.polled().keys().cloned().collect();
        assert_eq!(left, [p(stubborn)]);
        assert_eq!(fake.0.lock().unwrap().looks - looks, 5, "each once");
    }
}

/// What is refused comes first, and the limit is reached at the second: the others are not even tried.
#[test]
fn at_the_limit_one_try_is_enough() {
    let fake = Fake::default();
    fake.0.lock().unwrap().most = Some(1);
    fake.0.lock().unwrap().refused.insert(p("a"));
    let mut core = fake.core_of("a=2 b=3 c=4 d=5");
    let looks = fake.0.lock().unwrap().looks;
    core.watches.retry();
    core.set_up(&|| true);
    assert_eq!(fake.0.lock().unwrap().looks - looks, 2);
}

#[test]
fn a_polled_folder_that_is_removed_or_moved_is_not_polled_any_more() {
    let fake = Fake::default();
    fake.0.lock().unwrap().silent.insert(p("a/m"));
    let mut core = fake.core_of("a=2 a/m=3");
    assert_eq!(core.unwatched().area, Area::subtree(p("a/m")));
    fake.set("");
    core.watches.event(&super::table::event("1 DELETE|ISDIR a"));
    core.set_up(&|| true);
    assert!(core.unwatched().area.is_empty());
}

#[test]
fn where_handles_do_not_last_nothing_is_marked() {
    let (ext4, vfat, exfat, nfs) = (0xef53, 0x4d44, 0x2011_bab0, 0x6969);
    assert!(handles_last(ext4));
    assert!(![vfat, exfat, nfs].into_iter().any(handles_last));
    // As a system may give a number whose highest bit of 32 is set.
    assert!(handles_last(i64::from(0xf2f5_2010_u32 as i32)));
}

#[test]
fn very_many_of_them_are_told_as_everything_and_found_again() {
    let fake = Fake::default();
    fake.0.lock().unwrap().most = Some(1);
    let tree: Vec<String> = (0..MOST_POLLED + 10)
        .map(|n| format!("d{n}={}", n + 2))
        .collect();
    let mut core = fake.core_of(&tree.join(" "));
    let unwatched = core.unwatched();
    assert_eq!(unwatched.area, Area::Everything);
    assert_eq!(unwatched.folders, MOST_POLLED as u64 + 10);
    core.watches.retry();
    core.set_up(&|| true);
    assert_eq!(core.unwatched().folders, MOST_POLLED as u64 + 10);
    fake.0.lock().unwrap().most = None;
    core.watches.retry();
    core.set_up(&|| true);
    assert!(core.unwatched().area.is_empty());
    assert_eq!(core.watches.places().len(), MOST_POLLED + 11);
    core.publish(&Shared::default());
}

/// A watcher that knows of these subtrees that they are not watched.
fn half_blind(subtrees: &[&str]) -> (Lab, LocalWatcher) {
    let lab = Lab::new();
    let shared = Arc::new(Shared::default());
    for subtree in subtrees {
        let mut news = shared.lock();
        news.unwatched.area.add_subtree(p(subtree));
        news.unwatched.why = Some(Why::Silent("nfs"));
    }
    let driver = tokio::spawn(std::future::pending());
    let watcher = LocalWatcher {
        place: Place {
            spot: Arc::clone(&lab.backend.spot),
            filter: Arc::new(NoFilter),
            only: None,
        },
        state: State::Watching(Watching {
            how: How::Inotify,
            shared,
            driver,
            dropped: 0,
        }),
        fold: Fold::new(),
        rhythm: Rhythm::new(POLL_INTERVAL),
        retry: Retry::new(),
        marks: Marks::Untried,
        way: Way::new(),
    };
    (lab, watcher)
}

#[tokio::test(start_paused = true)]
async fn events_that_were_dropped_are_told_with_the_limit_to_raise() {
    let (_lab, mut watcher) = half_blind(&[]);
    for (times, told) in [
        (0, "inotify"),
        (
            1,
            "inotify; once events were dropped, and everything was looked at: the limit fs.inotify.max_queued_events (",
        ),
        (
            2,
            "inotify; 2 times events were dropped, and everything was looked at: the limit fs.inotify.max_queued_events (",
        ),
    ] {
        if times > 0 {
            let State::Watching(watching) = &watcher.state else {
                panic!("it is watched");
            };
            {
                let mut news = watching.shared.lock();
                news.area = Area::Everything;
                news.gap = true;
            }
            watching.shared.arrived.notify_one();
            let said = watcher.next().await.unwrap();
            assert!(matches!(said, Observation::Gap { .. }), "{said:?}");
        }
        let mode = watcher.health().mode;
        assert!(mode.starts_with(told), "{mode}");
        assert_eq!(
            mode.contains("sudo sysctl fs.inotify.max_queued_events="),
            times > 0
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_watched_is_polled_every_interval_and_more_often_where_something_changes() {
    let (_lab, mut watcher) = half_blind(&["a", "b"]);
    let health = watcher.health();
    assert_eq!(health.worst_delay, POLL_INTERVAL);
    assert!(
        health
            .mode
            .ends_with("polled every 10 s: nfs sends no events"),
        "{health:?}"
    );
    let start = Instant::now();
    let said = watcher.next().await.unwrap().into_area();
    assert_eq!(
        (text(&said).as_str(), start.elapsed()),
        ("| a b", POLL_INTERVAL)
    );
    // What is watched is not polled whatever happens there.
    let mut acted = Area::path(p("a/x/f"));
    acted.add_path(p("w/y"));
    watcher.acted(&acted);
    let start = Instant::now();
    let said = watcher.next().await.unwrap().into_area();
    assert_eq!(
        (text(&said).as_str(), start.elapsed().as_secs()),
        ("| a/x", 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_root_without_events_is_polled_and_tried_again_ever_less_often() {
    let (lab, mut watcher) = half_blind(&[]);
    drop(lab);
    watcher.poll_for(Why::Silent("nfs"));
    let health = watcher.health();
    assert_eq!(health.mode, "poll every 10 s (nfs sends no events)");
    assert_eq!(health.worst_delay, POLL_INTERVAL);
    let start = Instant::now();
    watcher.acted(&Area::path(p("a/f")));
    let said = watcher.next().await.unwrap().into_area();
    assert_eq!(
        (text(&said).as_str(), start.elapsed().as_secs()),
        ("| a", 0)
    );
    while watcher.next().await.unwrap().into_area() != Area::Everything {}
    assert_eq!(start.elapsed(), POLL_INTERVAL);
    // The folder of this test is not there: that is found out by the attempts, and said.
    let mode = watcher.health().mode;
    let reason = "poll every 10 s (the folder cannot be opened: No such file or directory";
    assert!(mode.starts_with(reason), "{mode}");
    while start.elapsed().as_secs() < 600 {
        watcher.next().await.unwrap();
    }
    assert_eq!(watcher.retry.wait, RETRY_SELDOM);
}

#[tokio::test(start_paused = true)]
async fn another_folder_at_the_root_is_told_and_the_right_one_is_watched_again() {
    let (lab, mut watcher) = half_blind(&[]);
    let root = lab.at("");
    let away = root.with_extension("away");
    fs::rename(&root, &away).unwrap();
    fs::create_dir(&root).unwrap();
    watcher.poll_for(Why::Refused("for the test".to_owned()));
    for _ in 0..3 {
        let said = watcher.next().await.unwrap();
        assert!(matches!(said, Observation::Look { .. }), "{said:?}");
    }
    let mode = watcher.health().mode;
    assert!(
        mode.contains("(another folder was put in its place"),
        "{mode}"
    );
    assert!(watcher.polls());
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    let start = Instant::now();
    loop {
        if let Observation::Gap { area, .. } = watcher.next().await.unwrap() {
            assert_eq!(area, Area::Everything);
            break;
        }
        assert!(start.elapsed() <= RETRY_SELDOM, "it is not watched again");
    }
    assert_eq!(watcher.health().mode, "inotify");
}

#[tokio::test]
async fn setting_up_can_be_given_up_and_begun_anew() {
    let lab = Lab::new();
    lab.write("a/b/f", b"1");
    let request = WatchRequest {
        filter: Arc::new(NoFilter),
    };
    let set_up = lab.backend.watcher(request.clone());
    let given_up = tokio::time::timeout(std::time::Duration::ZERO, set_up).await;
    drop(given_up);
    assert!(lab.backend.watcher(request).await.unwrap().is_some());
}

#[test]
fn file_systems_without_events_are_known_by_their_numbers() {
    assert_eq!(silent(0x6969), Some("nfs"));
    assert_eq!(silent(0x0102_1997), Some("9p"));
    // As a 32-bit number with its highest bit set, and as the same number extended.
    assert_eq!(silent(0xff53_4d42), Some("cifs"));
    assert_eq!(silent(i64::from(0xff53_4d42_u32 as i32)), Some("cifs"));
    assert_eq!(silent(0xef53), None);
    assert_eq!(silent(0x0102_1994), None);
}

#[test]
fn a_limit_says_the_command_that_raises_it_and_by_enough() {
    let limit = |now| Limit {
        name: "fs.inotify.max_user_watches",
        now,
        better: 524_288,
    };
    assert_eq!(
        limit(Some(8192)).text(),
        "the limit fs.inotify.max_user_watches (8192) is reached; raise it with: sudo sysctl fs.inotify.max_user_watches=524288"
    );
    assert!(limit(Some(600_000)).text().ends_with("=1200000"));
    assert!(limit(None).text().contains("max_user_watches is reached"));
}

/// The command that is told raises the limit that is the lower one.
#[test]
fn a_limit_of_watchers_is_named_with_the_command_that_raises_it() {
    for (number, inside) in [(0, "none"), (1, "one")] {
        let prepare = format!("echo {number} > {INSTANCES}");
        inside_namespaces("-Ur", &prepare, &format!("limits::inside_with_{inside}"));
    }
}

async fn mode_at_the_limit(number: u64) -> String {
    let lab = Lab::new();
    let request = WatchRequest {
        filter: Arc::new(NoFilter),
    };
    let mut watchers = Vec::new();
    for _ in 0..=number {
        let watcher = lab.backend.watcher(request.clone()).await;
        watchers.push(watcher.unwrap().unwrap());
    }
    watchers.pop().unwrap().health().mode
}

/// Run by the test above.
#[tokio::test]
async fn inside_with_none() {
    if is_inside() {
        assert_eq!(
            mode_at_the_limit(0).await,
            "poll every 10 s (the limit user.max_inotify_instances (0) is reached; raise it with: sudo sysctl \
             user.max_inotify_instances=1024)"
        );
    }
}

/// Run by the test above.
#[tokio::test]
async fn inside_with_one() {
    if is_inside() {
        let mode = mode_at_the_limit(1).await;
        assert!(mode.contains("user.max_inotify_instances (1)"), "{mode}");
    }
}

/// In a namespace of its own, where the limit can be set: 100 watches for 212 folders.
#[test]
fn a_real_limit_is_named_with_the_command_that_raises_it() {
    let inside = "limits::inside_with_few_watches";
    inside_namespaces("-Ur", &format!("echo 100 > {LIMIT}"), inside);
}

/// Run by the test above.
#[tokio::test]
async fn inside_with_few_watches() {
    if !is_inside() {
        return;
    }
    let lab = Lab::new();
    for number in 0..211 {
        fs::create_dir_all(lab.at(&format!("{}/{number}", number % 4))).unwrap();
    }
    let request = WatchRequest {
        filter: Arc::new(NoFilter),
    };
    let mut watcher = lab.backend.watcher(request).await.unwrap().unwrap();
    let health = watcher.health();
    assert_eq!(
        health.mode,
        "inotify, 116 of 216 folders polled every 10 s: the limit user.max_inotify_watches (100) is reached; raise \
         it with: sudo sysctl user.max_inotify_watches=524288"
    );
    assert_eq!(health.worst_delay.as_secs(), 10);
    let all: Vec<String> = (0..211).map(|n| format!("{}/{n}/f", n % 4)).collect();
    for path in &all {
        fs::write(lab.at(path), b"1").unwrap();
    }
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    // When the limit is raised all is watched, without being told, and what was missed meanwhile is said.
    fs::write(LIMIT, "10000").unwrap();
    until(&mut watcher, &all).await;
    let watched = async {
        while watcher.health().mode != "inotify" {
            next(&mut watcher).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, watched).await;
    ended.expect("some of it is still polled");
}
