//! What decides can neither wait nor touch a disk.

use crate::code::{lines_naming, only_code};
use crate::workspace::{assert_all, rust_files};

const PURE: [&str; 3] = ["core/src/model/", "core/src/reconcile/", "core/src/filter/"];

const IMPURE: [&str; 15] = [
    "async",
    "await",
    "async_trait",
    "tokio",
    "tokio_util",
    "futures",
    "tracing",
    "std::fs",
    "std::time",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "rusqlite",
    "rustix",
];

fn impure(path: &str, text: &str) -> Vec<String> {
    let module = path
        .strip_suffix(".rs")
        .map(|path| format!("{path}/"))
        .unwrap_or_default();
    if !PURE
        .iter()
        .any(|pure| path.starts_with(pure) || module == *pure)
    {
        return Vec::new();
    }
    let code = only_code(text);
    let found = |name: &str| {
        let lines = lines_naming(&code, name);
        lines
            .into_iter()
            .map(move |line| format!("{path}:{line}: {name} in a pure module"))
            .collect()
    };
    IMPURE
        .iter()
        .flat_map(|name| -> Vec<String> { found(name) })
        .collect()
}

#[test]
fn model_and_reconcile_are_pure() {
    assert!(
        rust_files()
            .iter()
            .any(|source| source.path.starts_with(PURE[0]))
    );
    assert_all(impure);
}

#[test]
fn what_is_impure_is_found() {
    for code in [
        "async fn f() {}",
        "use tokio::sync::Mutex;",
        "use std::{fmt, fs};",
        "std::time::Instant::now()",
        "use rusqlite::Connection;",
        "#[async_trait]",
        "tracing::debug!(path);",
    ] {
        assert_eq!(impure("core/src/model/path.rs", code).len(), 1, "{code}");
        assert_eq!(
            impure("core/src/reconcile/table/moves.rs", code).len(),
            1,
            "{code}"
        );
        assert_eq!(impure("core/src/reconcile.rs", code).len(), 1, "{code}");
        assert!(impure("core/src/storage/spill.rs", code).is_empty());
    }
    assert!(
        impure(
            "core/src/model/path.rs",
            "// no async, no tokio\nlet s = \"std::fs\";"
        )
        .is_empty()
    );
}
