//! What the kernel says about running processes and those that they have started.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::Result;

/// Some processes, and at every look all that descend from them.
pub struct Tree {
    roots: Vec<u32>,
}

/// Memory in MiB.
pub struct Memory {
    pub resident: f64,
    /// The part that is theirs: what is shared counts in part only.
    pub share: f64,
    pub anonymous: f64,
    /// The most that was ever resident, of each process that still runs.
    pub peak: f64,
}

/// Bytes that went through system calls, of those that have ended too.
#[derive(Clone, Copy, Default)]
pub struct Bytes {
    pub read: u64,
    pub written: u64,
}

impl Tree {
    pub fn of(roots: Vec<u32>) -> Self {
        Self { roots }
    }

    /// All processes of the tree that run now.
    pub fn pids(&self) -> Vec<u32> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let parent = numbers_of_stat(pid).and_then(|numbers| numbers.get(1).copied());
            parents.extend(parent.map(|parent| (pid, parent)));
        }
        let mut pids: BTreeSet<u32> = self.roots.iter().copied().collect();
        loop {
            let is_new = |(pid, parent): &&(u32, u64)| {
                !pids.contains(pid)
                    && u32::try_from(*parent).is_ok_and(|parent| pids.contains(&parent))
            };
            let new: Vec<u32> = parents.iter().filter(is_new).map(|found| found.0).collect();
            if new.is_empty() {
                return pids.into_iter().collect();
            }
            pids.extend(new);
        }
    }

    /// Seconds of CPU so far, threads and children that ended included.
    pub fn cpu(&self) -> Result<f64> {
        let mut ticks = 0;
        for pid in self.pids() {
            let numbers = numbers_of_stat(pid).unwrap_or_default();
            ticks += numbers.iter().skip(11).take(4).sum::<u64>();
        }
        self.all_run()?;
        // The kernel shows hundredths of a second to everyone.
        Ok(ticks as f64 / 100.0)
    }

    /// How often each thread that runs now was woken, by its id.
    pub fn wakeups(&self) -> Result<BTreeMap<String, u64>> {
        let mut threads = BTreeMap::new();
        for pid in self.pids() {
            let entries = fs::read_dir(format!("/proc/{pid}/task"));
            for entry in entries.into_iter().flatten().flatten() {
                let woken = number(entry.path().join("status"), "voluntary_ctxt_switches:");
                let id = entry.file_name().to_string_lossy().into_owned();
                threads.extend(woken.map(|woken| (id, woken)));
            }
        }
        self.all_run()?;
        Ok(threads)
    }

    /// What was read and written so far.
    pub fn bytes(&self) -> Result<Bytes> {
        let mut sum = Bytes::default();
        for pid in self.pids() {
            let of = |name| number(format!("/proc/{pid}/io").into(), name).unwrap_or(0);
            sum.read += of("rchar:");
            sum.written += of("wchar:");
        }
        self.all_run()?;
        Ok(sum)
    }

    pub fn memory(&self) -> Result<Memory> {
        let mut sum = [0; 4];
        for pid in self.pids() {
            let rollup = format!("/proc/{pid}/smaps_rollup");
            let status = format!("/proc/{pid}/status");
            let kib = [
                number(rollup.clone().into(), "Rss:"),
                number(rollup.clone().into(), "Pss:"),
                number(rollup.into(), "Anonymous:"),
                number(status.into(), "VmHWM:"),
            ];
            for (sum, kib) in sum.iter_mut().zip(kib) {
                *sum += kib.unwrap_or(0);
            }
        }
        self.all_run()?;
        let [resident, share, anonymous, peak] = sum.map(|kib| kib as f64 / 1024.0);
        Ok(Memory {
            resident,
            share,
            anonymous,
            peak,
        })
    }

    /// Figures of a process that has ended are none.
    pub fn all_run(&self) -> Result<()> {
        let has_ended = |pid: &&u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = stat
                .rsplit(')')
                .next()
                .and_then(|rest| rest.split_whitespace().next());
            state.is_none_or(|state| state == "Z")
        };
        match self.roots.iter().find(has_ended) {
            Some(pid) => Err(format!("process {pid} has ended").into()),
            None => Ok(()),
        }
    }
}

/// The numbers of a process's `stat` behind its name, which may hold anything; its state counts as 0.
fn numbers_of_stat(pid: u32) -> Option<Vec<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let behind = stat.rsplit(')').next()?;
    let numbers = behind.split_whitespace();
    Some(numbers.map(|number| number.parse().unwrap_or(0)).collect())
}

/// The number behind a name at the beginning of a line.
fn number(path: PathBuf, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    /// A shell and its child; what the child that ended has read is the shell's.
    #[test]
    fn a_tree_has_its_children_and_what_ended_ones_did() {
        let script = "head -c 3000000 /dev/zero >/dev/null; echo begun; cat; :";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut out = BufReader::new(shell.stdout.take().unwrap());
        out.read_line(&mut said).unwrap();
        let tree = Tree::of(vec![shell.id()]);
        assert!(tree.pids().contains(&shell.id()));
        assert!(tree.bytes().unwrap().read >= 3_000_000);
        assert!(tree.memory().unwrap().resident > 0.1);
        assert!(tree.cpu().unwrap() < 10.0 && tree.wakeups().unwrap().len() == 2);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert!(tree.cpu().is_err(), "it has ended");
    }
}
