//! Where settings come from.

use std::collections::HashMap;

use serde_json::{Value, json};
use wl_core::plugin::check_params;

use super::*;
use crate::opendal::store::OpendalStore;

/// The store with these parameters, on a machine without any settings of its own.
pub(in crate::opendal) fn store_of(params: &Value) -> Result<OpendalStore> {
    let settings = Settings::of(parsed(TYPE, params)?, &Around::default())?;
    let operator = Operator::new(settings.builder()).unwrap();
    let service = crate::opendal::service(TYPE)?;
    Ok(OpendalStore::new(TYPE, service, operator, settings.place()).unwrap())
}

/// [`store_of`] with the second connection.
pub(in crate::opendal) fn direct_store_of(params: &Value) -> Result<OpendalStore> {
    let settings = Settings::of(parsed(TYPE, params)?, &Around::default())?;
    let mut store = store_of(params)?;
    let http = store.operator.context().http_transport().clone();
    store.direct = Some(Direct::new(&settings, http));
    Ok(store)
}

/// The store that the factory makes, but for the size of its copies.
pub(in crate::opendal) fn copying(params: &Value, most: u64, part: u64) -> Result<OpendalStore> {
    let mut store = direct_store_of(params)?;
    let direct = store.direct.take();
    store.direct = direct.map(|direct| direct.copying(crate::s3::Copies { most, part }));
    Ok(store)
}

#[derive(Default)]
struct Around {
    variables: HashMap<&'static str, &'static str>,
    files: HashMap<&'static str, &'static str>,
}

impl Surroundings for Around {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn file(&self, path: &str) -> Option<String> {
        self.files.get(path).map(|text| (*text).to_owned())
    }
}

const CONFIG: &str = "\
[default]
region = eu-west-1
; a comment
[profile minio]
region=here
services = local
endpoint_url = http://wrong
[services local]
s3 =
  endpoint_url = http://127.0.0.1:9000
dynamodb =
  endpoint_url = http://127.0.0.1:8000
[profile plain]
endpoint_url = http://plain:1
";

fn around(variables: &[(&'static str, &'static str)]) -> Around {
    let mut around = Around {
        variables: variables.iter().copied().collect(),
        files: HashMap::from([
            ("/home/u/.aws/config", CONFIG),
            ("/home/u/.aws/credentials", "[keys]\naws_access_key_id=A\n"),
        ]),
    };
    around.variables.insert("HOME", "/home/u");
    around
}

fn settings(params: &Value, around: &Around) -> Result<Settings> {
    Settings::of(parsed(TYPE, params).unwrap(), around)
}

fn told(params: Value, variables: &[(&'static str, &'static str)]) -> (String, String, bool) {
    let settings = settings(&params, &around(variables)).unwrap();
    (params_text(&settings), settings.region, settings.path_style)
}

fn params_text(settings: &Settings) -> String {
    params::text(&settings.endpoint)
}

#[test]
fn settings_come_from_parameters_then_variables_then_profiles() {
    let url = || json!({"s3_url": "s3://b/p"});
    let full = json!({"s3_url": "s3://b", "endpoint_url": "https://h/", "region": "r", "addressing": "virtual"});
    let ours = |text: &str, region: &str, path| (text.to_owned(), region.to_owned(), path);
    assert_eq!(
        told(full, &[("AWS_ENDPOINT_URL", "http://x")]),
        ours("https://h", "r", false)
    );
    assert_eq!(told(url(), &[]), ours(AMAZON, "eu-west-1", false));
    assert_eq!(
        told(url(), &[("AWS_DEFAULT_REGION", "d")]),
        ours(AMAZON, "d", false)
    );
    assert_eq!(
        told(url(), &[("AWS_REGION", "r"), ("AWS_DEFAULT_REGION", "d")]),
        ours(AMAZON, "r", false)
    );
    let both = [
        ("AWS_ENDPOINT_URL", "http://all"),
        ("AWS_ENDPOINT_URL_S3", "http://s3"),
    ];
    assert_eq!(told(url(), &both), ours("http://s3", "eu-west-1", true));
    assert_eq!(
        told(url(), &[("AWS_PROFILE", "minio")]),
        ours("http://127.0.0.1:9000", "here", true)
    );
    let plain = json!({"s3_url": "s3://b", "profile": "plain"});
    assert_eq!(
        told(plain, &[("AWS_PROFILE", "minio")]),
        ours("http://plain:1", REGION, true)
    );
    let keys = json!({"s3_url": "s3://b", "profile": "keys", "region": "r"});
    assert_eq!(told(keys, &[]), ours(AMAZON, "r", false));
}

fn refused(params: Value, says: &str) {
    let error = settings(&params, &around(&[])).err().unwrap();
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn what_does_not_fit_is_refused() {
    refused(
        json!({"s3_url": "s3://b", "profile": "nobody"}),
        "profile `nobody`",
    );
    refused(json!({"s3_url": "https://b"}), "s3://bucket/prefix");
    refused(json!({"s3_url": "s3://b/a//c"}), "another prefix");
    refused(json!({"s3_url": "s3://b/ a"}), "another prefix");
    refused(
        json!({"s3_url": "s3://b", "endpoint_url": "host:80"}),
        "no address",
    );
    refused(
        json!({"s3_url": "s3://b", "endpoint_url": "ftp://host"}),
        "http://",
    );
    refused(
        json!({"s3_url": "s3://b", "endpoint_url": "https://u:p@host"}),
        "credentials",
    );
    let keys = json!({"access_key": "a", "secret_key": "s"});
    refused(
        json!({"s3_url": "s3://b", "anonymous": true, "credentials": keys}),
        "one of them",
    );
    refused(
        json!({"s3_url": "s3://b", "credentials_file": "/x", "credentials": keys}),
        "one of them",
    );
    let nowhere = Settings::of(
        parsed(TYPE, &json!({"s3_url": "s3://b"})).unwrap(),
        &Around::default(),
    );
    assert!(nowhere.err().unwrap().to_string().contains("`region`"));
}

#[test]
fn places_below_places_are_recognised() {
    let store = |url: &str| {
        store_of(&json!({"s3_url": url, "endpoint_url": "http://h:9000", "anonymous": true}))
            .unwrap()
    };
    use crate::remote::store::Store as _;
    let (root, below) = (store("s3://b"), store("s3://b/p/q/"));
    assert_eq!(root.identity(), "s3|http://h:9000|b");
    assert_eq!(below.identity(), "s3|http://h:9000|b/p/q");
    assert_eq!(below.server(), root.server());
    assert_eq!(below.location(), "s3://b/p/q at http://h:9000");
}

#[test]
fn a_file_of_keys_is_read_only_if_nobody_else_can() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, r#"{"access_key": "A", "secret_key": "SECRET"}"#).unwrap();
    let mode =
        |bits| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(bits)).unwrap();
    let name = file.to_str().unwrap();
    let read = || params::credentials::<Credentials>(None, Some(name));
    mode(0o600);
    assert_eq!(read().unwrap().unwrap().access_key, "A");
    for bits in [0o640, 0o604, 0o620] {
        mode(bits);
        assert!(read().err().unwrap().to_string().contains("chmod 600"));
    }
    mode(0o600);
    std::fs::write(&file, r#"{"access_key": "A", "secret_key": SECRET}"#).unwrap();
    let error = read().err().unwrap().to_string();
    assert!(
        error.contains("line 1") && !error.contains("SECRET"),
        "{error}"
    );
}

#[test]
fn the_schema_takes_what_is_documented() {
    let check = |params: &Value| check_params(TYPE, Factory.schema(), params);
    let good = json!({"s3_url": "s3://b/p", "credentials": {"access_key": "a", "secret_key": "s", "session_token": "t"}, "addressing": "path"});
    assert!(check(&good).is_ok());
    for bad in [
        json!({}),
        json!({"s3_url": "b"}),
        json!({"s3_url": "s3://b", "acess": 1}),
    ] {
        assert!(check(&bad).is_err(), "{bad}");
    }
}
