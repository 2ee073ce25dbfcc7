//! Who may depend on whom.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::workspace::root;

/// A crate, the crates of ours that it may depend on, and those of others that it may not.
struct Rule {
    name: &'static str,
    may: &'static [&'static str],
    may_not: &'static [&'static str],
}

/// The table of docs/architecture.md.
const RULES: [Rule; 12] = [
    Rule {
        name: "wl-core",
        may: &[],
        may_not: &["clap", "notify", "opendal", "tracing-subscriber"],
    },
    Rule {
        name: "wl-backends",
        may: &["wl-core"],
        may_not: &["clap", "tracing-subscriber"],
    },
    Rule {
        name: "wl-syncers",
        may: &["wl-core"],
        may_not: &["clap", "notify", "opendal", "tracing-subscriber"],
    },
    Rule {
        name: "wl-control",
        may: &[],
        may_not: &["clap", "notify", "opendal", "rusqlite"],
    },
    Rule {
        name: "wl-daemon",
        may: &["wl-core", "wl-control", "wl-backends", "wl-syncers"],
        may_not: &["clap", "notify", "opendal", "rusqlite"],
    },
    Rule {
        name: "wl",
        may: &["wl-control", "wl-daemon"],
        may_not: &["notify", "opendal", "rusqlite"],
    },
    Rule {
        name: "xtask",
        may: &[],
        may_not: &[],
    },
    Rule {
        name: "wl-simulator",
        may: &["wl-core", "wl-backends", "wl-syncers", "wl-test-trees"],
        may_not: &["clap", "notify", "opendal"],
    },
    Rule {
        name: "wl-example-sqlite",
        may: &["wl-core"],
        may_not: &["clap", "notify", "opendal"],
    },
    Rule {
        name: "wl-with-sqlite",
        may: &["wl", "wl-example-sqlite"],
        may_not: &["clap", "notify", "opendal"],
    },
    Rule {
        name: "wl-test-trees",
        may: &["wl-core"],
        may_not: &["clap", "notify", "opendal", "rusqlite"],
    },
    Rule {
        name: "wl-test-servers",
        may: &[],
        may_not: &["clap", "notify", "opendal", "rusqlite"],
    },
];

/// Dependencies that break the table. Those of tests are free: a syncer is tested with real storages.
fn violations(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().unwrap();
    let ours: Vec<&str> = packages
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    packages
        .iter()
        .flat_map(|package| check(package, &ours))
        .collect()
}

fn check(package: &Value, ours: &[&str]) -> Vec<String> {
    let name = package["name"].as_str().unwrap();
    let Some(rule) = RULES.iter().find(|rule| rule.name == name) else {
        return vec![format!("{name} has no row in the dependency table")];
    };
    let all = package["dependencies"].as_array().unwrap();
    let of_program = all.iter().filter(|dependency| dependency["kind"] != "dev");
    let names = of_program.map(|dependency| dependency["name"].as_str().unwrap());
    let forbidden = names.filter(|dependency| {
        rule.may_not.contains(dependency)
            || ours.contains(dependency) && !rule.may.contains(dependency)
    });
    forbidden
        .map(|dependency| format!("{name} may not depend on {dependency}"))
        .collect()
}

#[test]
fn crates_depend_as_the_table_says() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(metadata["packages"].as_array().unwrap().len(), RULES.len());
    let violations = violations(&metadata);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_dependency_against_the_table_is_found() {
    let package = |name: &str, dependency: &str, kind: Value| {
        let dependency = json!({"name": dependency, "kind": kind});
        json!({"name": name, "dependencies": [dependency]})
    };
    let found = |package: Value| {
        let ours = RULES.map(|rule| json!({"name": rule.name, "dependencies": []}));
        let packages: Vec<Value> = ours.into_iter().chain([package]).collect();
        violations(&json!({"packages": packages}))
    };
    for (name, dependency) in [
        ("wl-core", "clap"),
        ("wl-core", "wl-backends"),
        ("wl-backends", "wl-syncers"),
        ("wl-syncers", "wl-backends"),
        ("wl-control", "wl-core"),
        ("wl", "wl-core"),
        ("wl", "opendal"),
    ] {
        for kind in [Value::Null, json!("build")] {
            let expected = format!("{name} may not depend on {dependency}");
            assert_eq!(found(package(name, dependency, kind)), [expected]);
        }
    }
    assert!(found(package("wl-syncers", "wl-backends", json!("dev"))).is_empty());
    assert!(found(package("wl-core", "serde", Value::Null)).is_empty());
    assert_eq!(found(package("new", "serde", Value::Null)).len(), 1);
}
