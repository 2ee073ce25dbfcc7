//! Makes plans from a seed.

use wl_core::model::Direction;
use wl_core::storage::{CasGrade, ErrorKind};
use wl_core::sync::Keep;
use wl_core::testing::{Operation, When};

use crate::Dice;
use crate::extras;
use crate::faults::Fault;
use crate::plan::{Aim, Content, Edit, Extras, Job, Mode, Plan, SitePlan, Step, What};

/// Few names, so that histories meet.
const FILES: [&str; 6] = ["a", "b", "d/x", "d/y", "d/e/z", "m"];
const FOLDERS: [&str; 3] = ["d", "d/e", "f"];

/// What strikes are aimed at.
const REQUESTS: [Operation; 12] = [
    Operation::Replace,
    Operation::Replace,
    Operation::Remove,
    Operation::Remove,
    Operation::Rename,
    Operation::MakeFolder,
    Operation::SetMode,
    Operation::ReadSmall,
    Operation::Stage,
    Operation::Flush,
    Operation::ListNext,
    Operation::Finish,
];

/// Larger than what is staged together with others.
const LARGE: u32 = 300_000;

struct Maker {
    dice: Dice,
    contents: u32,
    sites: usize,
    mode: Mode,
    /// The file that an edit was about last.
    last: String,
}

/// The plan of this seed.
pub fn generate(work: u64) -> Plan {
    let mut dice = Dice::new(work);
    // The first throws of neighbouring seeds are alike.
    for _ in 0..8 {
        dice.below(2);
    }
    let sites = if dice.below(6) == 0 { 3 } else { 2 };
    let mode = match dice.below(10) {
        0..5 => Mode::OneShot,
        5 => Mode::Poll,
        6 => Mode::Adaptive,
        _ => Mode::Watch,
    };
    let mut maker = Maker {
        dice,
        contents: 0,
        sites,
        mode,
        last: FILES[0].to_owned(),
    };
    let direction = match maker.dice.below(8) {
        0..5 => Direction::TwoWay,
        5..7 => Direction::OneWay,
        _ => Direction::Mirror,
    };
    let mut plan = Plan {
        sites: (0..sites).map(|_| maker.site()).collect(),
        jobs: (1..sites).map(|target| Job { source: 0, target }).collect(),
        mode,
        direction,
        dawdles: maker.dice.below(8) > 0,
        steps: maker.steps(),
        extras: Extras::default(),
    };
    extras::add(work, &mut plan);
    plan
}

impl Maker {
    fn one_in(&mut self, many: u64) -> bool {
        self.dice.below(many) == 0
    }

    fn site(&mut self) -> SitePlan {
        use CasGrade as G;
        let (claims, does) = match self.dice.below(12) {
            0..5 => (G::Atomic, G::Atomic),
            5..9 => (G::Recoverable, G::Recoverable),
            9 => (G::Checked, G::Checked),
            10 => (G::None, G::None),
            _ => (G::Atomic, G::Checked),
        };
        SitePlan {
            empty_folders: !self.one_in(5),
            modes: !self.one_in(4),
            stale: self.one_in(6),
            changes_per_token: if self.one_in(4) { 3 } else { 1 },
            claims,
            does,
            page: self.one_in(4).then_some(2),
        }
    }

    fn steps(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        let now = |what| Step { after: 0, what };
        for _ in 0..2 + self.dice.below(5) {
            let edit = self.edit();
            let site = self.dice.below(self.sites as u64) as usize;
            steps.push(now(What::Edit(site, edit)));
        }
        steps.push(now(What::Run));
        let calm = self.one_in(4);
        for _ in 0..4 + self.dice.below(14) {
            let what = match calm {
                true if self.one_in(6) => What::Run,
                true => What::Edit(self.dice.below(self.sites as u64) as usize, self.edit()),
                false => self.what(),
            };
            let after = match self.dice.below(3) {
                0 => 0,
                1 => self.dice.below(12) as u32,
                _ => self.dice.below(90) as u32,
            };
            steps.push(Step { after, what });
            if self.one_in(12) {
                steps.extend(self.meeting().into_iter().map(now));
                if let Some(last) = steps.last_mut() {
                    last.after = self.dice.below(90) as u32;
                }
            }
            if self.one_in(10) {
                let site = self.dice.below(self.sites as u64) as usize;
                let live = self.mode == Mode::Watch;
                let what = match self.dice.below(6) {
                    0 if live => self.row(site),
                    1 | 2 if live => self.folder_moved(site, (site + 1) % self.sites),
                    _ => self.aimed(site, (site + 1) % self.sites),
                };
                steps.extend(what.into_iter().map(now));
            }
        }
        steps
    }

    fn what(&mut self) -> What {
        let site = self.dice.below(self.sites as u64) as usize;
        match self.dice.below(100) {
            0..60 => What::Edit(site, self.edit()),
            60..71 => What::Fault(site, self.fault()),
            71..75 => self.strike(site),
            75..81 => What::Kill,
            81..83 => What::Cancel,
            83 => What::Clock(self.dice.below(200_000) as i64 - 100_000),
            84 => What::Sleep(self.dice.below(5_000) as u32),
            85..94 => What::Run,
            94..98 => {
                let all = [Keep::Source, Keep::Target, Keep::Both, Keep::Newer];
                What::Resolve(self.file(), all[self.dice.below(4) as usize])
            }
            _ => What::Forget,
        }
    }

    fn fault(&mut self) -> Fault {
        let kinds = [
            ErrorKind::Temporary,
            ErrorKind::Temporary,
            ErrorKind::Denied,
            ErrorKind::Other,
            ErrorKind::Busy,
        ];
        let kind = kinds[self.dice.below(kinds.len() as u64) as usize];
        match self.dice.below(6) {
            0 | 1 => Fault::Fails(kind),
            2 => Fault::ReplyLost(kind),
            3 => Fault::ListingBreaks(self.dice.below(6) as usize),
            4 => Fault::Full(1 + self.dice.below(6) as u32),
            _ => Fault::Gone(1 + self.dice.below(4) as u32),
        }
    }

    /// A few steps that meet each other, or what wl does about them: single ones do so by luck only.
    fn meeting(&mut self) -> Vec<What> {
        let site = self.dice.below(self.sites as u64) as usize;
        let other = (site + 1) % self.sites;
        let (file, to) = (self.file(), self.file());
        let (one, two) = (self.content(), self.content());
        let edit = What::Edit;
        let begun = match self.dice.below(5) {
            0 => vec![
                edit(other, Edit::Write("d/x".to_owned(), two)),
                edit(site, Edit::Remove("d".to_owned())),
                edit(site, Edit::Write("d".to_owned(), one)),
            ],
            1 => vec![edit(site, Edit::Rename(file, to.clone()))],
            2 => vec![
                edit(other, Edit::Open(to.clone())),
                edit(site, Edit::Write(to.clone(), one)),
            ],
            3 => {
                let (one, two) = (
                    Content { size: LARGE, ..one },
                    Content { size: LARGE, ..two },
                );
                let late = edit(site, Edit::WriteInPlace(file.clone(), two));
                return vec![edit(site, Edit::Write(file, one)), What::Run, late];
            }
            _ => vec![edit(site, Edit::Remove(to.clone()))],
        };
        let late = match begun.len() {
            2 => Edit::WriteOpen(two),
            _ => Edit::Write(to, two),
        };
        let mut all = vec![What::Run];
        all.extend(begun);
        all.extend([What::Run, edit(other, late)]);
        all
    }

    /// Anything that happens together with any request.
    fn strike(&mut self, site: usize) -> What {
        let aim = Aim {
            site,
            operation: REQUESTS[self.dice.below(REQUESTS.len() as u64) as usize],
            when: [When::Before, When::After][self.dice.below(2) as usize],
        };
        let by = self.dice.below(self.sites as u64) as usize;
        let what = match self.dice.below(4) {
            0 => What::Kill,
            1 => What::Fault(site, self.fault()),
            _ => What::Edit(by, self.edit()),
        };
        What::Strike(aim, vec![what])
    }

    /// A few steps that end with a strike at what wl does about them; or that take something away and give it back.
    fn aimed(&mut self, site: usize, other: usize) -> Vec<What> {
        let (file, mut to) = (self.file(), self.file());
        if to == file {
            to = "new".to_owned();
        }
        let (one, two) = (self.content(), self.content());
        let strike = |operation, what| {
            let aim = Aim {
                site: other,
                operation,
                when: When::Before,
            };
            What::Strike(aim, vec![what])
        };
        let write = |path: &String, content| What::Edit(other, Edit::Write(path.clone(), content));
        let fails = What::Fault(other, Fault::Fails(ErrorKind::Denied));
        let removed = What::Edit(site, Edit::Remove(file.clone()));
        let moved = What::Edit(site, Edit::Rename(file.clone(), to.clone()));
        let mut all = vec![
            What::Edit(site, Edit::Remove(to.clone())),
            What::Edit(site, Edit::Write(file.clone(), one)),
            What::Run,
            What::Rest,
        ];
        all.extend(match self.dice.below(8) {
            0 => vec![
                strike(Operation::Remove, write(&file, two)),
                removed,
                What::Run,
            ],
            1 => vec![strike(Operation::Remove, fails), removed, What::Run],
            2 => vec![strike(Operation::Remove, What::Kill), removed, What::Run],
            3 | 4 => vec![strike(Operation::Rename, write(&to, two)), moved, What::Run],
            5 => vec![strike(Operation::Rename, fails), moved, What::Run],
            6 => {
                let path = match self.one_in(3) {
                    true => "d".to_owned(),
                    false => file,
                };
                let lock = What::Edit(other, Edit::Lock(path.clone()));
                let unlock = What::Edit(other, Edit::Unlock(path));
                vec![lock, What::Run, What::Rest, unlock]
            }
            _ => vec![What::Unmount(other), What::Run, What::Mount(other)],
        });
        all
    }

    /// A folder gets another name, the process dies when the other side has it too, and then something in it is removed.
    fn folder_moved(&mut self, site: usize, other: usize) -> Vec<What> {
        let by = [site, other][self.dice.below(2) as usize];
        let content = self.content();
        let aim = Aim {
            site: other,
            operation: Operation::Rename,
            when: When::After,
        };
        let late = What::Edit(by, Edit::Remove("f/x".to_owned()));
        vec![
            What::Edit(site, Edit::Remove("f".to_owned())),
            What::Edit(site, Edit::Write("d/x".to_owned(), content)),
            What::Run,
            What::Rest,
            What::Strike(aim, vec![What::Kill, late]),
            What::Edit(site, Edit::Rename("d".to_owned(), "f".to_owned())),
            What::Run,
        ]
    }

    /// A file changes again and again.
    fn row(&mut self, site: usize) -> Vec<What> {
        let (file, mut row) = (self.file(), vec![What::Rest]);
        for _ in 0..14 + self.dice.below(12) {
            let edit = Edit::Write(file.clone(), self.content());
            row.extend([What::Pause, What::Edit(site, edit)]);
        }
        row.push(What::Rest);
        row
    }

    /// A file; often the last one again, so that edits meet each other and what wl is doing.
    fn file(&mut self) -> String {
        if self.dice.below(5) >= 2 {
            self.last = FILES[self.dice.below(FILES.len() as u64) as usize].to_owned();
        }
        self.last.clone()
    }

    fn any(&mut self) -> String {
        match self.one_in(3) {
            true => FOLDERS[self.dice.below(FOLDERS.len() as u64) as usize].to_owned(),
            false => self.file(),
        }
    }

    fn content(&mut self) -> Content {
        let size = if self.one_in(25) { LARGE } else { 0 };
        if self.contents > 0 && self.one_in(12) {
            let number = 1 + self.dice.below(u64::from(self.contents)) as u32;
            return Content { number, size: 0 };
        }
        self.contents += 1;
        Content {
            number: self.contents,
            size,
        }
    }

    fn edit(&mut self) -> Edit {
        match self.dice.below(20) {
            0..8 => Edit::Write(self.file(), self.content()),
            8..10 => Edit::WriteInPlace(self.file(), self.content()),
            10 => Edit::Open(self.file()),
            11 => Edit::WriteOpen(self.content()),
            12..15 => Edit::Remove(self.any()),
            15..17 => Edit::Rename(self.any(), self.any()),
            17 => Edit::MakeFolder(self.any()),
            18 => Edit::Link(self.file(), "there".to_owned()),
            _ => Edit::Touch(self.file()),
        }
    }
}
