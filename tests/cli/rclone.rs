//! Storages from rclone's configuration. The secrets in the fixture are all some form of `hush`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Home, source};

/// Parts of the secrets in the fixture, plain and obscured.
const SECRETS: [&str; 5] = ["hush", "hEvVxUD1", "AVrb4Yna", "AJZPUsY", "aHVzaA"];

fn with_config() -> Home {
    let home = Home::new();
    fs::create_dir_all(home.path(".config/rclone")).unwrap();
    let conf = home.path(".config/rclone/rclone.conf");
    fs::copy(source("tests/cli/fixtures/rclone.conf"), conf).unwrap();
    home.ok("container create photos");
    home
}

fn everything_below(folder: &std::path::Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(Result::unwrap)
    {
        let path = entry.path();
        text += &match path.is_dir() {
            true => everything_below(&path),
            false => String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(),
        };
    }
    text
}

#[test]
fn a_local_folder_and_an_alias_are_taken() {
    let home = with_config();
    home.ok("storage create --from-rclone disk:a --container photos");
    home.ok("storage create --from-rclone here:relative --container photos --backend-id here");
    let (_, list) = home.json("storage list");
    assert_eq!(list["storages"][0]["location"], "/media/disk/a");
    assert_eq!(list["storages"][0]["backend-id"], "local-1");
    assert_eq!(
        list["storages"][1]["location"],
        home.path("relative").to_str().unwrap()
    );
    assert_eq!(list["storages"][1]["backend-id"], "here");
}

#[test]
fn every_remote_is_taken_or_refused_without_a_secret_in_sight() {
    let home = with_config();
    for (remote, type_name) in [
        ("minio:photos/2024", "s3"),
        ("pics:", "s3"),
        ("wasabi:b", "s3"),
        ("cloud:", "webdav"),
        ("box:a", "sftp"),
        ("oldftp:a", "ftp"),
        ("az:c", "azblob"),
        ("azsas:photos", "azblob"),
        ("web:", "http"),
        ("boxpass:", ""),
        ("secret:", ""),
        ("both:", ""),
        ("gone:", ""),
    ] {
        let line =
            format!("storage create --from-rclone {remote} --container photos --backend-id x");
        let done = home.run(&line);
        let told = format!("{}{}", done.stdout, done.stderr);
        let manifests = everything_below(&home.base().join("containers"));
        for secret in SECRETS {
            assert!(!told.contains(secret), "{remote}: {told}");
            assert!(!manifests.contains(secret), "{remote}: {manifests}");
        }
        if type_name.is_empty() || !home.has_type(type_name) {
            assert_eq!(done.code, 2, "{remote}: {done:?}");
            assert!(!home.base().join("credentials").exists(), "{remote}");
            let feature = format!("the cargo feature `{type_name}`");
            assert!(
                type_name.is_empty() || told.contains(&feature),
                "{remote}: {told}"
            );
            continue;
        }
        assert_eq!(done.code, 0, "{remote}: {done:?}");
        for line in ["storage list", "--output json storage list"] {
            let shown = home.ok(line).stdout;
            assert!(
                SECRETS.iter().all(|secret| !shown.contains(secret)),
                "{shown}"
            );
        }
        let file = home.base().join("credentials/photos.x.json");
        if let Ok(meta) = file.metadata() {
            assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{remote}");
        }
        home.ok("storage delete x --container photos");
        assert!(!file.exists(), "{remote}");
        let _ = fs::remove_dir(home.base().join("credentials"));
    }
}

#[test]
fn what_is_not_carried_over_is_told_on_stderr() {
    let home = with_config();
    let conf = "[d]\ntype = local\nencoding = Slash\nnounc = true\ncase_sensitive = false\n";
    fs::write(home.path("other.conf"), conf).unwrap();
    let line = "storage create --from-rclone d:/a --container photos --rclone-config other.conf";
    let done = home.ok(line);
    assert!(
        done.stderr.contains("note: rclone's setting `encoding`"),
        "{done:?}"
    );
    assert!(done.stderr.contains("`nounc`"), "{done:?}");
    assert!(!done.stderr.contains("case_sensitive"), "{done:?}");
    assert!(!done.stdout.contains("note"), "{done:?}");
}

#[test]
fn the_configuration_is_found_or_asked_for() {
    let home = Home::new();
    home.ok("container create photos");
    let line = "storage create --from-rclone d:/a --container photos";
    let done = home.run(line);
    assert_eq!(done.code, 2);
    assert!(
        done.stderr.contains(".config/rclone/rclone.conf"),
        "{done:?}"
    );
    assert!(done.stderr.contains("--rclone-config"), "{done:?}");
    fs::write(home.path(".rclone.conf"), "[d]\ntype = local\n").unwrap();
    home.ok(line);
    fs::write(home.path("e.conf"), "[e]\ntype = local\n").unwrap();
    let out = home
        .command()
        .env("RCLONE_CONFIG", home.path("e.conf"))
        .args("storage create --from-rclone e:/b --container photos".split(' '))
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    let encrypted = "# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nhush\n";
    fs::write(home.path("x.conf"), encrypted).unwrap();
    let done = home.run(&format!("{line} --rclone-config x.conf"));
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("is encrypted"), "{done:?}");
    assert!(!done.stderr.contains("hush"), "{done:?}");
    // What the message advises.
    let piped = format!("{line} --rclone-config /dev/stdin --backend-id piped");
    let done = home.fed(&piped, "[d]\ntype = local\n");
    assert_eq!(done.code, 0, "{done:?}");
}

#[test]
fn a_wrong_call_is_told_before_anything_is_read() {
    let home = Home::new();
    home.ok("container create photos");
    for (line, words) in [
        ("storage create --from-rclone a:b", "--container"),
        (
            "storage create --from-rclone a:b --container nothing",
            "the containers are: photos",
        ),
        ("storage create --container photos", "name a TYPE"),
        (
            "storage create --rclone-config x local --container photos --location /a",
            "behind its TYPE",
        ),
        (
            "storage create --from-rclone a:b local --container photos --location /a",
            "give one of them",
        ),
    ] {
        let done = home.run(line);
        assert_eq!(done.code, 2, "{line}: {done:?}");
        assert!(done.stderr.contains(words), "{line}: {done:?}");
    }
}

/// What an installed rclone writes today is understood; without rclone there is nothing to compare with.
#[test]
fn what_an_installed_rclone_writes_is_read() {
    let home = Home::new();
    home.ok("container create photos");
    let conf = home.path("made.conf");
    let made = Command::new("rclone")
        .args([
            "--config",
            conf.to_str().unwrap(),
            "config",
            "create",
            "--non-interactive",
        ])
        .args(["d", "alias", "remote=/media/disk"])
        .env("HOME", home.path(""))
        .output();
    if !made.is_ok_and(|out| out.status.success()) {
        return;
    }
    home.ok("storage create --from-rclone d:x --container photos --rclone-config made.conf");
    let (_, list) = home.json("storage list");
    assert_eq!(list["storages"][0]["location"], "/media/disk/x");
}
