//! A file that changes all the time, in a job that has a conflict as well: it waits for its turn, and everybody can see that.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wl_control::{Client, JobStatus};

use crate::running::{PATIENCE, Running, all, is_settled, job, status};

/// Asks how the job stands until `done`. Its state may stay the same meanwhile, so there is no event to wait for.
async fn until(client: &mut Client, done: impl Fn(&JobStatus) -> bool) -> JobStatus {
    let asking = async {
        loop {
            let job = status(client).await.remove(0);
            if done(&job) {
                return job;
            }
            tokio::task::yield_now().await;
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(job) => job,
        Err(_) => panic!("not done: {:#?}", status(client).await),
    }
}

/// Two folders with a conflict, and a job that follows them.
struct Busy {
    dir: TempDir,
    roots: [PathBuf; 2],
    daemon: Running,
}

impl Busy {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let roots = ["a", "b"].map(|side| top.join(side));
        for root in &roots {
            fs::create_dir(root).unwrap();
            fs::write(root.join("both"), root.as_os_str().as_encoded_bytes()).unwrap();
        }
        let daemon = Running::start(&top.join("base"));
        let mut client = daemon.client().await;
        let mut args = job("busy", &roots[0], &roots[1]);
        for side in ["source", "target"] {
            let storage = args[side].as_object_mut().unwrap();
            storage.remove("watcher-interval").unwrap();
        }
        client.ask("start", args).await.unwrap();
        all(&mut client, is_settled).await;
        Self { dir, roots, daemon }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_all_the_time_waits_and_that_is_told() {
    let Busy { roots, daemon, .. } = &Busy::new().await;
    let mut client = daemon.client().await;
    let log = roots.each_ref().map(|root| root.join("log"));
    let mut version = 0;
    let waits = loop {
        version += 1;
        assert!(version < 20, "each version was sent");
        // As a whole: of a file that is caught empty two versions are carried over.
        let next = roots[0].with_extension("next");
        fs::write(&next, version.to_string()).unwrap();
        fs::rename(&next, &log[0]).unwrap();
        let arrived =
            || fs::read_to_string(&log[1]).is_ok_and(|there| there == version.to_string());
        let job = until(&mut client, |job| job.pending.is_some() || arrived()).await;
        if job.pending.is_some() {
            break job;
        }
    };
    assert!(version > 5, "the first of them go at once");
    assert_eq!(waits.state.1, "1 conflict left, 1 changed path waits");
    let pending = waits.pending.unwrap();
    assert_eq!(
        (pending.count, &*pending.paths),
        (1, &["log".to_owned()][..])
    );
    let listed = json!(status(&mut client).await);
    let agreed = &listed[0]["last-agreement"];
    assert!(agreed.is_null(), "{listed}");

    fs::write(&log[0], "the last").unwrap();
    let job = until(&mut client, |job| job.pending.is_none()).await;
    assert_eq!(job.state.1, "1 conflict left");
    assert_eq!(fs::read_to_string(&log[1]).unwrap(), "the last");
}

/// Another run on the pair has its turn, although the job never comes to rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_never_rests_lets_others_in() {
    let busy = Busy::new().await;
    let done = Arc::new(AtomicBool::new(false));
    let writing = {
        let (root, done) = (busy.roots[0].clone(), Arc::clone(&done));
        std::thread::spawn(move || {
            for number in (0..).take_while(|_| !done.load(SeqCst)) {
                let at = root.join(format!("f{}", number % 1000));
                fs::write(at, number.to_string()).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        })
    };
    let mut client = busy.daemon.client().await;
    until(&mut client, |job| job.done.target_changes > 20).await;
    let ran = Command::new(env!("CARGO_BIN_EXE_wl"))
        .arg("--base-dir")
        .arg(busy.dir.path().join("base"))
        .args(["--output", "json", "sync", "--max-delete", "100%"])
        .args(&busy.roots)
        .output()
        .unwrap();
    done.store(true, SeqCst);
    writing.join().unwrap();
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(report["error"], Value::Null, "{report}");
    // The job takes it up again by itself.
    until(&mut client, |job| job.pending.is_none() && is_settled(job)).await;
}
