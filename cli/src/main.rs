//! The `wl` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    wl::main()
}
