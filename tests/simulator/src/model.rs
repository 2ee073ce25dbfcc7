//! The local backend over the model of its file system, as a storage of a simulated world.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use wl_backends::local::LocalBackend;
pub use wl_backends::local::model::Rules;
use wl_backends::local::model::{Dice as ModelDice, Disk, Held, Loss, Machine, Node, When};
use wl_core::model::{ContentHash, Timestamp};
use wl_core::storage::StorageBackend;
use wl_core::testing::{Operation, When as Moment};

use crate::Dice;
use crate::generate::generate;
use crate::judge::Kept;
use crate::plan::{Aim, Content, Edit, Plan, SitePlan, Step, What};
use crate::site::{Shown, Site, Tree, Windows};

/// Edits are that far from each other: the clock for files, which ticks every 4 ms, tells them apart.
const BETWEEN_EDITS: Duration = Duration::from_millis(5);
/// The contents that are only written here have numbers from this one on.
const FIRST_OWN: u32 = 900;
/// The moments of a run that brings a few files, or so.
const RUN: u64 = 400;
/// Their names are synced one after the other.
const IN_THREE_FOLDERS: [&str; 3] = ["b", "d/x", "d/e/z"];
/// After this long a token proves something.
const SETTLED: Duration = Duration::from_secs(2);

/// What a modelled disk is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskPlan {
    /// What it promises to keep.
    pub rules: Rules,
    /// It can exchange two names.
    pub exchange: bool,
    /// It has a rename that refuses to replace.
    pub no_replace: bool,
    /// Content reaches it in pieces of so many bytes.
    pub block: usize,
}

impl DiskPlan {
    fn any(dice: &mut Dice) -> Self {
        let (exchange, no_replace) = match dice.below(6) {
            0 => (false, true),
            1 => (false, false),
            _ => (true, true),
        };
        Self {
            rules: [Rules::Journal, Rules::Loose][dice.below(2) as usize],
            exchange,
            no_replace,
            block: [1, 8, 4096][dice.below(3) as usize],
        }
    }
}

/// The plan of this seed for storages on modelled disks, and what those are like. A run there has many more moments than one in memory:
/// each system call is one.
pub fn generate_on_model(work: u64) -> (Plan, Vec<DiskPlan>) {
    let mut dice = Dice::new(work.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..8 {
        dice.below(2);
    }
    let plan = match dice.below(2) {
        0 => short(&mut dice),
        _ => long(work, &mut dice),
    };
    let disks = plan.sites.iter().map(|_| DiskPlan::any(&mut dice));
    let disks = disks.collect();
    (plan, disks)
}

/// What storages in memory go through, with more deaths.
fn long(work: u64, dice: &mut Dice) -> Plan {
    let mut plan = generate(work);
    for site in &mut plan.sites {
        *site = SitePlan::default();
    }
    // Between the look at a version in the trash and its end there is a system call's time to write to it: nobody can keep that.
    let writes_late = |step: &Step| matches!(step.what, What::Edit(_, Edit::WriteOpen(_)));
    plan.extras.expires &= !plan.steps.iter().any(writes_late);
    for step in &mut plan.steps {
        step.after *= 1 + dice.below(6) as u32;
    }
    if !plan.is_calm() {
        for number in 0..dice.below(4) {
            let at = 1 + dice.below(plan.steps.len() as u64) as usize;
            let struck = struck_run(dice, plan.sites.len(), FIRST_OWN + number as u32);
            plan.steps.splice(at..at, struck);
        }
    }
    plan
}

/// One run that is struck: short, so that many can be played.
fn short(dice: &mut Dice) -> Plan {
    let mut number = 0;
    let mut write = |path: &str| {
        number += 1;
        let content = Content { number, size: 0 };
        Edit::Write(path.to_owned(), content)
    };
    let step = |after, what| Step { after, what };
    let mut steps = Vec::new();
    for path in ["a", "d/x"] {
        steps.push(step(0, What::Edit(0, write(path))));
    }
    steps.extend([step(0, What::Run), step(0, What::Rest)]);
    let site = dice.below(2) as usize;
    for (path, to) in [("a", "m"), ("d/x", "d/e/z")] {
        let edit = match dice.below(8) {
            0..4 => write(path),
            4 | 5 => Edit::Rename(path.to_owned(), to.to_owned()),
            6 => Edit::Remove(path.to_owned()),
            _ => write(to),
        };
        steps.push(step(0, What::Edit(site, edit)));
    }
    steps.push(step(0, What::Run));
    if dice.below(3) > 0 {
        let path = ["a", "a", "d/x", "m"][dice.below(4) as usize];
        let late = match (dice.below(2), write(path)) {
            (0, Edit::Write(path, content)) => Edit::WriteInPlace(path, content),
            (_, write) => write,
        };
        let after = dice.below(RUN) as u32;
        steps.push(step(after, What::Edit(1 - site, late)));
    }
    if dice.below(3) > 0 {
        steps.push(step(dice.below(RUN) as u32, What::Kill));
    }
    Plan::of_two(steps)
}

/// A run that has something to do, and dies in it; sometimes somebody writes to what it has brought before.
fn struck_run(dice: &mut Dice, sites: usize, number: u32) -> Vec<Step> {
    let site = dice.below(sites as u64) as usize;
    let step = |after, what| Step { after, what };
    let mut steps = vec![step(0, What::Rest)];
    if dice.below(3) == 0 {
        let to = format!("moved {number}");
        steps.push(step(0, What::Edit(site, Edit::Rename("a".to_owned(), to))));
    }
    for (place, path) in IN_THREE_FOLDERS.iter().enumerate() {
        let content = Content {
            number: number + 10 * place as u32,
            size: 0,
        };
        let write = Edit::Write((*path).to_owned(), content);
        steps.push(step(0, What::Edit(site, write)));
    }
    let other = (site + 1) % sites;
    let dies_at_once = dice.below(2) == 0;
    if dies_at_once {
        // What was just published is not durable yet: that is when a power cut takes something.
        let aim = Aim {
            site: other,
            operation: Operation::Replace,
            when: Moment::After,
        };
        steps.push(step(0, What::Strike(aim, vec![What::Kill])));
    }
    steps.push(step(0, What::Run));
    if dice.below(3) == 0 {
        let content = Content {
            number: number + 50,
            size: 0,
        };
        let late = Edit::WriteInPlace("d/x".to_owned(), content);
        steps.push(step(dice.below(RUN) as u32, What::Edit(other, late)));
    }
    if !dies_at_once {
        steps.push(step(dice.below(RUN) as u32, What::Kill));
    }
    steps
}

/// A folder on a disk of its own, which forgets what was not synced when the power goes.
///
/// Others strike before every system call, and the process may die there: nothing that it still does has an effect then. What it leaves is
/// what a killed process leaves, or a power cut, as the dice fall.
pub struct ModelSite {
    plan: DiskPlan,
    machine: Machine,
    disk: Disk,
    /// For a look at the trash that nobody notices.
    looks: LocalBackend,
    /// The file that a program has open.
    held: Mutex<Option<Held>>,
    /// What programs wrote to versions that were in the trash by then.
    late: Mutex<BTreeSet<ContentHash>>,
}

impl fmt::Debug for ModelSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ModelSite").field(&self.plan).finish()
    }
}

impl ModelSite {
    /// An empty one.
    pub fn new(name: &str, plan: DiskPlan) -> Self {
        let machine = Machine::default();
        let disk = machine.disk(name, plan.rules);
        disk.set_block(plan.block);
        let looks = machine.unseen(|| LocalBackend::on_model(&disk));
        Self {
            plan,
            machine,
            looks: looks.unwrap(),
            disk,
            held: Mutex::default(),
            late: Mutex::default(),
        }
    }

    fn hold(&self, held: Option<Held>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }

    fn write_open(&self, content: &[u8]) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = held.as_ref().map(|held| held.write(content));
        let is_it = |node: Node| matches!(node, Node::File(found) if found == content);
        let mut all = self.disk.user().everything().into_iter();
        if all.any(|(path, node)| path.starts_with(".wl/trash/") && is_it(node)) {
            let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
            late.insert(ContentHash::of(content));
        }
    }

    fn link(&self, path: &str, target: &str) {
        let user = self.disk.user();
        if !matches!(user.tree().get(path), None | Some(Node::Folder)) {
            let _ = user.remove(path);
        }
        // What cannot be done is not done.
        let _ = user.link(path, target);
    }
}

impl Site for ModelSite {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        let DiskPlan {
            exchange,
            no_replace,
            ..
        } = self.plan;
        let open = || LocalBackend::on_weak_model(&self.disk, exchange, no_replace);
        Arc::new(self.machine.unseen(open).unwrap())
    }

    fn set_windows(&self, windows: Arc<dyn Windows>) {
        self.machine.on_call(move |call| {
            if call.when == When::Before {
                windows.strike(call);
            }
        });
    }

    fn edit(&self, edit: &Edit) {
        self.machine.advance(BETWEEN_EDITS);
        let user = self.disk.user();
        for (path, content) in edit.files().into_iter().flatten() {
            let _ = match content {
                Some(content) => user.write(&path, &content),
                None => user.remove(&path),
            };
        }
        // What cannot be done is not done: the editor says so to its user.
        let _ = match edit {
            Edit::Write(path, content) => user.write(path, &content.bytes()),
            Edit::WriteInPlace(path, content) => user.write_in_place(path, &content.bytes()),
            Edit::Open(path) => {
                self.hold(user.hold(path).ok());
                Ok(())
            }
            Edit::WriteOpen(content) => {
                self.write_open(&content.bytes());
                Ok(())
            }
            Edit::Remove(path) => user.remove(path),
            Edit::Rename(from, to) => user.rename(from, to),
            Edit::MakeFolder(path) => user.make_dir(path),
            Edit::Link(path, target) => {
                self.link(path, target);
                Ok(())
            }
            Edit::Touch(path) => user.touch(
                path,
                Timestamp {
                    secs: 1_234_567,
                    nanos: 0,
                },
            ),
            // The model knows no rights.
            Edit::Lock(_) | Edit::Unlock(_) | Edit::Chmod(..) => Ok(()),
            Edit::Ignore(_) | Edit::Transact(..) | Edit::Commit(_) => Ok(()),
        };
    }

    fn tree(&self) -> Tree {
        let nodes = self.disk.user().tree().into_iter();
        let nodes = nodes.map(|(path, node)| {
            let shown = match node {
                Node::File(content) => Shown::File(ContentHash::of(&content)),
                Node::Folder => Shown::Folder,
                Node::Link(target) => Shown::Link(target),
            };
            (path, shown)
        });
        nodes.collect()
    }

    /// Without those that were written to in the trash and are not known to be so yet.
    fn claims(&self) -> usize {
        let items = self
            .machine
            .unseen(|| self.looks.trash_list().now_or_never());
        let items = items.transpose().unwrap().unwrap_or_default();
        items.iter().filter(|item| item.state.is_claimed()).count()
    }

    /// With what is in the middle of an exchange, which nobody claims: it must not stay there.
    fn kept(&self) -> Vec<Kept> {
        let items = self
            .machine
            .unseen(|| self.looks.trash_list().now_or_never());
        let items = items.transpose().unwrap().unwrap_or_default().into_iter();
        let user = self.disk.user();
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let in_trash = items.filter_map(|item| {
            let content = ContentHash::of(&user.read(&format!(".wl/trash/{}", item.id))?);
            // One that was written to since counts as claimed: that is found out before it expires.
            Some(Kept {
                content,
                claimed: item.state.is_claimed() || late.contains(&content),
            })
        });
        let mut kept: Vec<_> = in_trash.collect();
        for (path, node) in user.everything() {
            if let Node::File(content) = node
                && path.starts_with(".wl/stage/")
                && (path.ends_with(".swap") || path.ends_with(".part"))
            {
                kept.push(Kept {
                    content: ContentHash::of(&content),
                    claimed: false,
                });
            }
        }
        kept
    }

    fn halt(&self) {
        self.machine.crash();
    }

    fn crash(&self, dice: &mut Dice) {
        // The first throws of neighbouring seeds are alike.
        for _ in 0..8 {
            dice.below(2);
        }
        let loss = match dice.below(4) {
            0 => Loss::Process,
            _ => Loss::Power(ModelDice::new(dice.below(1 << 53))),
        };
        self.machine.restart(loss);
        self.machine.advance(SETTLED);
        self.hold(None);
    }

    fn age(&self) {
        self.machine.advance(SETTLED);
    }
}
