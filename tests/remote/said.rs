//! What users are told when a remote storage is not what they meant, with the built `wl`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use wl_daemon::model::Outcome;
use wl_test_servers::sftp::SftpServer;
use wl_test_servers::webdav::WebDavServer;

use crate::binary::{Done, Home, SYNC, check};
use crate::places::Place;
use crate::sftp::sftp;
use crate::trees;
use crate::world::{BUCKET, World, local, refused, s3, s3_server, synced};

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

impl Home {
    fn run_with(&self, line: &str, variables: &[(&str, &str)]) -> Done {
        let mut command = self.command(line.split_whitespace());
        for (name, value) in variables {
            match value.is_empty() {
                true => command.env_remove(name),
                false => command.env(name, value),
            };
        }
        self.ended(command.output().unwrap())
    }

    fn private(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn a_source_that_does_not_exist_is_refused_and_nothing_is_made_there() {
    let world = World::new();
    let folder = world.folder("a");
    trees::write(&folder, "f", "1");
    let before = trees::read(&folder);
    let (bucket, dav) = (s3_server(), WebDavServer::start_blocking());
    let there = world.folder("b");
    let ssh = SftpServer::start(&there).unwrap();
    let (mistyped, right) = (there.join("tpyo"), there.join("right"));
    let url = format!("{}tpyo", dav.url());
    for (spec, made) in [
        (s3(&bucket, "tpyo"), "--allow-empty"),
        (
            wl_daemon::StorageSpec::new("webdav", serde_json::json!({"url": url})),
            "make the folder",
        ),
        (sftp(&ssh, &mistyped), "make the folder"),
    ] {
        for dry_run in [true, false] {
            let mut options = World::options();
            options.dry_run = dry_run;
            let report = world.run(&spec, &local(&folder), options);
            let desc = refused(&report, "root-unavailable");
            assert!(
                desc.contains("tpyo") && desc.contains("does not exist"),
                "{desc}"
            );
            assert!(
                desc.contains(made) && desc.contains("name it as the target"),
                "{desc}"
            );
        }
        // As a target it is made.
        synced(&world.sync(&local(&folder), &spec));
        assert_eq!(trees::read(&folder), before);
        // It has a baseline now; what is gone later is an emptied root.
        synced(&world.sync(&spec, &local(&folder)));
    }
    assert!(mistyped.join("f").exists() && !right.exists());
}

#[test]
fn an_empty_source_that_exists_is_no_mistake() {
    let world = World::new();
    let folder = world.folder("a");
    trees::write(&folder, "f", "1");
    let (bucket, dav) = (s3_server(), WebDavServer::start_blocking());
    // A bucket's root, a folder's marker, a folder.
    bucket.put(BUCKET, "marked/", "");
    for spec in [
        s3(&bucket, ""),
        s3(&bucket, "marked"),
        Place::webdav(&dav, "p").spec,
    ] {
        synced(&world.sync(&spec, &local(&folder)));
    }
    let daring = World::options();
    let daring = wl_daemon::sync::SyncOptions {
        allow_empty: true,
        ..daring
    };
    synced(&world.run(&s3(&bucket, "meant"), &local(&folder), daring));
    assert!(bucket.get(BUCKET, "meant/f").is_some());
}

/// Runs a line that is refused for its credentials: one class and one code, whatever the type.
fn refused_for_credentials(home: &Home, line: &str, variables: &[(&str, &str)], words: &str) {
    let done = home.run_with(&format!("--output json {line}"), variables);
    let report: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    check(&report);
    assert_eq!(
        report["error"]["class"], "credentials",
        "{line}: {report:#}"
    );
    assert_eq!(done.code, 1, "{line}: {done:?}");
    let desc = report["error"]["desc"].as_str().unwrap();
    assert!(desc.contains(words), "{line}: {desc}");
    assert!(
        !desc.contains("quite-wrong") && !desc.contains(".wl"),
        "{line}: {desc}"
    );
}

/// A home with something to send.
fn sender() -> Home {
    let home = Home::new();
    trees::write(&home.path("a"), "f", "1");
    home
}

#[test]
fn wrong_credentials_of_s3_are_class_credentials() {
    let home = sender();
    let open = home.path("open.json");
    fs::write(&open, "{}").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let secret = &[("AWS_SECRET_ACCESS_KEY", "quite-wrong")][..];
    let none = &[("AWS_SECRET_ACCESS_KEY", ""), ("AWS_ACCESS_KEY_ID", "")][..];
    let endpoint = home.server.endpoint();
    let file = |name: &str| format!(" --target-option credentials_file={name}");
    for (options, variables, words) in [
        (String::new(), secret, "secret key"),
        (String::new(), none, "AWS_ACCESS_KEY_ID"),
        (" --target-option profile=none".to_owned(), none, "profile"),
        (file("/none"), none, "/none"),
        (file(open.to_str().unwrap()), none, "chmod 600"),
    ] {
        let line = format!("sync a s3://bucket/p --target-option endpoint_url={endpoint}{options}");
        refused_for_credentials(&home, &line, variables, words);
    }
}

#[test]
fn wrong_credentials_of_webdav_are_class_credentials() {
    let home = sender();
    let dav = WebDavServer::builder()
        .basic_auth("ann", "right")
        .start_blocking();
    let wrong = r#"{"login": "ann", "password": "quite-wrong"}"#;
    let wrong = home.private("wrong.json", wrong);
    let url = dav.url().replace("http://", "webdav://");
    for (options, words) in [
        (String::new(), "credentials"),
        (
            format!(" --target-option credentials_file={wrong}"),
            "credentials",
        ),
        (
            " --target-option credentials_file=/none".to_owned(),
            "/none",
        ),
    ] {
        refused_for_credentials(&home, &format!("sync a {url}{options}"), &[], words);
    }
}

#[test]
fn wrong_keys_of_ssh_are_class_credentials() {
    let home = sender();
    let there = home.world.folder("b");
    let ssh = SftpServer::start(&there).unwrap();
    let config = fs::read_to_string(ssh.ssh_config()).unwrap();
    let at = format!(
        "sftp://{}@127.0.0.1:{}{}",
        ssh.user(),
        ssh.port(),
        there.display()
    );
    for (option, words) in [
        ("UserKnownHostsFile", "host key"),
        ("IdentityFile", "ssh-add"),
    ] {
        let config = home.private("config", &swapped(&config, option, "/dev/null"));
        let line = format!("sync a {at} --target-option ssh_config={config}");
        refused_for_credentials(&home, &line, &[], words);
    }
}

#[test]
fn what_cannot_be_understood_is_wrong_usage_whatever_the_type() {
    let home = sender();
    for line in [
        "sync a s3://bucket/p --target-option endpoint_url=ftp://h",
        "sync a s3://bucket/../p",
        "sync a s3://bucket/p --target-option region",
        // The environment has a key, and would win.
        "sync a s3://bucket/p --target-option profile=default",
        "sync a webdav://h/?x=1",
        "sync a webdav://ann:pass@h/",
        "sync a sftp://",
    ] {
        let (code, report) = home.json(line);
        assert_eq!(
            (code, &report["error"]["class"]),
            (2, &"usage".into()),
            "{line}: {report:#}"
        );
    }
}

/// An ssh configuration in which `option` has another value.
fn swapped(config: &str, option: &str, value: &str) -> String {
    let lines = config
        .lines()
        .map(|line| match line.trim_start().starts_with(option) {
            true => format!("{option} {value}"),
            false => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn a_server_that_cannot_be_reached_is_named_and_so_is_the_proxy() {
    let home = Home::new();
    trees::write(&home.path("a"), "f", "1");
    let (gone, proxy) = (nobody(), nobody());
    let through = format!("http://ann:hush@{proxy}");
    let s3 = format!("sync a s3://bucket/p --target-option endpoint_url=http://{gone}");
    let dav = format!("sync a webdav://{gone}/p");
    for (line, place) in [(&s3, "s3://bucket/p"), (&dav, &*gone)] {
        for proxied in [false, true] {
            let variables = match proxied {
                true => &[("HTTP_PROXY", &*through), ("NO_PROXY", "")][..],
                false => &[("HTTP_PROXY", ""), ("http_proxy", "")][..],
            };
            let done = home.run_with(line, variables);
            assert_eq!(done.code, 1, "{done:?}");
            let said = &done.stderr;
            assert!(
                said.contains("connecting to") && said.contains(place),
                "{said}"
            );
            assert!(!said.contains(".wl") && !said.contains("hush"), "{said}");
            let names = said.contains(&format!("proxy {proxy} that HTTP_PROXY names"));
            assert_eq!(names, proxied, "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert_eq!(done.stdout, "", "nothing was done");
        }
    }
}

#[test]
fn a_run_with_problems_does_not_call_itself_synced() {
    let home = Home::new();
    trees::write(&home.path("a"), "f", "1");
    home.server.put(BUCKET, "p/x//y", "odd");
    let done = home.run(SYNC);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(
        done.stdout.starts_with("Not in sync, 1 problem: "),
        "{done:?}"
    );
    assert!(!done.stdout.contains("Synced"), "{done:?}");
}

#[test]
fn a_grade_that_a_local_folder_cannot_have_is_explained() {
    let world = World::new();
    let (a, server) = (world.folder("a"), s3_server());
    let mut options = World::options();
    options.require_cas = wl_daemon::storage::CasGrade::Atomic;
    let report = world.run(&local(&a), &s3(&server, "p"), options.clone());
    let desc = refused(&report, "weak-cas");
    for words in [
        "/a is `recoverable`, the most that a local folder can be",
        "is `atomic`",
        "--require-cas recoverable",
    ] {
        assert!(desc.contains(words), "{desc}");
    }
    // One way only the target is written.
    options.direction = wl_daemon::model::Direction::OneWay;
    let report = world.run(&local(&a), &s3(&server, "p"), options);
    assert_eq!(report.result, Outcome::Synced, "{report:#?}");
}
