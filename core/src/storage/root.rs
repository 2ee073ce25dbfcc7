//! What tells whether the root is still the one that a pair's baseline speaks about.

/// What is behind a storage's root. Empty where there is no such thing: a bucket and a prefix are what they are called.
///
/// Nothing in it but `start` may change by itself, by a restart of the machine or a mount least of all: what is not known to stay is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootMarker {
    /// The file system: another value means that something else is mounted there.
    pub file_system: String,
    /// The folder itself, as words from the surest on. `None` where nothing is known that stays.
    pub folder: Option<String>,
    /// The file system's value is given out anew with every mount; an equal `folder` proves that it is the same root all the same.
    pub renumbered: bool,
    /// Another value each time that the storage may have lost, by itself, something that it showed before: after a restart of its machine
    /// what was not synced may be gone. `None` where that is not known; then what is missing after a run was killed may come back.
    pub start: Option<String>,
}

/// A folder of this machine. At the same time no other one has the same numbers, whatever path or mount leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineFolder {
    /// The file system that it is on.
    pub device: u64,
    /// Which one it is there.
    pub inode: u64,
}

/// What became of a root since it was remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootChange {
    /// It is the same, as far as can be told.
    Same,
    /// Another folder of the same file system is in its place.
    Folder,
    /// Another file system is there.
    FileSystem,
}

impl RootMarker {
    /// Compares it with what was remembered. A marker that tells less (an older wl's, an older kernel's) proves no change.
    pub fn since(&self, known: &Self) -> RootChange {
        let folders = self.folder.as_deref().zip(known.folder.as_deref());
        if self.file_system != known.file_system {
            let same = self.renumbered && folders.is_some_and(|(now, was)| now == was);
            return if same {
                RootChange::Same
            } else {
                RootChange::FileSystem
            };
        }
        let differs = folders.is_some_and(|(now, was)| {
            let mut words = now.split(' ').zip(was.split(' '));
            words.any(|(now, was)| now != was)
        });
        if differs {
            RootChange::Folder
        } else {
            RootChange::Same
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(file_system: &str, folder: &str) -> RootMarker {
        RootMarker {
            file_system: file_system.to_owned(),
            folder: (!folder.is_empty()).then(|| folder.to_owned()),
            renumbered: false,
            start: None,
        }
    }

    #[test]
    fn what_differs_is_told_and_what_tells_less_is_no_difference() {
        let now = marker("fs", "5 born-7");
        for (known, change) in [
            (marker("fs", "5 born-7"), RootChange::Same),
            (marker("fs", ""), RootChange::Same),
            (marker("fs", "5"), RootChange::Same),
            (marker("fs", "6 born-7"), RootChange::Folder),
            (marker("fs", "5 born-8"), RootChange::Folder),
            (marker("fs", "6"), RootChange::Folder),
            (marker("other", "5 born-7"), RootChange::FileSystem),
            (marker("other", ""), RootChange::FileSystem),
            (marker("", ""), RootChange::FileSystem),
        ] {
            assert_eq!(now.since(&known), change, "{known:?}");
            assert_eq!(known.since(&now), change, "{known:?}");
        }
        assert_eq!(marker("", "").since(&marker("", "")), RootChange::Same);
    }

    #[test]
    fn a_new_number_of_the_file_system_is_no_change_if_all_of_the_folder_is_equal() {
        let now = RootMarker {
            renumbered: true,
            ..marker("8:2", "5 born-7")
        };
        assert_eq!(now.since(&marker("8:1", "5 born-7")), RootChange::Same);
        for folder in ["", "5", "5 born-8", "6 born-7"] {
            let known = marker("8:1", folder);
            assert_eq!(now.since(&known), RootChange::FileSystem, "{folder}");
        }
        assert_eq!(now.since(&marker("8:2", "5 born-8")), RootChange::Folder);
    }
}
