//! `wl` with one storage type more: `sqlite`, from the worked example of `docs/plugin-authors.md`.

use std::process::ExitCode;

// Nothing else names the crate; without this line it would not be linked and register nothing.
use wl_example_sqlite as _;

fn main() -> ExitCode {
    wl::main()
}
