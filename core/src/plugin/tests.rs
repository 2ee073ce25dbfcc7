//! The registry, the choice of a syncer and the check of parameters; the messages are pinned.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::*;
use crate::storage::{CasGrade, ErrorKind, ListOrder, StorageError};

struct Named(&'static str);

#[async_trait]
impl BackendFactory for Named {
    fn type_name(&self) -> &'static str {
        self.0
    }

    fn summary(&self) -> &'static str {
        "for tests"
    }

    fn schema(&self) -> &'static str {
        "{}"
    }

    fn at_best(&self) -> Capabilities {
        Capabilities {
            cas: CasGrade::None,
            list_order: ListOrder::None,
            listing_proves_absence: false,
            empty_folders: false,
            links: false,
            modes: false,
            mtime_resolution: None,
            rename: false,
            trash: false,
            folds_case: false,
            stages: false,
            writable: false,
        }
    }

    async fn connect(
        &self,
        _: &Value,
        _: &ConnectContext,
    ) -> storage::Result<Arc<dyn StorageBackend>> {
        let reason = "only a name";
        Err(StorageError::new(ErrorKind::Unsupported, "connect", reason))
    }
}

fn backend(name: &'static str) -> &'static dyn BackendFactory {
    Box::leak(Box::new(Named(name)))
}

const ALL: SyncerFlags = SyncerFlags {
    continuous: true,
    one_shot: true,
    unidirectional: true,
    requires_mount: false,
};

type Types = &'static [&'static str];

fn syncer(name: &'static str, source: Types, target: Types, flags: SyncerFlags) -> SyncerPlugin {
    SyncerPlugin {
        name,
        source_types: source,
        target_types: target,
        flags,
        create: |_| unreachable!("nothing is created here"),
    }
}

fn any(name: &'static str) -> SyncerPlugin {
    syncer(name, &["*"], &["*"], ALL)
}

fn registry(syncers: &[SyncerPlugin]) -> Registry {
    Registry::new([backend("local")], syncers.iter().copied()).unwrap()
}

#[test]
fn the_registry_is_sorted_however_it_was_filled() {
    let backends = ["s3", "local", "webdav"].map(backend);
    let registry = Registry::new(backends, ["c", "a", "b"].map(any)).unwrap();
    let names: Vec<_> = registry.backends().map(|b| b.type_name()).collect();
    assert_eq!(names, ["local", "s3", "webdav"]);
    let names: Vec<_> = registry.syncers().iter().map(|s| s.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(registry.backend("s3").unwrap().type_name(), "s3");
}

#[test]
fn what_is_wrong_with_a_registry_is_said() {
    let message = |backends: &[&'static str], syncers: &[&'static str]| {
        let backends = backends.iter().map(|name| backend(name));
        let syncers = syncers.iter().map(|name| any(name));
        Registry::new(backends, syncers).unwrap_err().to_string()
    };
    assert_eq!(
        message(&["local", "s3", "local"], &["a"]),
        "two storage backends are registered as `local`; rename one of them"
    );
    assert_eq!(
        message(&["local"], &["b", "a", "b"]),
        "two syncers are registered as `b`; rename one of them"
    );
    assert_eq!(
        message(&[], &["a"]),
        "no storage backends are registered: the plug-in crates are not linked (see daemon/src/plugins.rs)"
    );
    assert_eq!(
        message(&["local"], &[]),
        "no syncers are registered: the plug-in crates are not linked (see daemon/src/plugins.rs)"
    );
}

#[test]
fn an_unknown_type_lists_what_there_is() {
    let registry = Registry::new(["s3", "local"].map(backend), [any("a")]).unwrap();
    let error = registry.backend("S3").err().unwrap();
    assert_eq!(
        error.to_string(),
        "there is no storage type `S3`; the types are: local, s3"
    );
}

const BOOLS: [bool; 2] = [false, true];

fn every_flags() -> impl Iterator<Item = SyncerFlags> {
    (0..16u8).map(|bits| SyncerFlags {
        continuous: bits & 1 != 0,
        one_shot: bits & 2 != 0,
        unidirectional: bits & 4 != 0,
        requires_mount: bits & 8 != 0,
    })
}

fn every_needs() -> impl Iterator<Item = Needs> {
    (0..16u8).map(|bits| Needs {
        continuous: bits & 1 != 0,
        one_shot: bits & 2 != 0,
        unidirectional: bits & 4 != 0,
        both_mounted: bits & 8 != 0,
    })
}

/// Whether flags satisfy needs: the table of the design, as a list of what forbids it.
fn satisfies(flags: SyncerFlags, needs: Needs) -> bool {
    let forbidden = [
        needs.continuous && !flags.continuous,
        needs.one_shot && !flags.one_shot,
        needs.unidirectional && !flags.unidirectional,
        flags.requires_mount && !needs.both_mounted,
    ];
    !forbidden.contains(&true)
}

/// Type lists, and how many `"*"` it takes to accept `local` with them; `None`: it is not accepted.
const TYPES: [(Types, Option<usize>); 7] = [
    (&[], None),
    (&["s3"], None),
    (&["loc"], None),
    (&["local"], Some(0)),
    (&["s3", "local"], Some(0)),
    (&["*"], Some(1)),
    (&["*", "local"], Some(0)),
];

#[test]
fn one_syncer_is_chosen_exactly_if_it_can_and_accepts() {
    for flags in every_flags() {
        for needs in every_needs() {
            for (source, source_stars) in TYPES {
                for (target, target_stars) in TYPES {
                    let accepted = source_stars.is_some() && target_stars.is_some();
                    let registry = registry(&[syncer("only", source, target, flags)]);
                    let chosen = registry.select_syncer("local", "local", needs);
                    assert_eq!(
                        chosen.is_ok(),
                        accepted && satisfies(flags, needs),
                        "{source:?} {target:?} {flags:?} {needs:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn of_two_the_fewest_stars_win_then_the_name() {
    let needs = Needs {
        continuous: true,
        one_shot: false,
        unidirectional: false,
        both_mounted: false,
    };
    let kinds = || {
        TYPES
            .iter()
            .flat_map(|s| TYPES.iter().map(move |t| (*s, *t)))
    };
    let stars = |((_, source), (_, target)): (_, _)| {
        let (source, target): (Option<usize>, Option<usize>) = (source, target);
        Some(source? + target?)
    };
    for a in kinds() {
        for b in kinds() {
            for reversed in BOOLS {
                let mut both = [
                    syncer("a", a.0.0, a.1.0, ALL),
                    syncer("b", b.0.0, b.1.0, ALL),
                ];
                if reversed {
                    both.reverse();
                }
                let wanted = match (stars(a), stars(b)) {
                    (None, None) => None,
                    (Some(_), None) => Some("a"),
                    (None, Some(_)) => Some("b"),
                    (Some(a), Some(b)) => Some(if a <= b { "a" } else { "b" }),
                };
                let registry = registry(&both);
                let chosen = registry.select_syncer("local", "local", needs);
                assert_eq!(chosen.ok().map(|s| s.name), wanted, "{a:?} {b:?}");
            }
        }
    }
}

#[test]
fn the_better_match_loses_if_it_cannot_do_the_job() {
    for flags in every_flags() {
        for needs in every_needs() {
            let better = syncer("better", &["local"], &["s3"], flags);
            let registry = registry(&[better, any("other")]);
            let chosen = registry.select_syncer("local", "s3", needs).unwrap();
            let wanted = if satisfies(flags, needs) {
                "better"
            } else {
                "other"
            };
            assert_eq!(chosen.name, wanted, "{flags:?} {needs:?}");
            let turned = registry.select_syncer("s3", "local", needs).unwrap();
            assert_eq!(turned.name, "other", "source and target are not exchanged");
        }
    }
}

#[test]
fn no_syncer_for_a_job_says_which_there_are() {
    let once = SyncerFlags {
        continuous: false,
        ..ALL
    };
    let registry = registry(&[
        syncer("b", &["*"], &["*"], once),
        syncer("a", &["s3"], &["s3"], ALL),
    ]);
    let needs = Needs {
        continuous: true,
        one_shot: false,
        unidirectional: true,
        both_mounted: false,
    };
    let error = registry.select_syncer("local", "s3", needs).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no syncer can sync `local` to `s3` continuously, one way; the syncers are: a, b"
    );
}

const SCHEMA: &str = r#"{
  "type": "object",
  "required": ["bucket"],
  "additionalProperties": false,
  "properties": {
    "bucket": {"type": "string", "minLength": 3, "pattern": "^[a-z]+$", "description": "the bucket's name"},
    "port": {"type": "integer", "minimum": 1, "maximum": 65535, "description": "its port"},
    "style": {"type": "string", "enum": ["path", "host"], "description": "how it is addressed"},
    "endpoint": {"type": "string", "format": "uri", "description": "the server's URL"},
    "secret": {"type": "string", "maxLength": 4, "description": "the key"},
    "label": {"type": "string", "minLength": 1},
    "odd": {"multipleOf": 2}
  }
}"#;

/// The one fault of these parameters.
fn fault(params: Value) -> String {
    let error = check_params("s3", SCHEMA, &params).unwrap_err();
    assert_eq!(error.faults.len(), 1, "{error}");
    error.faults[0].clone()
}

#[test]
fn good_parameters_pass() {
    let good = json!({"bucket": "abc", "port": 1, "style": "path", "endpoint": "https://x.y/", "secret": "abcd"});
    assert_eq!(check_params("s3", SCHEMA, &good), Ok(()));
}

#[test]
fn each_fault_names_its_field_and_what_to_do() {
    let with = |field: &str, value: Value| {
        let mut params = json!({"bucket": "abc"});
        params[field] = value;
        fault(params)
    };
    assert_eq!(
        fault(json!({})),
        "field `bucket` is missing (the bucket's name)"
    );
    assert_eq!(
        with("pasword", json!("hunter2")),
        "unknown field `pasword`; the fields are: `bucket`, `endpoint`, `label`, `odd`, `port`, `secret`, `style`"
    );
    assert_eq!(
        with("port", json!("hunter2")),
        "field `port` must be an integer, at least 1, at most 65535 (its port)"
    );
    assert_eq!(
        with("style", json!("hunter2")),
        "field `style` must be a string, one of \"path\", \"host\" (how it is addressed)"
    );
    assert_eq!(
        with("bucket", json!("HUNTER")),
        "field `bucket` must be a string, of the form `^[a-z]+$`, at least 3 characters long (the bucket's name)"
    );
    assert_eq!(
        with("secret", json!("hunter2")),
        "field `secret` must be a string, at most 4 characters long (the key)"
    );
    assert_eq!(
        with("endpoint", json!("hunter2")),
        "field `endpoint` must be a string, of the format `uri` (the server's URL)"
    );
    assert_eq!(
        with("label", json!("")),
        "field `label` must be a string, not empty"
    );
    assert_eq!(
        with("odd", json!(3)),
        "field `odd` breaks the rule `multipleOf` of its schema"
    );
}

#[test]
fn a_value_is_never_repeated() {
    let secret = "hunter2hunter2";
    for field in ["bucket", "port", "style", "endpoint", "secret", "other"] {
        let values = [
            json!(secret),
            json!(-4_711_471),
            json!([secret]),
            json!({secret: secret}),
            json!(false),
        ];
        for value in values {
            let mut params = json!({"bucket": "abc"});
            params[field] = value.clone();
            let Err(error) = check_params("s3", SCHEMA, &params) else {
                continue;
            };
            let shown = error.to_string();
            assert!(!shown.contains(secret), "{field}: {shown}");
            assert!(!shown.contains("4711471"), "{field}: {shown}");
            assert!(shown.contains(&format!("`{field}`")), "{field}: {shown}");
            assert!(shown.starts_with("the parameters of storage type `s3` are wrong: "));
        }
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let error = check_params("s3", SCHEMA, &json!({"port": 0, "x": 1})).unwrap_err();
    assert_eq!(error.faults.len(), 3, "{error}");
}

#[test]
fn a_broken_schema_is_the_plug_in_s_fault() {
    for (schema, said) in [
        ("{", "is not JSON"),
        (r#"{"type": 5}"#, "is no JSON schema"),
    ] {
        let error = check_params("s3", schema, &json!({}))
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{error}");
    }
}
