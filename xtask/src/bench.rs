//! What the benchmarks share: trees to sync, time and peak memory of a command, a folder that goes away, tables.

pub mod daemon;
pub mod figures;
pub mod measure;
pub mod processes;
pub mod room;
pub mod syncthing;
pub mod tree;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use crate::Result;
use crate::run::{cargo, metadata, run};

/// The value of an option that is a number.
pub fn number(flag: &str, value: &str) -> Result<u64> {
    let number = u64::from_str(value).ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{flag} needs a number above 0, not {value:?}").into())
}

/// The tools of a list with commas, of these; `help` goes with the error.
pub fn tools<T: Copy>(
    list: &str,
    all: &[T],
    name: fn(T) -> &'static str,
    help: &str,
) -> Result<Vec<T>> {
    let tool = |wanted: &str| {
        let found = all.iter().copied().find(|tool| name(*tool) == wanted);
        found.ok_or_else(|| format!("there is no tool {wanted:?}\n\n{help}").into())
    };
    list.split(',').map(tool).collect()
}

/// Builds wl as it is released.
pub fn build() -> Result<PathBuf> {
    run(&mut cargo(&["build", "--release", "--package", "wl"]))?;
    Ok(target()?.join("release/wl"))
}

/// The folder that cargo builds in.
pub fn target() -> Result<PathBuf> {
    let metadata = metadata(&["--no-deps"])?;
    let target = metadata["target_directory"].as_str();
    Ok(target.ok_or("cargo has no target directory")?.into())
}

/// Some peers know times to the second only, and would miss a change in the second of the last sync.
pub fn settle() {
    std::thread::sleep(Duration::from_millis(1100));
}

/// The first line of what a program says about itself.
pub fn version(program: &Path, flag: &str) -> String {
    let told = Command::new(program)
        .arg(flag)
        .stdin(Stdio::null())
        .output();
    let told = told.map(|told| String::from_utf8_lossy(&told.stdout).into_owned());
    let line = told.unwrap_or_default();
    let line = line.lines().next().unwrap_or("version unknown");
    line.trim().to_owned()
}
