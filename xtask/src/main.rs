//! Development tasks: `cargo xtask NAME`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a development tool talks to a terminal"
)]

mod bench;
mod bench_idle;
mod bench_live;
mod bench_local;
mod bench_s3;
mod ci;
mod compare;
mod deny;
mod run;
mod services;
mod soak;
mod test_services;

use std::process::ExitCode;

/// What went wrong, in words.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const HELP: &str = "\
Usage: cargo xtask TASK

Tasks:
  ci           Check formatting, lints, licences and bans, then run all tests
  compare      Play histories of edits, kills and faults against wl and its peers, and judge what is left (--help for options)
  deny         Check licences, banned crates and sources against deny.toml
  bench-idle   Measure what a daemon costs whose jobs have nothing to do (--help for options)
  bench-live   Measure how soon wl and its peers carry changes over while they run (--help for options)
  bench-local  Measure wl and its peers on a RAM-backed folder (--help for options)
  bench-s3     Measure wl and its peers against a SeaweedFS on this machine (--help for options)
  services     Install servers and tools of others for benchmarks: services install
  soak         Run the long tests: soak --minutes N
  test-services  Test on servers of others, one after the other (--only NAME,... --install --allow-missing)
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match task.as_str() {
        "ci" => ci::main(&rest),
        "compare" => compare::main(&rest),
        "deny" => deny::main(&rest),
        "bench-idle" => bench_idle::main(&rest),
        "bench-live" => bench_live::main(&rest),
        "bench-local" => bench_local::main(&rest),
        "bench-s3" => bench_s3::main(&rest),
        "services" => services::main(&rest),
        "soak" => soak::main(&rest),
        "test-services" => test_services::main(&rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => {
            eprint!("There is no task \"{other}\".\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
