//! Options of everything that runs a pass.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use clap::{Args, ValueEnum};
use wl_daemon::Limits;
use wl_daemon::model::Direction;
use wl_daemon::storage::{CasGrade, Durability, TrashKeep};
use wl_daemon::sync::{DeleteBudget, Keep, SyncOptions};

use super::{FilterArgs, parse};

/// Which way changes travel.
#[derive(Clone, Copy, Debug, Args)]
struct DirectionArgs {
    /// Send changes from source to target only; leave the target's own alone and report them as drift
    #[arg(long, conflicts_with = "mirror")]
    unidirectional: bool,
    /// Make the target equal to the source; put the target's own changes into its trash
    #[arg(long)]
    mirror: bool,
}

impl DirectionArgs {
    fn direction(self) -> Direction {
        match (self.mirror, self.unidirectional) {
            (true, _) => Direction::Mirror,
            (false, true) => Direction::OneWay,
            (false, false) => Direction::TwoWay,
        }
    }
}

/// How a run goes about its work.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    direction: DirectionArgs,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Make every file durable by itself, a batch at a time, or leave it to the system
    #[arg(
        long,
        value_enum,
        default_value = "batch",
        value_name = "HOW",
        help_heading = "Run options"
    )]
    durability: DurabilityArg,
    /// Stop before more content than this would exist nowhere: a count, or a percentage of the files
    #[arg(long, allow_hyphen_values = true, value_parser = parse::max_delete, default_value = "50%", value_name = "N|P%", help_heading = "Run options")]
    max_delete: DeleteBudget,
    /// Accept that a storage was emptied, and empty the other
    #[arg(long, help_heading = "Run options")]
    allow_empty: bool,
    /// Accept that another file system or another folder is where a storage was: compare everything anew, and remove nothing because it is missing there
    #[arg(long, help_heading = "Run options")]
    accept_new_filesystem: bool,
    /// Keep replaced and removed versions this long (30s, 12h, 7d, 2w), or not at all (none)
    #[arg(long, allow_hyphen_values = true, value_parser = parse::trash_keep, default_value = "7d", value_name = "TIME", help_heading = "Run options")]
    trash_keep: TrashKeep,
    /// Read and hash every file, whatever its times say
    #[arg(long, help_heading = "Run options")]
    checksum: bool,
    /// Refuse to write to storages whose protection against racing writers is weaker than this; `atomic` refuses every local folder
    #[arg(
        long,
        value_enum,
        default_value = "none",
        value_name = "GRADE",
        help_heading = "Run options"
    )]
    require_cas: CasArg,
    /// Read and write at most this many bytes a second in each storage (512K, 10M, 1G: powers of 1024)
    #[arg(long, allow_hyphen_values = true, value_parser = parse::bytes_per_second, value_name = "RATE", help_heading = "Run options")]
    bwlimit: Option<NonZeroU64>,
    /// Send each storage at most this many requests a second
    #[arg(long, allow_hyphen_values = true, value_parser = parse::requests_per_second, value_name = "N", help_heading = "Run options")]
    max_requests_per_second: Option<NonZeroU32>,
    /// In a continuous job, look at everything at least every so many seconds, whatever the watchers say
    #[arg(long, allow_hyphen_values = true, value_parser = parse::seconds, default_value = "3600", value_name = "S", help_heading = "Run options")]
    rescan_interval: u64,
    #[command(flatten)]
    filter: FilterArgs,
}

impl RunArgs {
    /// The options of a run.
    pub fn options(&self) -> SyncOptions {
        SyncOptions {
            dry_run: self.dry_run,
            durability: self.durability.into(),
            max_delete: self.max_delete,
            allow_empty: self.allow_empty,
            accept_new_filesystem: self.accept_new_filesystem,
            trash_keep: self.trash_keep,
            checksum: self.checksum,
            require_cas: self.require_cas.into(),
            exclude: self.filter.exclusions(),
            rescan: Duration::from_secs(self.rescan_interval),
            ..SyncOptions::new(self.direction.direction())
        }
    }

    /// How fast the run may go.
    pub fn limits(&self) -> Limits {
        Limits {
            bytes_per_second: self.bwlimit,
            requests_per_second: self.max_requests_per_second,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DurabilityArg {
    Full,
    Batch,
    None,
}

impl From<DurabilityArg> for Durability {
    fn from(arg: DurabilityArg) -> Self {
        match arg {
            DurabilityArg::Full => Durability::Full,
            DurabilityArg::Batch => Durability::Batch,
            DurabilityArg::None => Durability::None,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CasArg {
    /// Take every storage, even one where a version that somebody writes at the same time may be lost
    None,
    /// The version is looked at just before it is replaced; one written in that moment may be lost
    Checked,
    /// A version written at the same time is found after the change and kept; nothing is lost (the most that local folders can do)
    Recoverable,
    /// The storage itself refuses to replace another version than the expected one (no local folder can)
    Atomic,
}

impl From<CasArg> for CasGrade {
    fn from(arg: CasArg) -> Self {
        match arg {
            CasArg::None => CasGrade::None,
            CasArg::Checked => CasGrade::Checked,
            CasArg::Recoverable => CasGrade::Recoverable,
            CasArg::Atomic => CasGrade::Atomic,
        }
    }
}

/// Which version of a conflict is kept.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KeepArg {
    /// The source's, whole
    Source,
    /// The target's, whole
    Target,
    /// Both: the source's at the path, the target's beside it under another name
    Both,
    /// The one that was changed last
    Newer,
}

impl From<KeepArg> for Keep {
    fn from(arg: KeepArg) -> Self {
        match arg {
            KeepArg::Source => Keep::Source,
            KeepArg::Target => Keep::Target,
            KeepArg::Both => Keep::Both,
            KeepArg::Newer => Keep::Newer,
        }
    }
}
