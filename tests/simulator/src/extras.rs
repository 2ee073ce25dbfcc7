//! What a part of the histories has besides: rules of what is left out, runs that only say what they would do, groups, permission bits,
//! copies among storages, a trash that forgets, conflicts that somebody ends.
//!
//! It comes from dice of its own: without it the history of a seed is the same.

use wl_core::model::Direction;
use wl_core::storage::CasGrade;
use wl_core::sync::Keep;
use wl_core::testing::{Operation, When};

use crate::Dice;
use crate::plan::{Aim, Content, Edit, Mode, Plan, Step, What};

/// The contents that are only written here have numbers from this one on.
const FIRST_OWN: u32 = 700;
/// What rules leave out.
const NAMES: [&str; 4] = ["m", "x", "e", "b"];
/// Whose permission bits are set.
const PATHS: [&str; 5] = ["a", "b", "d/x", "d", "m"];
/// Where files of more bytes are left out.
const MOST: u64 = 1000;
/// A database has whole pages.
const PAGE: u32 = 512;

struct More {
    dice: Dice,
    contents: u32,
    sites: u64,
}

/// Adds to the plan of this seed what it has besides.
pub(crate) fn add(work: u64, plan: &mut Plan) {
    let mut dice = Dice::new(work ^ 0x5eed_0000);
    for _ in 0..8 {
        dice.below(2);
    }
    let mut more = More {
        dice,
        contents: FIRST_OWN,
        sites: plan.sites.len() as u64,
    };
    match more.dice.below(16) {
        0 | 12 => plan.extras.server_copy = true,
        1 | 2 => {
            plan.extras.expires = true;
            more.scatter(plan, More::late);
        }
        3 | 4 => more.scatter(plan, More::rules),
        5 | 6 => more.scatter(plan, More::dry_run),
        7 | 8 => {
            keep_groups(plan);
            more.scatter(plan, More::group);
        }
        9 => {
            plan.sites.iter_mut().for_each(|site| site.modes = true);
            more.scatter(plan, More::modes);
        }
        10 => more.scatter(plan, More::struck),
        11 => more.scatter(plan, More::links),
        13 => {
            keep_groups(plan);
            plan.extras.max_size = Some(MOST);
            more.scatter(plan, More::sizes);
        }
        14 => {
            plan.sites.iter_mut().for_each(|site| site.modes = true);
            more.scatter(plan, More::bits_in_conflict);
        }
        _ => more.scatter(plan, More::chosen),
    }
}

/// Only storages on which groups can be kept.
fn keep_groups(plan: &mut Plan) {
    for site in &mut plan.sites {
        // What a listing shows may be of several moments: then nobody can tell what belongs together.
        site.stale = false;
        // Where nothing is held against what is replaced, one file of a program that is just at work may be written over.
        if site.does < CasGrade::Recoverable {
            (site.claims, site.does) = (CasGrade::Recoverable, CasGrade::Recoverable);
        }
    }
}

impl More {
    fn scatter(&mut self, plan: &mut Plan, make: fn(&mut Self, &Plan) -> Vec<Step>) {
        for _ in 0..2 + self.dice.below(4) {
            let at = 1 + self.dice.below(plan.steps.len() as u64) as usize;
            let steps = make(self, plan);
            plan.steps.splice(at..at, steps);
        }
    }

    fn site(&mut self) -> usize {
        self.dice.below(self.sites) as usize
    }

    fn some(&mut self, all: &[&str]) -> String {
        all[self.dice.below(all.len() as u64) as usize].to_owned()
    }

    fn soon(&mut self, what: What) -> Step {
        let after = match self.dice.below(2) {
            0 => 0,
            _ => self.dice.below(60) as u32,
        };
        Step { after, what }
    }

    fn content(&mut self, size: u32) -> Content {
        self.contents += 1;
        let number = self.contents;
        Content { number, size }
    }

    fn rules(&mut self, plan: &Plan) -> Vec<Step> {
        if plan.mode == Mode::OneShot && self.dice.below(3) == 0 {
            return self.rules_meanwhile();
        }
        let names = match self.dice.below(4) {
            0 => Vec::new(),
            _ => vec![self.some(&NAMES)],
        };
        let what = match self.dice.below(2) {
            0 => What::Exclude(names),
            _ => What::Edit(self.site(), Edit::Ignore(names)),
        };
        let (path, content) = (self.some(&["m", "d/x", "d/e/z", "b"]), self.content(0));
        let edit = match self.dice.below(3) {
            0 => Edit::Remove(path),
            _ => Edit::Write(path, content),
        };
        let edit = What::Edit(self.site(), edit);
        vec![self.soon(what), self.soon(edit), self.soon(What::Run)]
    }

    /// A file grows, and shrinks, and is moved, and goes.
    fn sizes(&mut self, _: &Plan) -> Vec<Step> {
        let (path, to) = (self.some(&["m", "d/x", "b"]), self.some(&["a", "d/e/z"]));
        let mut steps = Vec::new();
        for _ in 0..1 + self.dice.below(4) {
            let size = [0, 2 * MOST as u32][self.dice.below(2) as usize];
            let content = self.content(size);
            let edit = match self.dice.below(8) {
                6 | 7 => {
                    let pages = 1 + self.dice.below(3) as u32;
                    let log = self.content(size);
                    let edit = Edit::Transact(self.content(pages * PAGE), Some(log));
                    steps.push(self.soon(What::Edit(0, edit)));
                    continue;
                }
                0 => Edit::Remove(path.clone()),
                1 => Edit::Rename(path.clone(), to.clone()),
                2 => Edit::WriteInPlace(path.clone(), content),
                _ => Edit::Write(path.clone(), content),
            };
            let edit = What::Edit(self.site(), edit);
            steps.push(self.soon(edit));
            if self.dice.below(2) == 0 {
                steps.push(self.soon(What::Run));
            }
        }
        steps
    }

    /// While a run lists somebody leaves out what it is about to remove.
    fn rules_meanwhile(&mut self) -> Vec<Step> {
        let (site, other) = self.pair();
        let path = self.some(&["m", "b"]);
        let aim = Aim {
            site: self.site(),
            operation: Operation::ListNext,
            when: When::Before,
        };
        let ignore = What::Edit(self.site(), Edit::Ignore(vec![path.clone()]));
        let all = vec![
            What::Edit(other, Edit::Ignore(Vec::new())),
            What::Edit(site, Edit::Write(path.clone(), self.content(0))),
            What::Run,
            What::Rest,
            What::Edit(site, Edit::Remove(path)),
            What::Strike(aim, vec![ignore]),
            What::Run,
            What::Rest,
        ];
        all.into_iter()
            .map(|what| Step { after: 0, what })
            .collect()
    }

    fn dry_run(&mut self, plan: &Plan) -> Vec<Step> {
        let dry = [What::Rest, What::DryRun, What::Run, What::Rest];
        let dry = dry
            .into_iter()
            .filter(|what| plan.mode == Mode::OneShot || *what == What::DryRun);
        dry.map(|what| Step { after: 0, what }).collect()
    }

    /// Programs are at work on the first side; on others while nothing runs.
    fn group(&mut self, _: &Plan) -> Vec<Step> {
        let mut steps = Vec::new();
        let site = 0;
        for _ in 0..1 + self.dice.below(3) {
            let edit = match self.dice.below(5) {
                0 | 1 => Edit::Commit(self.content(0)),
                2 => Edit::Transact(self.content(PAGE), None),
                _ => Edit::Transact(self.content(PAGE), Some(self.content(0))),
            };
            if self.dice.below(6) == 0 {
                // Two at work at one time, in the same group, are more than can be told apart file by file.
                let all = [
                    What::Rest,
                    What::Edit(self.site(), edit),
                    What::Run,
                    What::Rest,
                ];
                steps.extend(all.into_iter().map(|what| Step { after: 0, what }));
                continue;
            }
            steps.push(self.soon(What::Edit(site, edit)));
            if self.dice.below(2) == 0 {
                steps.push(self.soon(What::Run));
            }
        }
        if self.dice.below(3) == 0 {
            steps.push(self.soon(What::Kill));
        }
        steps
    }

    /// A program writes to a version that was replaced meanwhile.
    fn late(&mut self, _: &Plan) -> Vec<Step> {
        let (site, other) = self.pair();
        let path = self.some(&["a", "b", "m"]);
        let (one, two) = (self.content(0), self.content(0));
        let all = vec![
            What::Run,
            What::Rest,
            What::Edit(other, Edit::Open(path.clone())),
            What::Edit(site, Edit::Write(path, one)),
            What::Run,
            What::Rest,
            What::Edit(other, Edit::WriteOpen(two)),
            What::Run,
        ];
        all.into_iter()
            .map(|what| Step { after: 0, what })
            .collect()
    }

    /// The process dies when it has just brought a version, and both sides are edited before the next one looks.
    fn struck(&mut self, _: &Plan) -> Vec<Step> {
        let (site, other) = self.pair();
        let path = self.some(&["a", "b", "m"]);
        let aim = Aim {
            site: other,
            operation: Operation::Replace,
            when: When::After,
        };
        let mut write = |site: usize| What::Edit(site, Edit::Write(path.clone(), self.content(0)));
        let (first, second) = (write(site), write(site));
        let mut late = vec![What::Kill, write(other), write(site)];
        late.truncate(2 + self.dice.below(2) as usize);
        let all = vec![
            first,
            What::Run,
            What::Rest,
            What::Strike(aim, late),
            second,
            What::Run,
        ];
        all.into_iter()
            .map(|what| Step { after: 0, what })
            .collect()
    }

    /// Links point elsewhere.
    fn links(&mut self, _: &Plan) -> Vec<Step> {
        let path = self.some(&["a", "b", "m"]);
        let target = self.some(&["here", "there", "nowhere"]);
        let link = What::Edit(self.site(), Edit::Link(path, target));
        vec![self.soon(link), self.soon(What::Run)]
    }

    /// Both sides set other bits of a folder, somebody goes on in it, and somebody chooses the bits of one side.
    fn bits_in_conflict(&mut self, _: &Plan) -> Vec<Step> {
        let (site, other) = self.pair();
        let (path, keep) = (self.some(&["d", "d/e"]), self.some_end());
        let edit = match self.dice.below(3) {
            0 => Edit::Remove("d/x".to_owned()),
            _ => Edit::Write(self.some(&["d/x", "d/e/z"]), self.content(0)),
        };
        let all = vec![
            What::Run,
            What::Rest,
            What::Edit(site, Edit::Chmod(path.clone(), 0o700)),
            What::Edit(other, Edit::Chmod(path.clone(), 0o750)),
            What::Run,
            What::Rest,
            What::Edit(self.site(), edit),
            What::Resolve(path, keep),
            What::Run,
        ];
        let steps = all.into_iter().map(|what| match what {
            What::Edit(..) => self.soon(what),
            what => Step { after: 0, what },
        });
        steps.collect()
    }

    /// Both sides write to a path, or make it a file and a folder, and somebody chooses.
    fn chosen(&mut self, _: &Plan) -> Vec<Step> {
        let (site, other) = self.pair();
        let (path, keep) = (self.some(&["a", "d/x", "m"]), self.some_end());
        let inside = match self.dice.below(4) {
            0 => format!("{path}/in"),
            _ => path.clone(),
        };
        let all = [
            What::Run,
            What::Rest,
            What::Edit(site, Edit::Write(path.clone(), self.content(0))),
            What::Edit(other, Edit::Remove(path.clone())),
            What::Edit(other, Edit::Write(inside, self.content(0))),
            What::Run,
            What::Rest,
            What::Resolve(path, keep),
            What::Run,
            What::Rest,
        ];
        let steps = all.into_iter().map(|what| Step { after: 0, what });
        steps.collect()
    }

    fn some_end(&mut self) -> Keep {
        let all = [Keep::Source, Keep::Target, Keep::Both, Keep::Newer];
        all[self.dice.below(4) as usize]
    }

    fn pair(&mut self) -> (usize, usize) {
        let site = self.site();
        (site, (site + 1) % self.sites as usize)
    }

    fn modes(&mut self, plan: &Plan) -> Vec<Step> {
        let path = self.some(&PATHS);
        let mode = [0o600, 0o640, 0o700, 0o755][self.dice.below(4) as usize];
        let site = match plan.direction {
            Direction::TwoWay => self.site(),
            _ => 0,
        };
        let set = What::Edit(site, Edit::Chmod(path, mode));
        let mut steps = vec![self.soon(What::Run), self.soon(What::Rest)];
        steps.extend([self.soon(set), self.soon(What::Run)]);
        steps
    }
}
