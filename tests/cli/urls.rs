//! Storages given as URLs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::support::Home;
use crate::trees::{read, write};

const URLS: [(&str, &str); 11] = [
    ("s3://bucket/prefix", "s3"),
    ("gs://bucket/prefix", "gcs"),
    ("gcs://bucket", "gcs"),
    ("azblob://container/prefix", "azblob"),
    ("sftp://user@host:22/path", "sftp"),
    ("ftp://user@host/path", "ftp"),
    ("ftps://user@host/path", "ftp"),
    ("webdav://host/path", "webdav"),
    ("webdavs://host/path", "webdav"),
    ("http://host/path", "http"),
    ("https://host/path", "http"),
];

#[test]
fn a_url_of_a_type_that_was_left_out_names_the_feature() {
    let home = Home::new();
    for (url, type_name) in URLS {
        if home.has_type(type_name) {
            continue;
        }
        for line in [format!("sync {url} b"), format!("trash list {url}")] {
            let done = home.run(&line);
            assert_eq!(done.code, 2, "{line}: {done:?}");
            let feature = format!("the cargo feature `{type_name}`");
            assert!(done.stderr.contains(&feature), "{line}: {done:?}");
        }
        let done = home.run(&format!("storage create {type_name} --container x"));
        assert_eq!(done.code, 2);
        assert!(done.stderr.contains("cargo feature"), "{done:?}");
    }
}

#[test]
fn a_url_that_is_wrong_says_which_side_and_how_to_write_it() {
    let home = Home::new();
    for (line, words) in [
        (
            "sync sftp://host b",
            "source: the sftp:// URL names no folder; write sftp://user@host",
        ),
        (
            "sync a s3://",
            "target: the s3:// URL names no bucket or container; write s3://bucket/prefix",
        ),
        ("sync a tape://x", "the schemes are s3, "),
        ("sync file:///a b", "as a path"),
        ("conflicts dropbox://a b", "`wl storage create dropbox`"),
        ("resolve a ssh://h/x p --keep both", "write sftp://"),
        ("trash list s3://h:9000/b", "--storage-option"),
    ] {
        let done = home.run(line);
        assert_eq!(done.code, 2, "{line}: {done:?}");
        assert!(done.stderr.contains(words), "{line}: {done:?}");
        let (code, document) = home.json(line);
        assert_eq!(code, 2, "{line}");
        assert_eq!(document["error"]["class"], "usage", "{line}");
    }
}

#[test]
fn a_folder_with_a_name_like_a_url_is_a_folder() {
    let home = Home::new();
    write(&home.path("user@host:path"), &[("a", "1")]);
    fs::create_dir(home.path("s3:")).unwrap();
    home.ok("sync user@host:path ./s3://bucket");
    assert_eq!(
        read(&home.path("s3:/bucket")),
        read(&home.path("user@host:path"))
    );
}

#[test]
fn options_of_a_storage_are_checked_against_its_type() {
    let home = Home::new();
    write(&home.path("a"), &[("x", "1")]);
    for (line, words) in [
        ("sync a b --source-option location=/x", "give it once"),
        ("sync a b --target-option colour=red", "takes no options"),
        (
            "trash list a --storage-option colour=red",
            "takes no options",
        ),
    ] {
        let done = home.run(line);
        assert_eq!(done.code, 2, "{line}: {done:?}");
        assert!(done.stderr.contains(words), "{line}: {done:?}");
    }
}

#[test]
fn help_is_a_word_too() {
    let home = Home::new();
    for (word, option) in [
        ("help", "--help"),
        ("help sync", "sync --help"),
        ("container help", "container --help"),
        ("help storage create", "storage create --help"),
    ] {
        assert_eq!(home.ok(word).stdout, home.ok(option).stdout, "{word}");
    }
    let done = home.run("help frobnicate");
    assert_eq!(done.code, 2, "{done:?}");
}

#[test]
fn a_word_that_is_not_utf_8_is_told_in_words_of_ours() {
    let home = Home::new();
    let odd = OsStr::from_bytes(b"odd\xff\x1b[2J");
    let done = home.wl([OsStr::new("sync"), odd, OsStr::new("b")]);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("is not UTF-8"), "{done:?}");
    assert!(done.stderr.contains("rename"), "{done:?}");
    assert!(!done.stderr.contains('\x1b'), "{done:?}");
    let words = [OsStr::new("--output=json"), OsStr::new("sync"), odd];
    let done = home.wl(words);
    assert_eq!(done.code, 2);
    let document: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(document["error"]["class"], "usage");
}

#[test]
fn rates_are_taken_by_both_kinds_of_sync() {
    let home = Home::new();
    write(&home.path("a"), &[("x", "1")]);
    home.ok("sync a b --bwlimit 10M --max-requests-per-second 100");
    home.ok("container create notes");
    home.ok("storage create local --container notes --location a");
    home.ok("storage create local --container notes --location b");
    home.ok("container sync notes --one-shot --bwlimit 512k --max-requests-per-second 5");
    home.ok("container sync notes --one-shot --require-cas none");
}
