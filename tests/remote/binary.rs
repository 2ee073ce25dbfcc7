//! The built `wl`, as people run it, against S3.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use wl_test_servers::faults::{Refusal, When, Which};
use wl_test_servers::s3::S3Server;

use crate::trees;
use crate::world::{BUCKET, World, s3_server};

/// A home, a server, and the `wl` that knows its keys from the environment.
pub struct Home {
    pub world: World,
    pub server: S3Server,
}

#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Home {
    pub fn new() -> Self {
        let world = World::new();
        world.folder("a");
        Self {
            world,
            server: s3_server(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.world.at(name)
    }

    pub fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wl"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command
            .args(words)
            .current_dir(self.path(""))
            .env("HOME", self.path(""))
            .env("AWS_ACCESS_KEY_ID", self.server.access_key())
            .env("AWS_SECRET_ACCESS_KEY", self.server.secret_key())
            .env("AWS_REGION", self.server.region())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env_remove("WL_BASE_DIR")
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn words(&self, line: &str) -> Vec<String> {
        let line = line.replace("[ENDPOINT]", &self.server.endpoint());
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// Runs a command line. No output ever holds the secret.
    pub fn run(&self, line: &str) -> Done {
        self.ended(self.command(self.words(line)).output().unwrap())
    }

    pub fn start(&self, line: &str) -> Child {
        self.command(self.words(line)).spawn().unwrap()
    }

    pub fn ended(&self, out: Output) -> Done {
        let done = Done {
            code: out.status.code().expect("no signal"),
            stdout: String::from_utf8(out.stdout).unwrap(),
            stderr: String::from_utf8(out.stderr).unwrap(),
        };
        let text = format!("{done:?}");
        assert!(!text.contains(self.server.secret_key()), "{text}");
        done
    }

    #[track_caller]
    fn ok(&self, line: &str) -> Done {
        let done = self.run(line);
        assert_eq!(done.code, 0, "wl {line}: {done:?}");
        done
    }

    /// Runs a command line that prints one JSON document.
    #[track_caller]
    pub fn json(&self, line: &str) -> (i32, Value) {
        let done = self.run(&format!("--output json {line}"));
        let document = serde_json::from_str(&done.stdout);
        let document = document.unwrap_or_else(|error| panic!("wl {line}: {error}: {done:?}"));
        (done.code, document)
    }
}

pub const SYNC: &str = "sync a s3://bucket/p --target-option endpoint_url=[ENDPOINT]";

/// Fails unless the report fits its schema.
#[track_caller]
pub fn check(report: &Value) {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../schemas/run-report.schema.json"
    );
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults: Vec<_> = validator.iter_errors(report).collect();
    assert!(faults.is_empty(), "{faults:#?}\n{report:#}");
}

#[test]
fn a_url_is_synced_and_says_how_it_went() {
    let home = Home::new();
    trees::write(&home.path("a"), "f", "1");
    home.server.put(BUCKET, "p/g", "2");
    let (code, report) = home.json(SYNC);
    check(&report);
    assert_eq!(
        (code, &report["result"]),
        (0, &"synced".into()),
        "{report:#}"
    );
    assert_eq!(report["target"]["type"], "s3");
    assert!(home.server.get(BUCKET, "p/f").is_some() && home.path("a/g").exists());
    // Both changed it: a conflict is exit code 3.
    trees::write(&home.path("a"), "f", "here");
    home.server.put(BUCKET, "p/f", "there");
    let (code, report) = home.json(SYNC);
    check(&report);
    assert_eq!(
        (code, &report["result"]),
        (3, &"conflicts".into()),
        "{report:#}"
    );
    assert_eq!(report["conflicts"][0]["path"], "f");
    // A problem is exit code 1, conflicts or not.
    home.server.put(BUCKET, "p/x//y", "odd");
    let (code, report) = home.json(SYNC);
    check(&report);
    assert_eq!(
        (code, &report["result"]),
        (1, &"failed".into()),
        "{report:#}"
    );
    // Wrong use is 2.
    assert_eq!(
        home.run(&format!("{SYNC} --target-option colour=red")).code,
        2
    );
    assert_eq!(home.run(&format!("{SYNC} --frobnicate")).code, 2);
}

#[test]
fn a_server_that_refuses_everything_names_what_to_do() {
    let home = Home::new();
    trees::write(&home.path("a"), "f", "1");
    home.ok(SYNC);
    let faults = home.server.faults();
    let fault = faults.refuse(Which::any(), When::Always, Refusal::time_too_skewed());
    let (code, report) = home.json(SYNC);
    check(&report);
    assert_eq!(code, 1, "{report:#}");
    assert!(report.to_string().contains("clock"), "{report:#}");
    assert!(fault.fired() > 0);
    fault.remove();
    home.server.delete_bucket(BUCKET);
    let (code, report) = home.json(SYNC);
    check(&report);
    assert_eq!(code, 1, "{report:#}");
    assert!(
        report
            .to_string()
            .contains("does not exist; check its name")
    );
    home.server.create_bucket(BUCKET);
    home.server.put(BUCKET, "p/f", "1");
    let mut command = home.command(home.words(SYNC));
    command.env("AWS_SECRET_ACCESS_KEY", "not-the-right-one");
    let done = home.ended(command.output().unwrap());
    assert!(done.code == 1, "{done:?}");
    assert!(done.stderr.contains("secret key"), "{done:?}");
    assert!(
        !format!("{done:?}").contains("not-the-right-one"),
        "{done:?}"
    );
    let mut command = home.command(home.words(SYNC));
    command
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env_remove("AWS_ACCESS_KEY_ID");
    let done = home.ended(command.output().unwrap());
    assert!(done.code == 1, "{done:?}");
    assert!(done.stderr.contains("credentials"), "{done:?}");
    home.ok(SYNC);
}

#[test]
fn a_container_with_a_bucket_goes_both_ways() {
    let home = Home::new();
    trees::write(&home.path("a"), "f", "1");
    home.ok("container create notes");
    home.ok("storage create local --container notes --location a");
    home.ok("storage create s3 --container notes --s3-url s3://bucket/p --endpoint-url [ENDPOINT]");
    let (_, list) = home.json("storage list --container notes");
    assert_eq!(list["storages"][1]["cas"], "not probed yet", "{list:#}");
    home.server.put(BUCKET, "p/there", "0");
    home.ok("container sync notes --one-shot --source-storage s3 --target-storage local");
    assert!(home.server.get(BUCKET, "p/f").is_some());
    let (_, list) = home.json("storage list --container notes");
    assert_eq!(list["storages"][1]["cas"], "atomic", "{list:#}");
    home.server.put(BUCKET, "p/g", "2");
    home.ok("container sync notes --one-shot --source-storage local --target-storage s3");
    assert!(home.path("a/g").exists());
    home.server.reset_counts();
    home.ok("container sync notes --one-shot");
    let counts = home.server.counts();
    assert_eq!(
        counts.keys().collect::<Vec<_>>(),
        ["HeadObject", "ListObjectsV2"]
    );
    // The secret is nowhere below the base directory.
    trees::each_file(&home.path(".config"), &mut |path, content| {
        let text = String::from_utf8_lossy(&content);
        assert!(
            !text.contains(home.server.secret_key()),
            "{}",
            path.display()
        );
    });
}

#[test]
fn what_was_replaced_in_a_bucket_comes_back() {
    let home = Home::new();
    trees::write(&home.path("a"), "f", "first");
    trees::write(&home.path("a"), "d/gone", "gone");
    home.ok(SYNC);
    trees::write(&home.path("a"), "f", "second");
    fs::remove_file(home.path("a/d/gone")).unwrap();
    home.ok(SYNC);
    let list = "trash list s3://bucket/p --storage-option endpoint_url=[ENDPOINT]";
    let (code, items) = home.json(list);
    assert_eq!(code, 0);
    let items = items["trash"].as_array().unwrap().clone();
    let id = |path: &str| {
        let item = items.iter().find(|item| item["path"] == path);
        item.unwrap()["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(items.len(), 2, "{items:#?}");
    let restore = |rest: &str| {
        home.run(&format!(
            "trash restore s3://bucket/p --storage-option endpoint_url=[ENDPOINT] {rest}"
        ))
    };
    let done = restore(&id("d/gone"));
    assert_eq!(done.code, 0, "{done:?}");
    let done = restore(&id("f"));
    assert_eq!(done.code, 1, "{done:?}");
    let done = restore(&format!("{} --to old/f", id("f")));
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(home.server.get(BUCKET, "p/f").unwrap().content, "second");
    home.ok(SYNC);
    let read = |path: &str| fs::read_to_string(home.path(path)).unwrap();
    assert_eq!(read("a/d/gone"), "gone");
    assert_eq!(read("a/old/f"), "first");
}

#[test]
fn nothing_of_a_request_is_logged_at_the_lowest_level() {
    let home = Home::new();
    trees::write(&home.path("a"), "f", "1");
    home.server.put(BUCKET, "p/g", "2");
    let done = home.ok(&format!(
        "--log-level trace,hyper=trace,opendal=trace,reqwest=trace,h2=trace {SYNC}"
    ));
    assert!(done.stderr.contains(": pass seconds="), "{done:?}");
    // That it is none of the secret is checked for every command.
    for part in [
        "AWS4-HMAC",
        "ignature",
        "uthorization",
        home.server.access_key(),
    ] {
        assert!(!done.stderr.contains(part), "{part}: {done:?}");
    }
}
