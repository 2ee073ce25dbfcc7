//! Plug-ins are reached through the registry; one file links them.

use crate::code::{lines_naming, only_code};
use crate::workspace::{assert_all, rust_files};

const LINKS: &str = "daemon/src/plugins.rs";

const PLUGIN_CRATES: [&str; 2] = ["wl_backends", "wl_syncers"];

/// Sources outside `plugins.rs` that name a plug-in crate. Tests may: they need real storages.
fn names_a_plugin_crate(path: &str, text: &str) -> Vec<String> {
    let is_program =
        path.contains("/src/") && path != LINKS && !path.starts_with("tests/simulator/");
    let code = only_code(production(text));
    let found = PLUGIN_CRATES.iter().flat_map(|name| {
        let lines = lines_naming(&code, name);
        lines
            .into_iter()
            .map(move |line| format!("{path}:{line}: only {LINKS} names {name}"))
    });
    found.filter(|_| is_program).collect()
}

/// The text in front of a file's test module.
pub fn production(text: &str) -> &str {
    let end = text.find("\n#[cfg(test)]\nmod ").filter(|at| {
        let line = text[at + 1..].lines().nth(1).unwrap_or_default();
        line.ends_with('{')
    });
    &text[..end.unwrap_or(text.len())]
}

#[test]
fn one_file_names_the_plugin_crates() {
    assert_all(names_a_plugin_crate);
    // The daemon crate comes to this file in its own time; once it is there it must link both.
    for source in rust_files().iter().filter(|source| source.path == LINKS) {
        for name in PLUGIN_CRATES {
            let line = format!("use {name} as _;");
            assert!(
                source.text.contains(&line),
                "{LINKS} must say `{line}`, or nothing is registered"
            );
        }
    }
}

#[test]
fn a_plugin_crate_named_elsewhere_is_found() {
    let code = "use wl_backends::local::Local;\n";
    for path in [
        "daemon/src/job.rs",
        "cli/src/main.rs",
        "syncers/src/stream.rs",
    ] {
        assert_eq!(names_a_plugin_crate(path, code).len(), 1, "{path}");
    }
    assert!(names_a_plugin_crate(LINKS, code).is_empty());
    assert!(names_a_plugin_crate("tests/cli/main.rs", code).is_empty());
    let in_tests = format!("fn f() {{}}\n\n#[cfg(test)]\nmod tests {{\n    {code}}}\n");
    assert!(names_a_plugin_crate("daemon/src/job.rs", &in_tests).is_empty());
}
