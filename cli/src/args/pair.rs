//! Which two storages a command means.

use clap::Args;

/// Two storages without set-up.
#[derive(Clone, Debug, Args)]
pub struct Pair {
    /// Path or URL of the source storage
    pub source: String,
    /// Path or URL of the target storage
    pub target: String,
}

/// The pair of a container's storages.
#[derive(Clone, Debug, Default, Args)]
pub struct Selection {
    /// Backend id or type of the source [default: the container's first local storage]
    #[arg(long, value_name = "X")]
    pub source_storage: Option<String>,
    /// Backend id or type of the target [default: the first that is not local; of two storages the other]
    #[arg(long, value_name = "X")]
    pub target_storage: Option<String>,
}
