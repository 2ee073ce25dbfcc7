//! `cargo xtask ci`: everything that must hold before a change goes in.

use crate::run::{cargo, run};
use crate::{Result, deny};

/// The test command of the README.
const TEST: [&str; 3] = ["test", "--workspace", "--all-features"];

pub fn main(args: &[String]) -> Result<()> {
    if !args.is_empty() {
        return Err("ci takes no arguments".into());
    }
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features"];
    run(cargo(&clippy).args(["--", "-D", "warnings"]))?;
    deny::main(&[])?;
    run(&mut cargo(&TEST))
}

#[cfg(test)]
mod tests {
    /// The README promises one test command; this task must be no other.
    #[test]
    fn the_test_command_is_the_one_in_the_readme() {
        let readme = std::fs::read_to_string(crate::run::workspace().join("README.md")).unwrap();
        let command = format!("\ncargo {}\n", super::TEST.join(" "));
        assert!(readme.contains(&command));
    }
}
