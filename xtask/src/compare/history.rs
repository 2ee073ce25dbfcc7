//! Histories: what people do to both sides (from the workload's seed) and what happens meanwhile (from the schedule's seed).

use crate::bench::tree::Random;

/// Names of files mostly, and of folders mostly: now and then one becomes the other.
pub const FILES: [&str; 6] = ["ant", "bee", "cat", "dog", "elk", "fox"];
pub const FOLDERS: [&str; 3] = ["one", "two", "six"];

/// What somebody does to a side. It is done to what is there then, and is nothing if it cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A new file of about so many bytes takes the path's place, as editors save.
    Save(String, usize),
    /// The file gets other content of the same length in place.
    Overwrite(String),
    Append(String),
    /// Half of the file goes.
    Truncate(String),
    /// A file, or a folder with all that is in it.
    Delete(String),
    Move(String, String),
    /// The same content at another path too.
    Copy(String, String),
}

/// A step of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Edit(usize, Edit),
    /// The tool runs to its end, or (if it runs on and on) to rest.
    Sync,
    /// Edits are made while the tool works: one whenever it has had so many effects.
    SyncDuring(u32, Vec<(usize, Edit)>),
    /// The tool is killed when it has had so many effects.
    Kill(u32),
    /// A side's folder is empty, as a mount point of what is not mounted, while the tool runs; then it is back.
    Outage(usize),
    /// The second side's file system is full while the tool runs.
    Full,
    /// What the tool remembers is removed, or cut in half.
    Spoil {
        cut: bool,
    },
}

/// The seeds that make a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    pub workload: u64,
    pub schedule: u64,
}

/// The edits alone, in rounds.
fn workload(seed: u64, plain: bool) -> Vec<Vec<(usize, Edit)>> {
    let mut random = Random::new(seed.wrapping_mul(3) + 1);
    let rounds = 3 + random.below(3);
    let round = |random: &mut Random| {
        let most = [3, 8, 16][random.below(3) as usize];
        let edits = 1 + random.below(most);
        (0..edits)
            .map(|_| (random.below(2) as usize, edit(random, plain)))
            .collect()
    };
    (0..rounds).map(|_| round(&mut random)).collect()
}

/// `plain`: no file becomes a folder and no folder a file.
fn edit(random: &mut Random, plain: bool) -> Edit {
    let path = |random: &mut Random| path(random, plain);
    match random.below(if plain { 15 } else { 16 }) {
        0..5 => Edit::Save(path(random), size(random)),
        5 | 6 => Edit::Overwrite(path(random)),
        7 => Edit::Append(path(random)),
        8 => Edit::Truncate(path(random)),
        9 | 10 => Edit::Delete(path(random)),
        11 => Edit::Delete(folder(random)),
        12 => Edit::Move(path(random), path(random)),
        13 => Edit::Move(folder(random), folder(random)),
        14 => Edit::Copy(path(random), path(random)),
        // A folder becomes a file.
        _ => Edit::Save(folder(random), size(random)),
    }
}

fn size(random: &mut Random) -> usize {
    let most = [200, 200, 4000, 300_000][random.below(4) as usize];
    20 + random.below(most) as usize
}

fn name(random: &mut Random, names: &[&str]) -> String {
    names[random.below(names.len() as u64) as usize].to_owned()
}

fn folder(random: &mut Random) -> String {
    let top = name(random, &FOLDERS);
    match random.below(2) {
        0 => top,
        _ => format!("{top}/{}", name(random, &FOLDERS)),
    }
}

/// A file's path; now and then below what is a file elsewhere.
fn path(random: &mut Random, plain: bool) -> String {
    let file = name(random, &FILES);
    match random.below(12) {
        0 if !plain => format!("{}/{file}", name(random, &FILES)),
        1..5 => file,
        _ => format!("{}/{file}", folder(random)),
    }
}

/// The whole history of these seeds.
pub fn history(seeds: Seeds, plain: bool) -> Vec<Step> {
    let mut random = Random::new(seeds.schedule.wrapping_mul(5) + 2);
    let mut steps = Vec::new();
    for mut edits in workload(seeds.workload, plain) {
        let during = match random.below(10) {
            0..3 => edits.split_off(random.below(edits.len() as u64) as usize),
            _ => Vec::new(),
        };
        steps.extend(edits.into_iter().map(|(side, edit)| Step::Edit(side, edit)));
        if !during.is_empty() {
            steps.push(Step::SyncDuring(1 + random.below(6) as u32, during));
        }
        for _ in 0..random.below(3) {
            steps.push(Step::Kill(moment(&mut random)));
        }
        match random.below(14) {
            0 => steps.push(Step::Outage(random.below(2) as usize)),
            1 => steps.push(Step::Full),
            2 => steps.push(Step::Spoil {
                cut: random.below(2) == 0,
            }),
            _ => {}
        }
        if random.below(3) > 0 {
            steps.push(Step::Sync);
        }
    }
    steps
}

/// The same, with all that people do on the first side.
pub fn on_the_first_side(mut steps: Vec<Step>) -> Vec<Step> {
    for step in &mut steps {
        match step {
            Step::Edit(side, _) => *side = 0,
            Step::SyncDuring(_, edits) => edits.iter_mut().for_each(|(side, _)| *side = 0),
            _ => {}
        }
    }
    steps
}

fn moment(random: &mut Random) -> u32 {
    let most = [6, 30, 120][random.below(3) as usize];
    1 + random.below(most) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(seeds: Seeds) -> Vec<(usize, Edit)> {
        let flat = |step| match step {
            Step::Edit(side, edit) => vec![(side, edit)],
            Step::SyncDuring(_, edits) => edits,
            _ => Vec::new(),
        };
        history(seeds, false).into_iter().flat_map(flat).collect()
    }

    #[test]
    fn a_seed_says_the_same_again_and_the_schedule_changes_no_edit() {
        let seeds = |workload, schedule| Seeds { workload, schedule };
        assert_eq!(history(seeds(3, 4), false), history(seeds(3, 4), false));
        assert_ne!(history(seeds(3, 4), false), history(seeds(3, 5), false));
        assert_eq!(edits(seeds(3, 4)), edits(seeds(3, 5)));
        assert_ne!(edits(seeds(3, 4)), edits(seeds(4, 4)));
    }

    #[test]
    fn every_kind_of_step_happens() {
        let all: Vec<Step> = (0..200)
            .flat_map(|seed| {
                history(
                    Seeds {
                        workload: seed,
                        schedule: seed,
                    },
                    false,
                )
            })
            .collect();
        let some = |is: fn(&Step) -> bool| assert!(all.iter().any(is));
        some(|step| matches!(step, Step::SyncDuring(..)));
        some(|step| matches!(step, Step::Kill(_)));
        some(|step| matches!(step, Step::Outage(1)));
        some(|step| matches!(step, Step::Full));
        some(|step| matches!(step, Step::Spoil { cut: true }));
        some(|step| matches!(step, Step::Edit(1, Edit::Truncate(_))));
        some(|step| matches!(step, Step::Edit(0, Edit::Copy(..))));
    }
}
