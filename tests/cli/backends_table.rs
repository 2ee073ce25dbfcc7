//! The table of docs/backends.md says what the code says. `SNAPSHOTS=overwrite` writes it anew.

use std::fs;

use serde_json::Value;

use crate::support::{Home, source};

const BEGIN: &str = "<!-- table: begin -->\n";
const END: &str = "<!-- table: end -->";

/// Every type that wl may have.
const TYPES: [&str; 12] = [
    "azblob", "dropbox", "ftp", "gcs", "gdrive", "http", "local", "onedrive", "opendal", "s3",
    "sftp", "webdav",
];

fn row(one: &Value) -> String {
    let most = &one["at-best"];
    let yes = |field: &str| if most[field] == true { "yes" } else { "-" };
    let times = match most["mtime-resolution"].as_u64() {
        None => "-",
        Some(1) => "1 ns",
        Some(1_000_000_000) => "1 s",
        Some(_) => "coarse",
    };
    let grade = match yes("writable") {
        "yes" => most["cas"].as_str().unwrap(),
        _ => "read only",
    };
    let case = if most["folds-case"] == true {
        "folds"
    } else {
        "keeps"
    };
    let cells = [
        &format!("`{}`", one["type"].as_str().unwrap()),
        grade,
        yes("empty-folders"),
        yes("links"),
        yes("modes"),
        times,
        yes("rename"),
        yes("trash"),
        case,
    ];
    format!("| {} |\n", cells.join(" | "))
}

fn table(types: &[Value]) -> String {
    let heads = "| type | grade | empty folders | links | permissions | file times | rename | trash | case |\n";
    let line = format!("|{}\n", "---|".repeat(9));
    let rows: String = types.iter().map(row).collect();
    format!("{heads}{line}{rows}")
}

#[test]
fn the_table_of_types_is_what_the_code_says() {
    let home = Home::new();
    let (_, types) = home.json("storage types");
    let types = types["types"].as_array().unwrap();
    let names: Vec<_> = types
        .iter()
        .map(|one| one["type"].as_str().unwrap())
        .collect();
    // A program with fewer types has only a part of the table.
    let is_whole = names == TYPES;
    let known = names.iter().all(|name| TYPES.contains(name));
    assert!(
        known,
        "a type is missing in this test and in docs/backends.md: {names:?}"
    );
    let path = source("docs/backends.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if is_whole && std::env::var_os("SNAPSHOTS").is_some_and(|what| what == "overwrite") {
        let text = format!("{before}{BEGIN}{}{END}{after}", table(types));
        return fs::write(path, text).unwrap();
    }
    for one in types {
        let row = row(one);
        assert!(
            written.contains(&row),
            "docs/backends.md lacks (SNAPSHOTS=overwrite): {row}"
        );
    }
    if is_whole {
        assert_eq!(written, table(types), "SNAPSHOTS=overwrite writes it anew");
    }
}
