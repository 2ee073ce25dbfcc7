use serde_json::json;

use super::*;

const RCLONE: &str = include_str!("../../../tests/cli/fixtures/rclone.conf");

/// Remotes that only a browser's login, or a hand, can make.
const OTHERS: &str = r#"
[drive]
type = drive
client_id = me.apps.example.org
client_secret = hush-secret
scope = drive
token = {"access_token":"hush-access","token_type":"Bearer","refresh_token":"hush-refresh","expiry":"2024-01-01T12:00:00.000000000+01:00"}
team_drive =

[drive-of-rclone]
type = drive
scope = drive
token = {"access_token":"hush-access","token_type":"Bearer","refresh_token":"hush-refresh","expiry":"2024-01-01T12:00:00Z"}

[team]
type = drive
team_drive = 0ABC
token = {"access_token":"hush-access"}

[one]
type = onedrive
client_id = id
client_secret = hush-secret
token = {"access_token":"hush-access","refresh_token":"hush-refresh","expiry":"2024-01-01T12:00:00Z"}
drive_id = b!abc
drive_type = personal

[library]
type = onedrive
drive_type = documentLibrary
token = {"access_token":"hush-access"}

[drop]
type = dropbox
token = {"access_token":"hush-access","token_type":"bearer","expiry":"0001-01-01T00:00:00Z"}

[no-token]
type = dropbox

[odd-token]
type = dropbox
token = hush

[session]
type = s3
provider = AWS
access_key_id = AKID
secret_access_key = hush-secret
session_token = hush-token
sse_customer_key = hush-sse
encoding = Slash,InvalidUtf8

[open]
type = s3
provider = Other
endpoint = play.example.org:9000
force_path_style = false

[half]
type = s3
access_key_id = AKID

[token]
type = webdav
url = http://[::1]:8080/dav/
vendor = other
bearer_token = hush-token
headers = Cookie,hush

[sharepoint]
type = webdav
url = https://x.example.org
vendor = sharepoint

[command]
type = webdav
url = https://x.example.org
bearer_token_command = echo hush

[in-url]
type = webdav
url = https://me:hush@x.example.org/dav

[bad-pass]
type = webdav
url = https://x.example.org
user = me
pass = hush

[plain]
type = sftp
host = ::1

[option]
type = sftp
host = -oProxyCommand=hush

[no-host]
type = sftp

[pem]
type = sftp
host = h
key_pem = hush

[tls]
type = ftp
host = ftp.example.org
tls = true
port = 990

[inline]
type = google cloud storage
service_account_credentials = {"type":"service_account","private_key":"hush"}

[person]
type = google cloud storage
token = {"access_token":"hush"}

[anyone]
type = google cloud storage
anonymous = true

[msi]
type = azureblob
account = acct
use_msi = true

[loop-a]
type = alias
remote = loop-b:x

[loop-b]
type = alias
remote = loop-a:

[deep]
type = alias
remote = pics:summer

[dead]
type = alias
remote = gone:x

[nothing]
type = alias

[untyped]
host = h

[b2]
type = b2
key = hush

[chunks]
type = chunker
remote = minio:x
"#;

fn imported(remote_path: &str) -> Result<Imported, String> {
    let config = Config::parse(&format!("{RCLONE}\n{OTHERS}")).ok().unwrap();
    import(&config, remote_path, Some("somebody"))
}

/// Type, parameters, secrets.
fn is(remote_path: &str, type_name: &str, params: Value, secrets: Value) -> Vec<String> {
    let found = imported(remote_path).unwrap_or_else(|error| panic!("{remote_path}: {error}"));
    assert_eq!(found.type_name, type_name, "{remote_path}");
    assert_eq!(Value::Object(found.params.clone()), params, "{remote_path}");
    assert_eq!(
        found.secrets.clone().unwrap_or_default(),
        secrets,
        "{remote_path}"
    );
    let told = format!("{:?} {found:?} {:?}", found.notes, found.params);
    assert!(!told.contains("hush"), "{remote_path}: {told}");
    found.notes
}

fn refused(remote_path: &str, words: &str) {
    let error = imported(remote_path).unwrap_err();
    assert!(error.contains(words), "{remote_path}: {error}");
    assert!(!error.contains("hush"), "{remote_path}: {error}");
}

#[test]
fn s3_remotes_are_taken() {
    let keys = |id: &str| json!({"access_key": id, "secret_key": "hush-secret"});
    let minio = |url: &str| {
        json!({
            "s3_url": url, "endpoint_url": "http://127.0.0.1:9000", "region": "us-east-1", "addressing": "path"
        })
    };
    let notes = is(
        "minio:photos/2024/",
        "s3",
        minio("s3://photos/2024"),
        keys("AKIDMINIO"),
    );
    assert!(notes.is_empty(), "{notes:?}");
    is(
        "minio:/photos",
        "s3",
        minio("s3://photos"),
        keys("AKIDMINIO"),
    );
    let params = json!({"s3_url": "s3://b", "region": "eu-central-1"});
    let notes = is("aws:b", "s3", params, Value::Null).join("\n");
    assert!(
        notes.contains("`server_side_encryption`") && notes.contains("env_auth"),
        "{notes}"
    );
    let params = json!({
        "s3_url": "s3://b", "endpoint_url": "https://s3.eu-central-1.wasabisys.com",
        "region": "eu-central-1", "addressing": "virtual"
    });
    is("wasabi:b", "s3", params, keys("AKIDWASABI"));
    let params = json!({"s3_url": "s3://b"});
    let secrets =
        json!({"access_key": "AKID", "secret_key": "hush-secret", "session_token": "hush-token"});
    let notes = is("session:b", "s3", params, secrets).join("\n");
    for key in ["`encoding`", "`sse_customer_key`", "will expire"] {
        assert!(notes.contains(key), "{notes}");
    }
    let params = json!({
        "s3_url": "s3://b", "endpoint_url": "https://play.example.org:9000", "addressing": "virtual", "anonymous": true
    });
    is("open:b", "s3", params, Value::Null);
    refused("half:b", "only one of");
    refused("minio:", "name a bucket");
    refused("minio:a/../b", "`..`");
}

#[test]
fn servers_are_taken() {
    let url = "https://cloud.example.org/remote.php/dav/files/me";
    let login = json!({"login": "me", "password": "hush-password"});
    is(
        "cloud:",
        "webdav",
        json!({"url": format!("{url}/")}),
        login.clone(),
    );
    is(
        "cloud:a b/ü",
        "webdav",
        json!({"url": format!("{url}/a%20b/%C3%BC")}),
        login,
    );
    let params = json!({"url": "http://[::1]:8080/dav/x"});
    let notes = is("token:x", "webdav", params, json!({"token": "hush-token"}));
    assert!(notes.concat().contains("`headers`"), "{notes:?}");
    let params = |url: &str| json!({"url": url, "identity_file": "~/.ssh/id_ed25519"});
    let notes = is(
        "box:",
        "sftp",
        params("sftp://me@box.example.org:2222/~/"),
        Value::Null,
    );
    assert!(notes.is_empty(), "{notes:?}");
    is(
        "box:a#b",
        "sftp",
        params("sftp://me@box.example.org:2222/~/a%23b"),
        Value::Null,
    );
    is(
        "box:/srv/a",
        "sftp",
        params("sftp://me@box.example.org:2222/srv/a"),
        Value::Null,
    );
    let params = json!({"url": "sftp://somebody@[::1]/~/x"});
    is("plain:x", "sftp", params, Value::Null);
    let password = json!({"password": "hush-password"});
    is(
        "oldftp:/a",
        "ftp",
        json!({"url": "ftps://me@ftp.example.org/a"}),
        password,
    );
    let params = json!({"url": "ftps://somebody@ftp.example.org:990/"});
    assert_eq!(is("tls:", "ftp", params, Value::Null).len(), 1);
    is(
        "web:a",
        "http",
        json!({"url": "https://example.org/files/a"}),
        Value::Null,
    );
}

#[test]
fn servers_with_a_login_that_wl_has_not_are_refused() {
    refused("boxpass:", "`pass`");
    refused("pem:", "`key_pem`");
    refused("option:", "no good host");
    refused("no-host:", "`host`");
    refused("sharepoint:", "Sharepoint");
    refused("command:", "comes from a command");
    refused("in-url:", "holds a password");
    refused("bad-pass:", "rclone config password");
}

#[test]
fn other_object_stores_are_taken() {
    let params = json!({"blob_container": "c", "prefix": "p/q", "account_name": "acct"});
    is(
        "az:c/p/q",
        "azblob",
        params,
        json!({"account_key": "aHVzaA=="}),
    );
    let params = json!({"blob_container": "photos", "account_name": "acct"});
    let token = json!({"sas_token": "sv=2022-11-02&sig=hush%3D"});
    is("azsas:photos", "azblob", params, token);
    refused("azsas:other", "another container");
    refused("msi:c", "`use_msi`");
    let params = json!({"bucket": "b", "prefix": "p", "credentials_file": "/home/me/sa.json"});
    let notes = is("gc:b/p", "gcs", params, Value::Null);
    assert!(notes.is_empty(), "{notes:?}");
    let key = json!({"type": "service_account", "private_key": "hush"});
    is("inline:b", "gcs", json!({"bucket": "b"}), key);
    is(
        "anyone:b",
        "gcs",
        json!({"bucket": "b", "anonymous": true}),
        Value::Null,
    );
    refused("person:b", "service account");
}

#[test]
fn services_with_a_browser_login_are_taken() {
    let login = |id: &str| json!({"refresh_token": "hush-refresh", "client_id": id, "client_secret": "hush-secret"});
    let notes = is(
        "drive:a/b",
        "gdrive",
        json!({"location": "/a/b"}),
        login("me.apps.example.org"),
    );
    assert!(notes.is_empty(), "{notes:?}");
    let notes = is("one:", "onedrive", json!({"location": "/"}), login("id"));
    assert!(notes.concat().contains("`drive_id`"), "{notes:?}");
    let notes = is(
        "drop:x",
        "dropbox",
        json!({"location": "/x"}),
        json!({"access_token": "hush-access"}),
    );
    assert!(notes.is_empty(), "{notes:?}");
    refused("drive-of-rclone:", "`client_id`");
    refused("team:", "`team_drive`");
    refused("library:", "library of documents");
    refused("no-token:", "rclone config reconnect");
    refused("odd-token:", "rclone config reconnect");
}

#[test]
fn aliases_are_followed_and_local_folders_taken() {
    is(
        "disk:a",
        "local",
        json!({"location": "/media/disk/a"}),
        Value::Null,
    );
    is(
        "disk:",
        "local",
        json!({"location": "/media/disk"}),
        Value::Null,
    );
    is(
        "here:/a b",
        "local",
        json!({"location": "/a b"}),
        Value::Null,
    );
    for (remote_path, url) in [
        ("pics:x", "s3://photos/2024/x"),
        ("deep:x", "s3://photos/2024/summer/x"),
    ] {
        let found = imported(remote_path).unwrap();
        assert_eq!(found.params["s3_url"], url);
    }
    refused("loop-a:", "lead back to themselves");
    refused("dead:", "no remote `gone`; the remotes are: ");
    refused("nothing:", "alias of nothing");
    refused("here:", "name a folder");
}

#[test]
fn what_is_no_plain_storage_is_refused_with_the_reason() {
    refused("secret:", "encrypts");
    refused("both:", "joins several");
    refused("chunks:", "form of rclone's own");
    refused("b2:x", "S3 interface");
    refused("untyped:", "has no type");
    refused("gone:", "no remote `gone`");
    refused("gone", "REMOTE:PATH");
    refused("/a/b:c", "REMOTE:PATH");
    refused(":s3:b", "not understood");
    refused("minio,env_auth=hush:b", "not understood");
    let error = import(&Config::default(), "a:", None).unwrap_err();
    assert!(error.contains("and no other"), "{error}");
}
