//! Secrets are in no output, whatever is done with them. The secret is always `hush`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Done, Home};

fn assert_silent(line: &str, done: &Done) {
    let told = format!("{}{}", done.stdout, done.stderr);
    assert!(!told.contains("hush"), "{line}: {told}");
}

#[test]
fn a_secret_among_the_words_of_a_command_is_refused_and_not_repeated() {
    let home = Home::new();
    home.ok("container create notes");
    for line in [
        "sync s3://key:hush@bucket b",
        "sync a sftp://user:hush@host/path",
        "sync a sftp://user:hu/sh@hush/path",
        "sync https://host/path?token=hush b",
        "sync a",
        "sync ftp://user:hush@host/p",
        "sync a b ftp://user:hush@host/p",
        "ftp://user:hush@host/p",
        "sync a b --source-option password=hush",
        "sync a b --source-option hush",
        "sync a b --target-option credentials={\"secret_key\":\"hush\"}",
        "sync a b --target-option endpoint_url=https://user:hush@host",
        "conflicts a ftp://user:hush@host/p",
        "resolve a ftp://user:hush@host/p x --keep both",
        "trash list ftp://user:hush@host/p",
        "trash restore ftp://user:hush@host/p 1",
        "trash list a --storage-option password=hush",
        "storage create s3 --container notes --s3-url s3://key:hush@bucket",
        "storage create s3 --container notes --s3-url s3://bucket --credentials hush",
        "storage create webdav --container notes --url https://user:hush@host/",
        "storage create ftp://user:hush@host/p",
        "storage create --from-rclone :s3,secret_access_key=hush:bucket --container notes",
    ] {
        for format in ["human", "json"] {
            let done = home.run(&format!("--output {format} {line}"));
            assert!([1, 2].contains(&done.code), "{line}: {done:?}");
            assert_silent(line, &done);
        }
    }
    let manifest = home.base().join("containers/notes.container.yaml");
    assert!(!fs::read_to_string(manifest).unwrap().contains("storage:\n"));
}

#[test]
fn a_secret_from_stdin_goes_to_a_private_file_and_nowhere_else() {
    let home = Home::new();
    home.ok("container create notes");
    for (line, secrets) in [
        (
            "storage create s3 --container notes --s3-url s3://bucket --backend-id x --credentials -",
            r#"{"access_key": "AKID", "secret_key": "hush"}"#,
        ),
        (
            "storage create opendal --container notes --scheme b2 --backend-id x --options -",
            r#"{"application_key": "hush"}"#,
        ),
    ] {
        let type_name = line.split(' ').nth(2).unwrap();
        for wrong in ["hush", "\"hush\"", "{\"secret_key\": hush}", "[\"hush\"]"] {
            let done = home.fed(line, wrong);
            assert_eq!(done.code, 2, "{line}: {done:?}");
            assert_silent(line, &done);
        }
        let done = home.fed(line, secrets);
        assert_silent(line, &done);
        if !home.has_type(type_name) {
            assert!(done.stderr.contains("cargo feature"), "{done:?}");
            let file = home.base().join("credentials/notes.x.json");
            assert!(!file.exists());
            continue;
        }
        assert_eq!(done.code, 0, "{done:?}");
        let file = home.base().join("credentials/notes.x.json");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(&file).unwrap().contains("hush"));
        let manifest = home.base().join("containers/notes.container.yaml");
        assert!(!fs::read_to_string(manifest).unwrap().contains("hush"));
        for line in [
            "storage list",
            "container info notes",
            "--output json storage list",
        ] {
            assert_silent(line, &home.ok(line));
        }
        home.ok("storage delete x --container notes");
        assert!(!file.exists());
    }
}

#[test]
fn a_file_of_credentials_that_others_can_read_is_refused() {
    let home = Home::new();
    if !home.has_type("s3") {
        return;
    }
    home.ok("container create notes");
    let file = home.path("keys.json");
    fs::write(&file, r#"{"access_key": "AKID", "secret_key": "hush"}"#).unwrap();
    let line =
        "storage create s3 --container notes --s3-url s3://bucket --credentials-file keys.json";
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let done = home.run(line);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("chmod 600"), "{done:?}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_silent(line, &home.ok(line));
    let (_, list) = home.json("storage list");
    assert_eq!(
        list["storages"][0]["credentials_file"],
        file.to_str().unwrap()
    );
}
