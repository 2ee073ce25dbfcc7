//! Continuous jobs whose root is another one for a while: they rest, and go on by themselves.

use std::fs;
use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wl_control::{EventKind, State};
use wl_daemon::job::{explain, list_conflicts, run_one_shot};
use wl_daemon::model::{Direction, Outcome, Sides, SyncPath};
use wl_daemon::sync::{SyncErrorClass, SyncOptions};
use wl_daemon::{JobSpec, Limits, StorageSpec};

use crate::world::{World, event, state};

const SIDES: [(&str, &str); 2] = [("source", "target"), ("target", "source")];

/// Two folders in sync, and a client that hears of their job.
async fn synced() -> (World, wl_control::Client) {
    let world = World::new().await;
    world.write("source/a", "1");
    let mut client = world.client().await;
    client.ask("start", world.job("j", true)).await.unwrap();
    state(&mut client, "j", State::Synced).await;
    (world, client)
}

fn put_in_place_of(world: &World, root: &str, content: Option<&str>) {
    fs::rename(world.path(root), world.path("away")).unwrap();
    let made = world.path("made");
    fs::create_dir(&made).unwrap();
    if let Some(content) = content {
        fs::write(made.join("other"), content).unwrap();
    }
    // In one step: a look at a folder that is filled meanwhile is another story.
    fs::rename(&made, world.path(root)).unwrap();
}

fn put_back(world: &World, root: &str) {
    fs::rename(world.path(root), world.path("wrong")).unwrap();
    fs::rename(world.path("away"), world.path(root)).unwrap();
}

async fn paused_because(client: &mut wl_control::Client, whys: &[&str]) {
    loop {
        let text = state(client, "j", State::Paused).await;
        if whys.iter().any(|why| text.contains(why)) {
            return;
        }
        // Between two renames there is no root at all, and what was connected before them stays with its folder.
        let on_the_way = ["cannot be opened", "No such file", "put in its place"];
        assert!(on_the_way.iter().any(|why| text.contains(why)), "{text}");
    }
}

#[tokio::test]
async fn a_replaced_root_pauses_its_job_until_the_right_one_is_back() {
    for (root, other) in SIDES {
        let (world, mut client) = synced().await;
        put_in_place_of(&world, root, Some("of another tree"));
        paused_because(&mut client, &["another folder"]).await;
        assert_eq!(world.read(&format!("{other}/a")).as_deref(), Some("1"));
        assert_eq!(world.read(&format!("{other}/other")), None);
        assert_eq!(world.read(&format!("{root}/a")), None);
        // Before it is back: a look that finds it without this tells that all is well.
        world.write("away/b", "2");
        put_back(&world, root);
        state(&mut client, "j", State::Synced).await;
        assert_eq!(world.read(&format!("{other}/b")).as_deref(), Some("2"));
        assert_eq!(world.read("source/a").as_deref(), Some("1"));
        assert!(!world.path(&format!("{other}/other")).exists());
    }
}

/// Nothing can lie beside a file whose name leaves no room for it.
#[tokio::test]
async fn a_file_of_the_longest_name_goes_on_being_synced() {
    let (world, mut client) = synced().await;
    let name = "n".repeat(250);
    for content in ["1", "edited"] {
        world.write(&format!("source/{name}"), content);
        state(&mut client, "j", State::Synced).await;
        assert_eq!(
            world.read(&format!("target/{name}")).as_deref(),
            Some(content)
        );
    }
}

#[tokio::test]
async fn a_root_that_becomes_a_link_to_another_folder_pauses_its_job() {
    for (root, other) in SIDES {
        let (world, mut client) = synced().await;
        std::fs::create_dir(world.path("elsewhere")).unwrap();
        world.write("elsewhere/other", "of another tree");
        let (path, away) = (world.path(root), world.path("away"));
        std::fs::rename(&path, &away).unwrap();
        std::os::unix::fs::symlink(world.path("elsewhere"), &path).unwrap();
        paused_because(&mut client, &["leads elsewhere", "elsewhere"]).await;
        // What would be a conflict there is none of this job's.
        world.write("elsewhere/a", "of another tree");
        for keep in ["source", "target", "both"] {
            let wish = json!({"job-id": "j", "paths": ["a"], "keep": keep});
            let report = client.ask("resolve", wish).await.unwrap();
            assert_eq!(report["error"]["class"], "root-changed", "{report:#}");
            let why = report["error"]["desc"].as_str().unwrap();
            assert!(why.contains("leads elsewhere"), "{why}");
        }
        assert_eq!(
            world.read("elsewhere/a").as_deref(),
            Some("of another tree")
        );
        std::fs::remove_file(world.path("elsewhere/a")).unwrap();
        assert_eq!(world.read(&format!("{other}/a")).as_deref(), Some("1"));
        assert_eq!(world.read(&format!("{other}/other")), None);
        assert_eq!(world.read("elsewhere/a"), None);
        world.write("away/b", "2");
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&away, &path).unwrap();
        state(&mut client, "j", State::Synced).await;
        assert_eq!(world.read(&format!("{other}/b")).as_deref(), Some("2"));
        assert_eq!(world.read(&format!("{other}/other")), None);
    }
}

/// Two folders in sync, one of them by a path with a link in it.
async fn synced_by_link(root: &str, link: &str, watched: bool) -> (World, wl_control::Client) {
    let world = World::new().await;
    for folder in ["right", "wrong"] {
        fs::create_dir_all(world.path(folder).join("below")).unwrap();
    }
    world.write("right/below/a", "1");
    world.write("wrong/below/other", "of another tree");
    lead(&world, link, "right");
    let mut client = world.client().await;
    let mut job = world.job("j", true);
    job[root]["location"] = json!(world.path("way/below"));
    if watched {
        for side in ["source", "target"] {
            let storage = job[side].as_object_mut().unwrap();
            storage.remove("watcher-interval").unwrap();
        }
    }
    client.ask("start", job).await.unwrap();
    state(&mut client, "j", State::Synced).await;
    (world, client)
}

/// Has `way/below` lead to `below` in a folder, by a link above it or at its end.
fn lead(world: &World, link: &str, to: &str) {
    let target = match link {
        "way" => world.path(to),
        _ => world.path(to).join("below"),
    };
    let parent = world.path(link).parent().unwrap().to_owned();
    fs::create_dir_all(parent).unwrap();
    let made = world.path("made");
    std::os::unix::fs::symlink(target, &made).unwrap();
    fs::rename(made, world.path(link)).unwrap();
}

/// The folder that is followed stays as it is, and says nothing.
#[tokio::test]
async fn a_link_that_leads_elsewhere_pauses_its_job_until_it_is_put_back() {
    let follow = async |root: &'static str, other: &str, link: &str, watched: bool| {
        let (world, mut client) = synced_by_link(root, link, watched).await;
        lead(&world, link, "wrong");
        let text = state(&mut client, "j", State::Paused).await;
        assert!(text.contains("a symbolic link?"), "{text}");
        world.write("right/below/b", "2");
        world.write(&format!("{other}/c"), "3");
        // It was tried again.
        let text = state(&mut client, "j", State::Paused).await;
        for said in [
            "a folder of this job leads elsewhere",
            "put back what was there",
            "run once with `--one-shot --accept-new-filesystem`",
            "another pair of storages",
        ] {
            assert!(text.contains(said), "{text}");
        }
        for untouched in ["wrong/below/a", "wrong/below/c", "right/below/c"] {
            assert_eq!(world.read(untouched), None);
        }
        for untouched in ["other", "b"] {
            assert_eq!(world.read(&format!("{other}/{untouched}")), None);
        }
        lead(&world, link, "right");
        state(&mut client, "j", State::Synced).await;
        assert_eq!(world.read(&format!("{other}/b")).as_deref(), Some("2"));
        assert_eq!(world.read("right/below/c").as_deref(), Some("3"));
        assert_eq!(world.read(&format!("{other}/other")), None);
    };
    tokio::join!(
        follow("source", "target", "way", true),
        follow("target", "source", "way/below", true),
        follow("source", "target", "way/below", false),
        follow("target", "source", "way", false),
    );
}

/// What a single run of the job's storages is.
fn once(world: &World, root: &str) -> JobSpec {
    let local = |name: &str| StorageSpec::local(world.path(name).to_str().unwrap());
    let storage = |side: &str| local(if side == root { "way/below" } else { side });
    JobSpec {
        storages: Sides::new(storage("source"), storage("target")),
        options: SyncOptions::new(Direction::TwoWay),
        limits: Limits::default(),
        continuous: false,
        base_dir: world.base(),
    }
}

/// A run of its own remembers what the job has seen, and the job what the run accepted.
#[tokio::test]
async fn a_link_that_leads_elsewhere_is_so_for_runs_beside_the_job_until_one_accepts_it() {
    for ((root, other), link) in SIDES.into_iter().zip(["way", "way/below"]) {
        let (world, mut client) = synced_by_link(root, link, false).await;
        let mut spec = once(&world, root);
        let cancel = CancellationToken::new;
        lead(&world, link, "wrong");
        let text = state(&mut client, "j", State::Paused).await;
        assert!(text.contains("a symbolic link?"), "{text}");
        let report = run_one_shot(&spec, Arc::default(), cancel()).await;
        let path = SyncPath::new("a").unwrap();
        let explained = explain(&spec, &path, cancel()).await;
        let looked = list_conflicts(&spec, true, Arc::default(), cancel()).await;
        let refused = [
            report.error.unwrap().into(),
            explained.err().unwrap(),
            looked.err().unwrap(),
        ];
        for error in refused {
            assert_eq!(error.class, SyncErrorClass::RootChanged, "{error}");
            for folder in ["right/below", "wrong/below"] {
                let folder = world.path(folder);
                assert!(error.desc.contains(folder.to_str().unwrap()), "{error}");
            }
        }
        assert_eq!(world.read(&format!("{other}/other")), None);
        assert_eq!(world.read("wrong/below/a"), None);
        spec.options.accept_new_filesystem = true;
        let report = run_one_shot(&spec, Arc::default(), cancel()).await;
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        state(&mut client, "j", State::Synced).await;
        world.write("wrong/below/b", "2");
        state(&mut client, "j", State::Synced).await;
        assert_eq!(world.read(&format!("{other}/b")).as_deref(), Some("2"));
        // That is where the job is now.
        lead(&world, link, "right");
        let text = state(&mut client, "j", State::Paused).await;
        assert!(text.contains("a symbolic link?"), "{text}");
        assert_eq!(world.read("right/below/b"), None);
    }
}

/// Nobody was there to see it happen.
#[tokio::test]
async fn a_root_that_became_a_link_while_no_daemon_ran_pauses_its_job() {
    for (root, other) in SIDES {
        let (mut world, _client) = synced().await;
        world.end().await;
        fs::create_dir(world.path("elsewhere")).unwrap();
        world.write("elsewhere/other", "of another tree");
        let (path, away) = (world.path(root), world.path("away"));
        fs::rename(&path, &away).unwrap();
        std::os::unix::fs::symlink(world.path("elsewhere"), &path).unwrap();
        world.start().await;
        let mut client = world.client().await;
        // It may be told before anybody hears it, and is told once.
        client.ask("subscribe", json!({"since": 0})).await.unwrap();
        paused_because(&mut client, &["leads elsewhere"]).await;
        assert_eq!(world.read(&format!("{other}/other")), None);
        assert_eq!(world.read("elsewhere/a"), None);
    }
}

async fn paused_before_it_synced(client: &mut wl_control::Client) -> String {
    loop {
        let event = event(client, "j", EventKind::State).await;
        let now = event.fields["state"].clone();
        match serde_json::from_value(now).unwrap() {
            (State::Paused, text) => return text,
            (state, text) => assert_ne!(state, State::Synced, "{text}"),
        }
    }
}

/// It is the same sync, which was interrupted: nobody has said that it is to be another one.
#[tokio::test]
async fn a_job_that_is_started_anew_is_refused_what_a_single_run_is_until_one_accepts_it() {
    for ((root, other), link) in SIDES.into_iter().zip(["way", "way/below"]) {
        let (mut world, mut client) = synced_by_link(root, link, false).await;
        client.ask("stop", json!({"job-id": "j"})).await.unwrap();
        lead(&world, link, "wrong");
        let mut job = world.job("j", true);
        job[root]["location"] = json!(world.path("way/below"));
        job["options"] = json!({"mirror": true});
        let mut spec = once(&world, root);
        spec.options.direction = Direction::Mirror;
        client.ask("start", job).await.unwrap();
        let is_refused = async |client: &mut wl_control::Client, world: &World| {
            let text = paused_before_it_synced(client).await;
            let report = run_one_shot(&spec, Arc::default(), CancellationToken::new()).await;
            assert_eq!(text, report.error.unwrap().desc);
            assert!(text.contains("led to"), "{text}");
            let wish = json!({"job-id": "j", "paths": ["a"], "keep": "source"});
            let report = client.ask("resolve", wish).await.unwrap();
            assert_eq!(report["error"]["class"], "root-changed", "{report:#}");
            assert_eq!(world.read(&format!("{other}/a")).as_deref(), Some("1"));
            assert_eq!(world.read(&format!("{other}/other")), None);
            assert_eq!(world.read("wrong/below/a"), None);
        };
        is_refused(&mut client, &world).await;
        world.end().await;
        world.start().await;
        let mut client = world.client().await;
        // It may be told before anybody hears it, and is told once.
        client.ask("subscribe", json!({"since": 0})).await.unwrap();
        is_refused(&mut client, &world).await;
        let mut accepts = once(&world, root);
        accepts.options.accept_new_filesystem = true;
        let report = run_one_shot(&accepts, Arc::default(), CancellationToken::new()).await;
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        client.ask("resume", json!({"job-id": "j"})).await.unwrap();
        state(&mut client, "j", State::Synced).await;
        world.end().await;
        world.start().await;
        let mut client = world.client().await;
        client.ask("subscribe", json!({"since": 0})).await.unwrap();
        state(&mut client, "j", State::Synced).await;
        assert_eq!(
            world.read(&format!("{other}/other")).as_deref(),
            Some("of another tree")
        );
    }
}

#[tokio::test]
async fn a_replaced_root_that_one_run_accepts_is_the_jobs_root_from_then_on() {
    for (root, other) in SIDES {
        let (world, mut client) = synced().await;
        put_in_place_of(&world, root, Some("of another tree"));
        paused_because(&mut client, &["another folder"]).await;
        let mut options = SyncOptions::new(Direction::TwoWay);
        options.accept_new_filesystem = true;
        let local = |name: &str| StorageSpec::local(world.path(name).to_str().unwrap());
        let spec = JobSpec {
            storages: Sides::new(local("source"), local("target")),
            options,
            limits: Limits::default(),
            continuous: false,
            base_dir: world.base(),
        };
        // The job looks from time to time whether its root is back, and has the pair for that moment.
        let report = loop {
            let report = run_one_shot(&spec, Arc::default(), CancellationToken::new()).await;
            match &report.error {
                Some(error) if error.class == "locked" => tokio::task::yield_now().await,
                _ => break report,
            }
        };
        assert_eq!(report.result, Outcome::Synced, "{report:?}");
        state(&mut client, "j", State::Synced).await;
        for side in [root, other] {
            assert_eq!(world.read(&format!("{side}/a")).as_deref(), Some("1"));
            assert!(world.read(&format!("{side}/other")).is_some());
        }
    }
}

/// It is no refusal, which programs would have to look for elsewhere.
#[tokio::test]
async fn what_keeps_a_resolve_from_its_work_stands_in_its_report() {
    for (root, _) in SIDES {
        let (world, mut client) = synced().await;
        let job = json!({"job-id": "j"});
        client.ask("pause", job).await.unwrap();
        fs::rename(world.path(root), world.path("away")).unwrap();
        let wish = json!({"job-id": "j", "paths": ["a"], "keep": "source"});
        let report = client.ask("resolve", wish).await.unwrap();
        assert_eq!(report["result"], "failed", "{report:#}");
        assert_eq!(report["error"]["class"], "root-unavailable", "{report:#}");
        let location = report[root]["location"].as_str().unwrap();
        assert!(location.ends_with(root), "{report:#}");
    }
}

#[tokio::test]
async fn a_root_made_anew_and_empty_pauses_its_job_and_nothing_is_deleted() {
    for (root, other) in SIDES {
        let (world, mut client) = synced().await;
        put_in_place_of(&world, root, None);
        paused_because(&mut client, &["lists nothing"]).await;
        assert_eq!(world.read(&format!("{other}/a")).as_deref(), Some("1"));
        world.write(&format!("{root}/other"), "of another tree");
        paused_because(&mut client, &["another folder"]).await;
        assert_eq!(world.read(&format!("{other}/a")).as_deref(), Some("1"));
        put_back(&world, root);
        state(&mut client, "j", State::Synced).await;
        assert_eq!(world.read(&format!("{root}/a")).as_deref(), Some("1"));
        assert_eq!(world.read(&format!("{other}/other")), None);
    }
}

/// A trailing slash, `..`, a link: which folders they are is known once they are reached.
#[tokio::test]
async fn the_same_two_folders_under_other_names_are_the_first_jobs() {
    let (world, mut client) = synced().await;
    std::os::unix::fs::symlink("target", world.path("link")).unwrap();
    let spelled = |name: &str| crate::world::local(&world.path(name));
    for (source, target) in [
        ("source/", "target/../target"),
        ("source", "link"),
        ("link", "source/."),
    ] {
        let mut other = world.job("k", true);
        other["source"] = spelled(source);
        other["target"] = spelled(target);
        client.ask("start", other).await.unwrap();
        let text = state(&mut client, "k", State::Error).await;
        for said in ["`j`", "same two storages", "stop"] {
            assert!(text.contains(said), "{text}");
        }
        let stop = serde_json::json!({ "job-id": "k" });
        client.ask("stop", stop).await.unwrap();
    }
    world.write("source/b", "2");
    state(&mut client, "j", State::Synced).await;
}
