//! Options of `bench-local`.

use std::path::PathBuf;

use super::tools::Tool;
use crate::Result;
use crate::bench::tree::Shape;
use crate::bench::{number, tools};

pub const HELP: &str = "\
Usage: cargo xtask bench-local [OPTIONS]

  --files N       Files in the tree [default: 50000]
  --folders N     Folders in the tree [default: 2500]
  --size BYTES    About how large a file is [default: 4096]
  --rounds N      Medians are of so many rounds [default: 3]
  --dir DIR       A RAM-backed folder [default: /dev/shm]
  --tools LIST    Of wl,cp,rsync,rclone,bisync,unison [default: all but bisync]
  --scale N       Also measure peak memory with N small files (1000000)
  --syscalls      Also count system calls of wl and rsync with strace (slow)
  --wl FILE       Use this wl instead of building one
  --write         Put the figures into docs/performance.md
";

/// What to measure, and where.
#[derive(Debug)]
pub struct Options {
    pub shape: Shape,
    pub rounds: usize,
    pub dir: PathBuf,
    pub tools: Vec<Tool>,
    pub scale: Option<u64>,
    pub syscalls: bool,
    pub wl: Option<PathBuf>,
    pub write: bool,
    /// The arguments as given, for the report.
    pub command: String,
}

impl Options {
    pub fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self {
            shape: Shape {
                files: 50_000,
                folders: 2_500,
                size: 4096,
            },
            rounds: 3,
            dir: PathBuf::from("/dev/shm"),
            tools: Tool::ALL
                .into_iter()
                .filter(|tool| *tool != Tool::Bisync)
                .collect(),
            scale: None,
            syscalls: false,
            wl: None,
            write: false,
            command: format!("cargo xtask bench-local {}", args.join(" "))
                .trim()
                .to_owned(),
        };
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--files" => options.shape.files = number(flag, value()?)?,
                "--folders" => options.shape.folders = number(flag, value()?)?,
                "--size" => options.shape.size = number(flag, value()?)?,
                "--rounds" => options.rounds = number(flag, value()?)? as usize,
                "--dir" => options.dir = value()?.into(),
                "--tools" => options.tools = tools(value()?, &Tool::ALL, Tool::name, HELP)?,
                "--scale" => options.scale = Some(number(flag, value()?)?),
                "--wl" => options.wl = Some(std::path::absolute(value()?)?),
                "--syscalls" => options.syscalls = true,
                "--write" => options.write = true,
                other => return Err(format!("there is no option {other}\n\n{HELP}").into()),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn options_are_read() {
        let options = parse("--files 10 --rounds 1 --tools wl,bisync --scale 7 --write").unwrap();
        assert_eq!((options.shape.files, options.shape.folders), (10, 2500));
        assert_eq!(options.tools, [Tool::Wl, Tool::Bisync]);
        assert_eq!(
            (options.scale, options.write, options.syscalls),
            (Some(7), true, false)
        );
    }

    #[test]
    fn wrong_options_are_refused() {
        for line in [
            "--files",
            "--files x",
            "--rounds 0",
            "--tools tar",
            "--fast",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
