//! Options of `bench-live`.

use std::path::PathBuf;

use super::tools::Tool;
use crate::Result;
use crate::bench::tree::Shape;
use crate::bench::{number, tools};

pub const HELP: &str = "\
Usage: cargo xtask bench-live [OPTIONS]

  --files N       Files in the tree; 1000000 is the other size of interest [default: 10000]
  --folders N     Folders in the tree [default: a fiftieth of the files]
  --size BYTES    About how large a file is [default: 512]
  --changes N     Single changes a round: a quarter each is created, edited, renamed and deleted [default: 200]
  --gap MS        About so long it is quiet between two changes [default: 100]
  --burst N       New files of the burst, which are then renamed with their folder [default: 5000]
  --idle S        Seconds of idling [default: 60]
  --rounds N      So many rounds of all but idling [default: 1]
  --dir DIR       Where the trees are made [default: cargo's target folder]
  --tools LIST    Of wl,lsyncd,unison,syncthing [default: all]
  --poll S        wl polls every S seconds instead of what it does by itself
  --wl FILE       Use this wl instead of building one
  --json FILE     Write the figures there too
  --write         Put the figures into docs/performance.md
";

/// What to measure, and where.
#[derive(Debug)]
pub struct Options {
    pub shape: Shape,
    pub changes: u64,
    pub gap: u64,
    pub burst: u64,
    pub idle: u64,
    pub rounds: u64,
    pub dir: Option<PathBuf>,
    pub tools: Vec<Tool>,
    pub poll: Option<u64>,
    pub wl: Option<PathBuf>,
    pub json: Option<PathBuf>,
    pub write: bool,
    /// The arguments as given, for the report.
    pub command: String,
}

impl Options {
    pub fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self {
            shape: Shape {
                files: 10_000,
                folders: 0,
                size: 512,
            },
            changes: 200,
            gap: 100,
            burst: 5_000,
            idle: 60,
            rounds: 1,
            dir: None,
            tools: Tool::ALL.into(),
            poll: None,
            wl: None,
            json: None,
            write: false,
            command: format!("cargo xtask bench-live {}", args.join(" "))
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
                "--changes" => options.changes = number(flag, value()?)?,
                "--gap" => options.gap = number(flag, value()?)?,
                "--burst" => options.burst = number(flag, value()?)?,
                "--idle" => options.idle = number(flag, value()?)?,
                "--rounds" => options.rounds = number(flag, value()?)?,
                "--dir" => options.dir = Some(value()?.into()),
                "--tools" => options.tools = tools(value()?, &Tool::ALL, Tool::name, HELP)?,
                "--poll" => options.poll = Some(number(flag, value()?)?),
                "--wl" => options.wl = Some(std::path::absolute(value()?)?),
                "--json" => options.json = Some(std::path::absolute(value()?)?),
                "--write" => options.write = true,
                other => return Err(format!("there is no option {other}\n\n{HELP}").into()),
            }
        }
        if options.shape.folders == 0 {
            options.shape.folders = (options.shape.files / 50).max(1);
        }
        if options.changes * options.rounds > options.shape.files {
            return Err("no file is changed twice: use more --files or fewer --changes".into());
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&args)
    }

    #[test]
    fn options_are_read() {
        let options =
            parse("--files 1000000 --rounds 2 --tools wl,unison --poll 1 --write").unwrap();
        assert_eq!(
            (options.shape.files, options.shape.folders),
            (1_000_000, 20_000)
        );
        assert_eq!(options.tools, [Tool::Wl, Tool::Unison]);
        assert_eq!((options.poll, options.write), (Some(1), true));
    }

    #[test]
    fn wrong_options_are_refused() {
        for line in [
            "--files",
            "--files x",
            "--rounds 0",
            "--tools tar",
            "--fast",
            "--files 100 --changes 101",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
