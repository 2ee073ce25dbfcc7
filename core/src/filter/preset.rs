//! Ready-made lists: what tools make again by themselves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Origin, Rule};

/// A ready-made list of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Installed packages and caches of JavaScript projects.
    Node,
    /// Compiled files, environments and caches of Python projects.
    Python,
    /// What cargo builds.
    Rust,
    /// Caches and passing files of version control; not its history.
    VcsCaches,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Node, Self::Python, Self::Rust, Self::VcsCaches];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python",
            Self::Rust => "rust",
            Self::VcsCaches => "vcs-caches",
        }
    }

    /// Its lines.
    pub fn lines(self) -> &'static [&'static str] {
        match self {
            Self::Node => &[
                "node_modules/",
                ".npm/",
                ".pnpm-store/",
                "**/.yarn/cache/",
                "**/.yarn/unplugged/",
                ".parcel-cache/",
                ".turbo/",
                ".next/",
                ".nuxt/",
                ".svelte-kit/",
            ],
            Self::Python => &[
                "__pycache__/",
                "*.py[cod]",
                ".venv/",
                "venv/",
                ".tox/",
                ".nox/",
                ".mypy_cache/",
                ".pytest_cache/",
                ".ruff_cache/",
                "*.egg-info/",
            ],
            Self::Rust => &["target/"],
            Self::VcsCaches => &[
                "**/.git/*.lock",
                "**/.git/fsmonitor--daemon*",
                "**/.git/lfs/cache/",
                "**/.git/lfs/tmp/",
                "**/.hg/cache/",
                "**/.hg/wcache/",
                "**/.svn/tmp/",
            ],
        }
    }

    pub(super) fn rules(self) -> impl Iterator<Item = Rule> {
        self.lines().iter().map(move |line| Rule {
            line: (*line).to_owned(),
            origin: Origin::Preset(self),
        })
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no preset `{text}`; the presets are {names}")
        })
    }
}
