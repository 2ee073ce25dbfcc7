//! Files: none too long, none forgotten, none unfinished.

use crate::code::only_code;
use crate::plugins::production;
use crate::workspace::{assert_all, root, rust_files};

const MOST_LINES: usize = 600;

fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.starts_with("tests/")
        || path.contains("/tests/")
        || name == "tests.rs"
        || name.ends_with("_tests.rs")
}

fn too_long(path: &str, text: &str) -> Vec<String> {
    let lines = production(text).lines().count();
    if is_test(path) || lines <= MOST_LINES {
        return Vec::new();
    }
    vec![format!(
        "{path} has {lines} lines; the most is {MOST_LINES}: split it"
    )]
}

fn unfinished(path: &str, text: &str) -> Vec<String> {
    let code = only_code(text);
    let found = |name: &&str| {
        let lines = code
            .lines()
            .enumerate()
            .filter(|(_, line)| line.contains(*name));
        lines
            .map(|(line, _)| format!("{path}:{}: {name}", line + 1))
            .collect::<Vec<_>>()
    };
    ["todo!(", "unimplemented!(", "dbg!("]
        .iter()
        .flat_map(found)
        .collect()
}

/// Test files below `tests/SUITE/` that the suite's modules do not name: they would never run.
fn forgotten(suite: &str, files: &[(String, String)]) -> Vec<String> {
    let text = |path: &str| {
        files
            .iter()
            .find(|file| file.0 == path)
            .map(|file| only_code(&file.1))
    };
    let is_named = |path: &str| {
        let module = path
            .strip_suffix("/mod.rs")
            .or(path.strip_suffix(".rs"))
            .unwrap_or(path);
        let (folder, name) = module.rsplit_once('/').unwrap_or(("", module));
        let parents = if folder == suite {
            vec![format!("{suite}/main.rs")]
        } else {
            vec![format!("{folder}.rs"), format!("{folder}/mod.rs")]
        };
        let declaration = format!("mod {name};");
        let mut texts = parents.iter().filter_map(|parent| text(parent));
        texts.any(|text| text.lines().any(|line| line.ends_with(&declaration)))
    };
    let main = format!("{suite}/main.rs");
    let others = files
        .iter()
        .map(|file| file.0.as_str())
        .filter(|path| *path != main);
    others
        .filter(|path| !is_named(path))
        .map(|path| format!("{path} is not a module"))
        .collect()
}

#[test]
fn no_source_is_too_long() {
    assert_all(too_long);
    let long = "x\n".repeat(MOST_LINES + 1);
    assert_eq!(too_long("core/src/a.rs", &long).len(), 1);
    assert!(too_long("core/src/a/tests.rs", &long).is_empty());
    assert!(too_long("tests/cli/a.rs", &long).is_empty());
    let tests = format!("fn f() {{}}\n\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert!(too_long("core/src/a.rs", &tests).is_empty());
    let declared = format!("fn f() {{}}\n\n#[cfg(test)]\nmod tests;\n{long}");
    assert_eq!(too_long("core/src/a.rs", &declared).len(), 1);
}

#[test]
fn nothing_is_left_unfinished() {
    assert_all(unfinished);
    assert_eq!(
        unfinished("a.rs", "fn f() {\n    todo!()\n}"),
        ["a.rs:2: todo!("]
    );
    assert_eq!(
        unfinished("a.rs", "unimplemented!(\"x\"); dbg!(1);").len(),
        2
    );
    assert!(unfinished("a.rs", "// todo!()\nlet s = \"dbg!(x)\";").is_empty());
}

#[test]
fn no_test_file_is_forgotten() {
    let sources = rust_files();
    let suites = std::fs::read_dir(root().join("tests"))
        .unwrap()
        .map(Result::unwrap);
    let mut violations = Vec::new();
    for suite in suites.filter(|entry| entry.path().join("main.rs").exists()) {
        let suite = format!("tests/{}", suite.file_name().to_str().unwrap());
        let below = sources
            .iter()
            .filter(|source| source.path.starts_with(&format!("{suite}/")));
        let files: Vec<_> = below
            .map(|source| (source.path.clone(), source.text.clone()))
            .collect();
        violations.extend(forgotten(&suite, &files));
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_forgotten_test_file_is_found() {
    let files = |files: &[(&str, &str)]| -> Vec<(String, String)> {
        files
            .iter()
            .map(|file| (file.0.to_owned(), file.1.to_owned()))
            .collect()
    };
    let main = (
        "tests/cli/main.rs",
        "mod sync;\npub mod help;\n// mod lost;\n",
    );
    let good = [
        main,
        ("tests/cli/sync.rs", "mod deep;"),
        ("tests/cli/help/mod.rs", ""),
        ("tests/cli/sync/deep.rs", ""),
    ];
    assert!(forgotten("tests/cli", &files(&good)).is_empty());
    let bad = [
        main,
        ("tests/cli/lost.rs", ""),
        ("tests/cli/sync.rs", ""),
        ("tests/cli/sync/deep.rs", ""),
    ];
    assert_eq!(
        forgotten("tests/cli", &files(&bad)),
        [
            "tests/cli/lost.rs is not a module",
            "tests/cli/sync/deep.rs is not a module"
        ]
    );
}

/// A suite that no crate declares would never run either.
#[test]
fn every_suite_is_declared_by_a_crate() {
    let manifests = [
        "core",
        "backends",
        "syncers",
        "daemon",
        "daemon/control",
        "cli",
        "xtask",
        "tests/servers",
        "tests/trees",
    ];
    let read =
        |folder: &&str| std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let declared: String = manifests.iter().map(read).collect();
    for suite in std::fs::read_dir(root().join("tests"))
        .unwrap()
        .map(Result::unwrap)
    {
        if suite.path().join("main.rs").exists() {
            let path = format!("tests/{}/main.rs", suite.file_name().to_str().unwrap());
            assert!(declared.contains(&path), "{path} is in no Cargo.toml");
        }
    }
}
