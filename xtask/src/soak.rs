//! `cargo xtask soak --minutes N`: the long tests.
//!
//! A long test is an ignored test whose name starts with `soak_`. It reads from `WL_SOAK_MINUTES` how long it may take.

use crate::Result;
use crate::run::{cargo, output, run};

const TESTS: [&str; 4] = ["test", "--release", "--workspace", "--all-features"];

pub fn main(args: &[String]) -> Result<()> {
    let minutes = minutes(args)?;
    let listed = output(cargo(&TESTS).args(["--", "--ignored", "--list", "soak_"]))?;
    let names = soak_tests(&listed);
    if names.is_empty() {
        return Err("there is no ignored test whose name starts with `soak_`".into());
    }
    eprintln!("{} long tests, {minutes} minutes each:", names.len());
    for name in &names {
        eprintln!("  {name}");
    }
    // One at a time: each may use the whole machine, and its output stays readable.
    let mut command = cargo(&TESTS);
    command.args([
        "--no-fail-fast",
        "--",
        "--ignored",
        "--exact",
        "--nocapture",
    ]);
    command.arg("--test-threads=1").args(&names);
    run(command.env("WL_SOAK_MINUTES", minutes.to_string()))
}

fn minutes(args: &[String]) -> Result<u64> {
    let minutes = match args {
        [flag, minutes] if flag == "--minutes" => minutes.parse().ok(),
        _ => None,
    };
    minutes
        .filter(|minutes| *minutes > 0)
        .ok_or_else(|| "usage: cargo xtask soak --minutes N".into())
}

/// The long tests in what `--list` printed.
fn soak_tests(listed: &str) -> Vec<&str> {
    let names = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"));
    names
        .filter(|name| {
            name.rsplit("::")
                .next()
                .is_some_and(|name| name.starts_with("soak_"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tests_are_told_by_the_last_part_of_their_name() {
        let listed = "soak_crashes: test\nstate::soak_rows: test\nsoak_dir::other: test\n\
                      not_soak_x: test\n\n3 tests, 0 benchmarks\n";
        assert_eq!(soak_tests(listed), ["soak_crashes", "state::soak_rows"]);
    }

    #[test]
    fn minutes_must_be_given() {
        let args = |args: &[&str]| args.iter().map(|arg| arg.to_string()).collect::<Vec<_>>();
        assert_eq!(minutes(&args(&["--minutes", "5"])).unwrap(), 5);
        for wrong in [
            &[] as &[&str],
            &["--minutes"],
            &["--minutes", "0"],
            &["--minutes", "x"],
        ] {
            assert!(minutes(&args(wrong)).is_err());
        }
    }
}
