//! Tests that run themselves again where limits and mounts are their own.

use std::process::Command;

const INSIDE: &str = "WL_TEST_INSIDE_NAMESPACES";

/// Whether this is the second run.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the test `inside` of this folder in new namespaces (flags of `unshare`), after a shell command. Where the system allows none
/// nothing is tried.
pub fn inside_namespaces(flags: &str, prepare: &str, inside: &str) {
    let this = std::env::current_exe().unwrap();
    let inside = format!("local::watch::tests::{inside}");
    let script = format!("{prepare} && exec \"$0\" --exact {inside} --nocapture");
    let run = Command::new("unshare")
        .args([flags, "sh", "-c", &script])
        .arg(this)
        .env(INSIDE, "1")
        .output();
    match run {
        Ok(run) if run.status.success() => {
            let said = String::from_utf8_lossy(&run.stdout).into_owned();
            assert!(said.contains("1 passed"), "{said}");
        }
        Ok(run) => {
            let said = String::from_utf8_lossy(&run.stderr).into_owned();
            let refused = said.contains("unshare:") || said.contains("cannot create");
            assert!(refused, "{said}\n{}", String::from_utf8_lossy(&run.stdout));
            eprintln!("not tried, no namespaces: {said}");
        }
        Err(error) => eprintln!("not tried, no unshare: {error}"),
    }
}
