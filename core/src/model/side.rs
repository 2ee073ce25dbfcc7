//! The two sides of a pair and the directions content may take between them.

use std::fmt;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// One side of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The source storage.
    Source,
    /// The target storage.
    Target,
}

impl Side {
    /// Both sides, source first.
    pub const BOTH: [Side; 2] = [Side::Source, Side::Target];

    /// The other side.
    pub fn other(self) -> Self {
        match self {
            Side::Source => Side::Target,
            Side::Target => Side::Source,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Source => "source",
            Side::Target => "target",
        })
    }
}

/// A value for each side, so that no code is written twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sides<T> {
    /// The source's.
    pub source: T,
    /// The target's.
    pub target: T,
}

impl<T> Sides<T> {
    /// A value for each side.
    pub fn new(source: T, target: T) -> Self {
        Self { source, target }
    }

    /// Each side's value made by `make`.
    pub fn from_fn(mut make: impl FnMut(Side) -> T) -> Self {
        Self {
            source: make(Side::Source),
            target: make(Side::Target),
        }
    }

    /// Each side's value through `change`.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> Sides<U> {
        Sides {
            source: change(self.source),
            target: change(self.target),
        }
    }

    /// References to both values.
    pub fn as_ref(&self) -> Sides<&T> {
        Sides {
            source: &self.source,
            target: &self.target,
        }
    }
}

impl<T> Index<Side> for Sides<T> {
    type Output = T;
    fn index(&self, side: Side) -> &T {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

impl<T> IndexMut<Side> for Sides<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }
}

/// Which way changes may travel. Without a default on purpose: whoever starts a job says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Changes travel both ways.
    TwoWay,
    /// Changes travel from source to target; the target's own are left alone and reported as drift.
    OneWay,
    /// The target is made equal to the source; its own changes go to its trash.
    Mirror,
}
