//! What is known of each service, at a glance: read in opendal's sources and tried on servers, rounded down.

use crate::remote::store::{Conditions, Facts};

/// What is known of a service.
#[derive(Debug)]
pub(super) struct Service {
    /// opendal's name for it.
    pub(super) scheme: &'static str,
    /// What names a version.
    pub(super) tags: Tags,
    /// How a large file gets there.
    pub(super) large: Large,
    /// A conditional copy's source can be named by version: the request itself says which.
    pub(super) source: Source,
    /// Names that it changes or refuses.
    pub(super) names: Names,
    /// What the engine is told.
    pub(super) facts: Facts,
}

/// What names a version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    /// An entity tag.
    Etag,
    /// A generation number, which opendal calls the version.
    Generation,
    /// Nothing that could be believed.
    None,
}

/// How a large file gets to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Large {
    /// In parts that are put together at the end, under the condition that is checked then.
    Parts,
    /// In parts, to the scratch path; then a copy on the server under the condition.
    Scratch,
    /// In one buffer: opendal takes no second piece. Files are limited to [`super::upload::BUFFER_MAX`].
    Buffer,
}

/// How a copy is tied to one version of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// opendal looks at the source and names what it saw in this header of the copy: a look of ours at the request as it leaves
    /// tells whether it is the version that is meant.
    Header(&'static str),
    /// Looked at before and after; a copy of another version is taken back.
    Looked,
}

/// Names that the service changes or refuses. opendal itself trims white space around whole paths everywhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    /// The most bytes of a whole key, with the prefix.
    pub(super) key_max: usize,
    /// The most bytes of one part.
    pub(super) part_max: usize,
    /// Characters that it changes or refuses.
    pub(super) never: &'static str,
    /// Refuses all control characters, and not only those that the XML of a listing cannot carry: they would end a command.
    pub(super) control: bool,
    /// White space or a dot at the end of a part is cut off.
    pub(super) trims: bool,
    /// A part that is `~` alone stands for somebody's own folder.
    pub(super) home: bool,
}

const ALL: Conditions = Conditions {
    create: true,
    replace: true,
    remove: true,
};
const NO: Conditions = Conditions {
    create: false,
    replace: false,
    remove: false,
};
const SECOND: u64 = 1_000_000_000;
const MIB: u64 = 1024 * 1024;

/// Keys without folders, notes beside the content, copies on the server.
const FLAT: Facts = Facts {
    flat: true,
    start_after: true,
    conditions: NO,
    probe: true,
    notes: true,
    mtime_resolution: None,
    clock: SECOND,
    modes: false,
    links: false,
    copies: true,
    renames: false,
    folds_case: false,
    writable: true,
    parallel: 32,
    range: 8 * MIB,
};

/// Folders, and a name that is moved without its content.
const TREE: Facts = Facts {
    flat: false,
    start_after: false,
    notes: false,
    copies: false,
    renames: true,
    parallel: 4,
    probe: false,
    ..FLAT
};

const XML: Names = Names {
    key_max: 1024,
    part_max: 1024,
    never: "\\",
    control: false,
    trims: false,
    home: false,
};
const PLAIN: Names = Names {
    key_max: 4096,
    part_max: 255,
    never: "",
    control: true,
    trims: false,
    home: false,
};

/// A service of which nothing is known.
pub(super) const NOTHING: Facts = Facts {
    writable: false,
    copies: false,
    renames: false,
    ..TREE
};

/// The service with opendal's name `scheme`; `None` if nothing is known of it: then it is not offered.
pub(super) fn of(scheme: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.scheme == scheme)
}

/// The schemes that are known.
pub(super) fn schemes() -> impl Iterator<Item = &'static str> {
    SERVICES.iter().map(|service| service.scheme)
}

const fn flat(scheme: &'static str, conditions: Conditions, source: Source) -> Service {
    Service {
        scheme,
        tags: Tags::Etag,
        large: Large::Parts,
        source,
        names: XML,
        facts: Facts { conditions, ..FLAT },
    }
}

const fn tree(scheme: &'static str, renames: bool, folds_case: bool) -> Service {
    Service {
        scheme,
        tags: Tags::None,
        large: Large::Buffer,
        source: Source::Looked,
        names: PLAIN,
        facts: Facts {
            renames,
            folds_case,
            ..TREE
        },
    }
}

static SERVICES: &[Service] = &[
    flat("s3", ALL, Source::Header("x-amz-copy-source-if-match")),
    Service {
        // Listings have no start-after.
        facts: Facts {
            conditions: ALL,
            start_after: false,
            ..FLAT
        },
        ..flat("azblob", ALL, Source::Looked)
    },
    Service {
        tags: Tags::Generation,
        // What puts the parts together takes no condition there.
        large: Large::Scratch,
        ..flat("gcs", ALL, Source::Looked)
    },
    // Conditions that are offered there in part, or not when parts are put together, are not believed.
    flat("b2", NO, Source::Looked).without_tags(),
    Service {
        facts: Facts {
            start_after: false,
            ..FLAT
        },
        ..flat("cos", NO, Source::Looked)
    },
    Service {
        facts: Facts {
            start_after: false,
            ..FLAT
        },
        ..flat("obs", NO, Source::Looked).without_tags()
    },
    flat("oss", NO, Source::Looked),
    flat("swift", NO, Source::Looked).without_tags(),
    Service {
        facts: Facts {
            // Its listings may tell the time without seconds.
            clock: 60 * SECOND,
            // The linked opendal has none for it.
            renames: false,
            ..TREE
        },
        names: Names {
            trims: true,
            home: true,
            ..PLAIN
        },
        large: Large::Parts,
        ..tree("ftp", false, false)
    },
    Service {
        names: Names {
            key_max: 400,
            never: "\"*:<>?|\\",
            trims: true,
            ..PLAIN
        },
        ..tree("onedrive", true, true)
    },
    tree("gdrive", true, false),
    Service {
        names: Names {
            never: "\\",
            trims: true,
            ..PLAIN
        },
        ..tree("dropbox", true, true)
    },
    Service {
        large: Large::Parts,
        ..tree("azdls", true, false)
    },
    tree("azfile", true, true),
    tree("webhdfs", false, false),
    tree("yandex-disk", true, false),
    tree("pcloud", true, false),
    tree("koofr", true, true),
    tree("seafile", false, false),
];

impl Service {
    /// Its tags are not the same everywhere: times and sizes are compared instead.
    const fn without_tags(self) -> Self {
        Self {
            tags: Tags::None,
            ..self
        }
    }
}
