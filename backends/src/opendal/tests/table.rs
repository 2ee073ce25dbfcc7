//! The table of services, and the types' schemas.

use serde_json::{Value, json};
use wl_core::plugin::{BackendPlugin, check_params};

use crate::opendal::services::{self, Large, Tags};
use crate::remote::store::Conditions;

#[test]
fn conditions_need_tags_and_large_files_keep_them() {
    for scheme in services::schemes() {
        let service = services::of(scheme).unwrap();
        let offers = service.facts.conditions != Conditions::default();
        assert!(!offers || service.tags != Tags::None, "{scheme}");
        assert!(!offers || service.large != Large::Buffer, "{scheme}");
        assert!(!offers || service.facts.probe, "{scheme}");
        assert_eq!(service.facts.flat, service.facts.notes, "{scheme}");
    }
}

fn schema(name: &str) -> Option<&'static str> {
    let mut plugins = inventory::iter::<BackendPlugin>.into_iter();
    let plugin = plugins.find(|plugin| plugin.0.type_name() == name)?;
    Some(plugin.0.schema())
}

#[test]
fn schemas_take_what_is_documented_and_nothing_else() {
    let rows = [
        ("s3", json!({"s3_url": "s3://b"})),
        (
            "azblob",
            json!({"blob_container": "c", "account_name": "a", "credentials": {"sas_token": "t"}}),
        ),
        (
            "gcs",
            json!({"bucket": "b", "prefix": "p", "anonymous": true}),
        ),
        (
            "ftp",
            json!({"url": "ftp://u@h:21/p", "credentials": {"password": "x"}}),
        ),
        (
            "onedrive",
            json!({"location": "/a", "credentials": {"access_token": "t"}}),
        ),
        (
            "gdrive",
            json!({"credentials": {"refresh_token": "t", "client_id": "i", "client_secret": "s"}}),
        ),
        ("dropbox", json!({"credentials_file": "/x"})),
        (
            "opendal",
            json!({"scheme": "b2", "options": {"bucket": "b"}}),
        ),
    ];
    for (name, good) in rows {
        let Some(schema) = schema(name) else {
            continue;
        };
        assert!(check_params(name, schema, &good).is_ok(), "{name}");
        let mut odd = good;
        odd["nonsense"] = json!(1);
        assert!(check_params(name, schema, &odd).is_err(), "{name}");
        let schema: Value = serde_json::from_str(schema).unwrap();
        for (property, told) in schema["properties"].as_object().unwrap() {
            assert!(told["description"].is_string(), "{name}: {property}");
            let secret = matches!(property.as_str(), "credentials" | "options");
            assert_eq!(
                told["writeOnly"] == json!(true),
                secret,
                "{name}: {property}"
            );
        }
    }
}
