//! A storage given as a URL. Nothing is looked up or connected here.
//!
//! What a URL says is repeated in no error: it may hold a secret in a place where nobody expects one.

use serde_json::{Value, json};

use crate::StorageSpec;

/// A URL that names no storage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.told("the option"))]
pub struct UrlError {
    scheme: String,
    why: String,
    fix: String,
}

impl UrlError {
    /// The error for a front end where `option` is what gives a storage an option of its type.
    pub fn told(&self, option: &str) -> String {
        let Self { scheme, why, fix } = self;
        format!("the {scheme}:// URL {why}; {fix}").replace("{option}", option)
    }
}

/// Storages that have URLs: the scheme, the type, how the URL is written, and what makes parameters of it.
struct Form {
    scheme: &'static str,
    type_name: &'static str,
    written: &'static str,
    params: fn(&Form, &str) -> Result<Value, Fault>,
}

/// What is wrong, and how to do better; without a fix the form of the URL is shown.
struct Fault {
    why: &'static str,
    fix: Option<&'static str>,
}

const FORMS: [Form; 11] = [
    form("s3", "s3", "s3://bucket/prefix", s3),
    form("gs", "gcs", "gs://bucket/prefix", gcs),
    form("gcs", "gcs", "gcs://bucket/prefix", gcs),
    form("azblob", "azblob", "azblob://container/prefix", azblob),
    form(
        "sftp",
        "sftp",
        "sftp://user@host:port/path, or sftp://user@host/~/path for a folder below the home folder",
        sftp,
    ),
    form("ftp", "ftp", "ftp://user@host:port/path", with_user),
    form("ftps", "ftp", "ftps://user@host:port/path", with_user),
    form("webdav", "webdav", "webdav://host:port/path", webdav),
    form("webdavs", "webdav", "webdavs://host:port/path", webdav),
    form("http", "http", "http://host:port/path", without_user),
    form("https", "http", "https://host:port/path", without_user),
];

const fn form(
    scheme: &'static str,
    type_name: &'static str,
    written: &'static str,
    params: fn(&Form, &str) -> Result<Value, Fault>,
) -> Form {
    Form {
        scheme,
        type_name,
        written,
        params,
    }
}

/// Types without URLs, and schemes that people try: what to do instead.
const OTHERS: [(&str, &str); 12] = [
    ("file", "give a local folder as a path"),
    ("local", "give a local folder as a path"),
    ("memory", "make the storage with `wl storage create memory`"),
    (
        "opendal",
        "make the storage with `wl storage create opendal`",
    ),
    (
        "onedrive",
        "make the storage with `wl storage create onedrive`",
    ),
    ("gdrive", "make the storage with `wl storage create gdrive`"),
    (
        "dropbox",
        "make the storage with `wl storage create dropbox`",
    ),
    ("ssh", "write sftp://user@host:port/path"),
    ("scp", "write sftp://user@host:port/path"),
    ("dav", "write webdav://host:port/path"),
    ("davs", "write webdavs://host:port/path"),
    ("az", "write azblob://container/prefix"),
];

/// The storage that a URL names; `None` if the text is no URL. `./s3://x` is none: it is a path.
pub fn storage_of_url(text: &str) -> Option<Result<StorageSpec, UrlError>> {
    let (scheme, rest) = text.split_once("://")?;
    let mut chars = scheme.chars();
    let fits = chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    fits.then(|| read(&scheme.to_ascii_lowercase(), rest))
}

fn read(scheme: &str, rest: &str) -> Result<StorageSpec, UrlError> {
    let error = |why: &str, fix: String| UrlError {
        scheme: scheme.to_owned(),
        why: why.to_owned(),
        fix,
    };
    let Some(form) = FORMS.iter().find(|form| form.scheme == scheme) else {
        let other = OTHERS.iter().find(|other| other.0 == scheme);
        return Err(error(
            "is of no type that wl has URLs for",
            other.map_or_else(unknown, |other| other.1.to_owned()),
        ));
    };
    let params = check(form, rest).and_then(|()| (form.params)(form, rest));
    match params {
        Ok(params) => Ok(StorageSpec::new(form.type_name, params)),
        Err(Fault { why, fix }) => {
            let written = || format!("write {}", form.written);
            Err(error(why, fix.map_or_else(written, str::to_owned)))
        }
    }
}

fn unknown() -> String {
    let known: Vec<_> = FORMS.iter().map(|form| form.scheme).collect();
    format!(
        "the schemes are {}; for a folder with such a name put ./ in front",
        known.join(", ")
    )
}

fn fault(why: &'static str) -> Fault {
    Fault { why, fix: None }
}

/// What holds for every URL.
fn check(form: &Form, rest: &str) -> Result<(), Fault> {
    if rest.chars().any(char::is_control) {
        return Err(fault("has a control character in it"));
    }
    if login(authority(rest).0).is_some_and(|login| login.contains(':')) {
        return Err(Fault {
            why: "holds a password, which everybody on this machine could read",
            fix: Some(form.login()),
        });
    }
    if rest.contains(['?', '#']) {
        return Err(Fault {
            why: "has a `?` or a `#` in it",
            fix: Some(
                "give options with {option} NAME=VALUE, and write %3F and %23 in paths; a prefix with such a character goes to `wl storage create`",
            ),
        });
    }
    let path = authority(rest).1;
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(fault("has a part `.` or `..` in its path"));
    }
    Ok(())
}

/// What stands before the first slash, and the rest with the slash.
fn authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}

fn login(authority: &str) -> Option<&str> {
    authority.rsplit_once('@').map(|(login, _)| login)
}

/// A bucket, and the prefix below it.
fn bucket<'a>(form: &Form, rest: &'a str) -> Result<(&'a str, &'a str), Fault> {
    let (bucket, prefix) = authority(rest);
    if bucket.is_empty() {
        return Err(fault("names no bucket or container"));
    }
    if bucket.contains('@') {
        return Err(no_login(form));
    }
    if bucket.contains(':') {
        return Err(Fault {
            why: "names a server where the bucket or container stands",
            fix: Some("give the server with {option} endpoint_url=https://host:port"),
        });
    }
    if bucket.contains(char::is_whitespace) {
        return Err(fault("has a space in the name of its bucket or container"));
    }
    let prefix = prefix.strip_prefix('/').unwrap_or(prefix);
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    // `a//b` is another key than `a/b`, and no path.
    if !prefix.is_empty() && prefix.split('/').any(str::is_empty) {
        return Err(fault("has an empty part in its prefix"));
    }
    Ok((bucket, prefix))
}

fn no_login(form: &Form) -> Fault {
    Fault {
        why: "holds a login",
        fix: Some(form.login()),
    }
}

impl Form {
    /// Where a login of this type belongs.
    fn login(&self) -> &'static str {
        match self.type_name {
            "sftp" => {
                "leave it out: ssh logs in with a key, of ssh-agent, or named with {option} identity_file=FILE"
            }
            "http" => "leave it out: wl reads without a login; a server of WebDAV takes one",
            _ => {
                "leave it out, and give it in a file with {option} credentials_file=FILE (chmod 600), or in the environment"
            }
        }
    }
}

fn s3(form: &Form, rest: &str) -> Result<Value, Fault> {
    let (bucket, prefix) = bucket(form, rest)?;
    let url = match prefix {
        "" => format!("s3://{bucket}"),
        prefix => format!("s3://{bucket}/{prefix}"),
    };
    Ok(json!({ "s3_url": url }))
}

fn gcs(form: &Form, rest: &str) -> Result<Value, Fault> {
    let (bucket, prefix) = bucket(form, rest)?;
    Ok(with_prefix(json!({ "bucket": bucket }), prefix))
}

fn azblob(form: &Form, rest: &str) -> Result<Value, Fault> {
    let (container, prefix) = bucket(form, rest)?;
    Ok(with_prefix(json!({ "blob_container": container }), prefix))
}

fn with_prefix(mut params: Value, prefix: &str) -> Value {
    if !prefix.is_empty() {
        params["prefix"] = prefix.into();
    }
    params
}

fn sftp(form: &Form, rest: &str) -> Result<Value, Fault> {
    if authority(rest).1.is_empty() {
        return Err(fault("names no folder"));
    }
    with_user(form, rest)
}

fn with_user(form: &Form, rest: &str) -> Result<Value, Fault> {
    server(rest)?;
    if let Some(user) = login(authority(rest).0) {
        // A dash in front would be an option to the program that connects.
        if user.is_empty() || user.starts_with('-') || user.contains(char::is_whitespace) {
            return Err(fault("has no good user name"));
        }
    }
    Ok(url(form.scheme, rest))
}

fn without_user(form: &Form, rest: &str) -> Result<Value, Fault> {
    server(rest)?;
    match login(authority(rest).0) {
        Some(_) => Err(no_login(form)),
        None => Ok(url(form.scheme, rest)),
    }
}

fn webdav(form: &Form, rest: &str) -> Result<Value, Fault> {
    without_user(form, rest)?;
    let scheme = if form.scheme == "webdavs" {
        "https"
    } else {
        "http"
    };
    Ok(url(scheme, rest))
}

fn url(scheme: &str, rest: &str) -> Value {
    let root = if authority(rest).1.is_empty() {
        "/"
    } else {
        ""
    };
    json!({ "url": format!("{scheme}://{rest}{root}") })
}

/// Checks host and port, and the escapes of the path.
fn server(rest: &str) -> Result<(), Fault> {
    let (authority, path) = authority(rest);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, behind)) => match behind.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None => return Err(fault("has no good host")),
        },
        None if host.matches(':').count() > 1 => {
            return Err(fault("has an IPv6 address without the brackets of [::1]"));
        }
        None => match host.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        },
    };
    if host.is_empty() {
        return Err(fault("names no host"));
    }
    let odd = |c: char| c.is_whitespace() || "[]\\<>\"`{}|^".contains(c);
    if host.starts_with('-') || host.contains(odd) {
        return Err(fault("has no good host"));
    }
    let good = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if port.is_some_and(|port| !good(port) || !digits(port)) {
        return Err(fault("has a port that is no number from 1 to 65535"));
    }
    escapes(path)
}

fn escapes(path: &str) -> Result<(), Fault> {
    let mut parts = path
        .split('/')
        .map(|part| part.to_ascii_lowercase().replace("%2e", "."));
    if parts.any(|part| matches!(&*part, "." | "..")) {
        return Err(fault("has a part `.` or `..` in its path"));
    }
    let hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let mut bad = path.match_indices('%').filter(|(at, _)| {
        let bytes = path.as_bytes();
        !hex(bytes.get(at + 1)) || !hex(bytes.get(at + 2))
    });
    match bad.next() {
        Some(_) => Err(Fault {
            why: "has a `%` that no two hexadecimal digits follow",
            fix: Some("write %25 for a `%` in a path"),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine(text: &str) -> StorageSpec {
        storage_of_url(text).unwrap().unwrap()
    }

    fn refused(text: &str) -> String {
        storage_of_url(text).unwrap().unwrap_err().to_string()
    }

    #[test]
    fn a_url_is_a_type_and_its_parameters() {
        for (text, type_name, params) in [
            ("s3://b", "s3", json!({"s3_url": "s3://b"})),
            ("S3://b/", "s3", json!({"s3_url": "s3://b"})),
            ("s3://b/p/q/", "s3", json!({"s3_url": "s3://b/p/q"})),
            ("s3://b/ü a@b%", "s3", json!({"s3_url": "s3://b/ü a@b%"})),
            ("gs://b/p", "gcs", json!({"bucket": "b", "prefix": "p"})),
            ("gcs://b", "gcs", json!({"bucket": "b"})),
            ("azblob://c", "azblob", json!({"blob_container": "c"})),
            (
                "azblob://c/p/q",
                "azblob",
                json!({"blob_container": "c", "prefix": "p/q"}),
            ),
            ("sftp://h/", "sftp", json!({"url": "sftp://h/"})),
            (
                "sftp://u@h:22/~/x",
                "sftp",
                json!({"url": "sftp://u@h:22/~/x"}),
            ),
            (
                "sftp://u@[::1]:22/x",
                "sftp",
                json!({"url": "sftp://u@[::1]:22/x"}),
            ),
            (
                "sftp://u@h/a@b:c",
                "sftp",
                json!({"url": "sftp://u@h/a@b:c"}),
            ),
            ("ftp://h", "ftp", json!({"url": "ftp://h/"})),
            (
                "ftps://u@h:990/p",
                "ftp",
                json!({"url": "ftps://u@h:990/p"}),
            ),
            ("webdav://h/p", "webdav", json!({"url": "http://h/p"})),
            (
                "webdavs://h:8443",
                "webdav",
                json!({"url": "https://h:8443/"}),
            ),
            ("http://h/p%20q/", "http", json!({"url": "http://h/p%20q/"})),
            ("HTTPS://[::1]/p", "http", json!({"url": "https://[::1]/p"})),
        ] {
            let spec = fine(text);
            assert_eq!(
                (&*spec.type_name, &spec.params),
                (type_name, &params),
                "{text}"
            );
            assert_eq!(spec.read_only, type_name == "http", "{text}");
        }
    }

    #[test]
    fn every_type_with_urls_is_one_that_wl_may_have() {
        for form in FORMS {
            assert!(crate::types::OPTIONAL.contains(&form.type_name));
            assert_eq!(form.written.split("://").next(), Some(form.scheme));
        }
    }

    #[test]
    fn what_is_no_url_is_a_path() {
        for text in [
            "",
            "a",
            "/a",
            "./s3://b",
            "s3:b",
            "s3:/b",
            "user@host:path",
            "host:path",
            "1a://b",
            "://b",
            "a b://c",
            "ü://c",
            "/s3://b",
        ] {
            assert!(storage_of_url(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_bad_url_is_told_with_what_is_wrong_and_how_it_is_written() {
        for (text, why, fix) in [
            ("s3://", "no bucket", "write s3://bucket/prefix"),
            ("s3:///p", "no bucket", "write s3://bucket/prefix"),
            ("s3://h:9000/b", "a server", "endpoint_url=https://"),
            ("s3://a b/p", "a space", "write s3://"),
            ("s3://b/a/../c", "`..`", "write s3://"),
            ("s3://b/a\nb", "control character", "write s3://"),
            ("s3://b//a", "empty part", "write s3://"),
            ("s3://b/a//", "empty part", "write s3://"),
            ("sftp://h/a/%2e%2E/b", "`..`", "write sftp://"),
            ("gs://", "no bucket", "write gs://"),
            ("azblob:///p", "container", "write azblob://"),
            ("sftp://h", "no folder", "/~/path"),
            ("sftp:///p", "no host", "write sftp://"),
            ("sftp://u@/p", "no host", "write sftp://"),
            ("sftp://@h/p", "user name", "write sftp://"),
            ("sftp://-oProxyCommand=x/p", "good host", "write sftp://"),
            ("sftp://-l@h/p", "user name", "write sftp://"),
            ("sftp://h:/p", "port", "write sftp://"),
            ("sftp://h:x/p", "port", "1 to 65535"),
            ("sftp://h:+1/p", "port", "1 to 65535"),
            ("sftp://h:0/p", "port", "1 to 65535"),
            ("sftp://h:65536/p", "port", "1 to 65535"),
            ("sftp://::1/p", "IPv6", "[::1]"),
            ("sftp://[::1/p", "IPv6", "write sftp://"),
            ("sftp://[::1]x/p", "good host", "write sftp://"),
            ("sftp://h/a%", "`%`", "%25"),
            ("webdav://h/a%2", "`%`", "%25"),
            ("webdav://h/a%zz", "`%`", "%25"),
            ("http://", "no host", "write http://"),
            ("http://a b/", "good host", "write http://"),
            ("tape://x", "no type", "the schemes are s3, "),
            ("file:///a", "no type", "as a path"),
            ("dropbox://a", "no type", "`wl storage create dropbox`"),
            ("ssh://h/a", "no type", "write sftp://"),
        ] {
            let error = refused(text);
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.contains(fix), "{text}: {error}");
        }
    }

    #[test]
    fn a_secret_in_a_url_is_refused_and_never_repeated() {
        let schemes = FORMS.iter().map(|form| form.scheme).chain(["tape", "ssh"]);
        for scheme in schemes {
            for rest in [
                "user:hush@host/p",
                ":hush@host/p",
                "user:hush@host",
                "user:hu@sh@host/p",
                "user:hush/more@host/p",
                "host:hush/p",
                "host/p?token=hush",
                "host/p#hush",
                "host/hush%",
                "hu sh:x@host/p",
            ] {
                let text = format!("{scheme}://{rest}");
                if let Err(error) = storage_of_url(&text).unwrap() {
                    let text = format!("{error} {error:?}");
                    assert!(!text.contains("hush") && !text.contains("hu "), "{text}");
                } else {
                    // Not a secret to a storage whose prefix may hold anything.
                    assert_eq!(rest, "host/hush%", "{text}");
                }
            }
        }
        for text in [
            "s3://k:hush@b/p",
            "sftp://u:hush@h/p",
            "webdavs://u:hush@h/p",
        ] {
            let error = refused(text);
            assert!(error.contains("password"), "{error}");
            assert!(error.contains("_file=FILE"), "{error}");
        }
        for text in ["s3://k@b", "webdav://u@h/p", "https://u@h/p", "gs://k@b/p"] {
            assert!(refused(text).contains("holds a login"), "{text}");
        }
    }
}
