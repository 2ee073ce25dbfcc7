//! Options of `bench-s3`.

use std::path::PathBuf;

use super::tools::Tool;
use crate::Result;
use crate::bench::tree::Shape;
use crate::bench::{number, tools};

pub const HELP: &str = "\
Usage: cargo xtask bench-s3 [OPTIONS]

  --objects N     Objects of about 16 KiB [default: 10000]
  --large MIB     Size of the one large object [default: 2048]
  --no-large      Leave the large object out
  --rounds N      Medians are of so many rounds [default: 3]
  --dir DIR       A RAM-backed folder [default: /dev/shm]
  --tools LIST    Of wl,rclone,bisync,s5cmd,juicefs [default: all]
  --requests      Also count the requests of each tool, in runs of their own
  --wl FILE       Use this wl instead of building one
  --write         Put the figures into docs/performance.md

The server and the peers are those of `cargo xtask services install`, in $WL_SERVICES_DIR or target/services, or those in PATH.
";

const FOLDERS: u64 = 100;
const SIZE: u64 = 16 << 10;

/// What to measure, and where.
#[derive(Debug)]
pub struct Options {
    pub shape: Shape,
    /// The large object's size in MiB.
    pub large: Option<u64>,
    pub rounds: usize,
    pub dir: PathBuf,
    pub tools: Vec<Tool>,
    pub requests: bool,
    pub wl: Option<PathBuf>,
    pub write: bool,
    /// The arguments as given, for the report.
    pub command: String,
}

impl Options {
    pub fn parse(args: &[String]) -> Result<Self> {
        let command = format!("cargo xtask bench-s3 {}", args.join(" "));
        let mut options = Self {
            shape: Shape {
                files: 10_000,
                folders: FOLDERS,
                size: SIZE,
            },
            large: Some(2048),
            rounds: 3,
            dir: PathBuf::from("/dev/shm"),
            tools: Tool::ALL.to_vec(),
            requests: false,
            wl: None,
            write: false,
            command: command.trim().to_owned(),
        };
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--objects" => options.shape.files = number(flag, value()?)?,
                "--large" => options.large = Some(number(flag, value()?)?),
                "--no-large" => options.large = None,
                "--rounds" => options.rounds = number(flag, value()?)? as usize,
                "--dir" => options.dir = value()?.into(),
                "--tools" => options.tools = tools(value()?, &Tool::ALL, Tool::name, HELP)?,
                "--requests" => options.requests = true,
                "--wl" => options.wl = Some(std::path::absolute(value()?)?),
                "--write" => options.write = true,
                other => return Err(format!("there is no option {other}\n\n{HELP}").into()),
            }
        }
        options.shape.folders = FOLDERS.min(options.shape.files);
        Ok(options)
    }

    /// Bytes of the RAM-backed folder that will be in use at once, generously: a source, a target and what the server holds.
    pub fn needed(&self) -> u64 {
        let lanes = self.tools.len() as u64;
        let small = self.shape.bytes() * 3 * lanes;
        let large = self.large.map_or(0, |mib| 3 * (mib << 20));
        (256 << 20) + small.max(large) / 10 * 11
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn options_are_read() {
        let options = parse("--objects 10 --rounds 1 --tools wl,s5cmd --large 7 --write").unwrap();
        assert_eq!((options.shape.files, options.shape.folders), (10, 10));
        assert_eq!(options.tools, [Tool::Wl, Tool::S5cmd]);
        assert_eq!((options.large, options.rounds), (Some(7), 1));
        assert!(options.write && !options.requests);
        assert_eq!(parse("--no-large").unwrap().large, None);
    }

    #[test]
    fn wrong_options_are_refused() {
        for line in [
            "--objects",
            "--large x",
            "--rounds 0",
            "--tools aws",
            "--fast",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_large_object_is_there_three_times() {
        let options = parse("--objects 1 --large 1024").unwrap();
        assert!(options.needed() > 3 << 30);
    }
}
