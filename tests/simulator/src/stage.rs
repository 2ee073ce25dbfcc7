//! Where a history happens: every request passes here before it is done and after, and whatever is due by then happens.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::Hasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wl_core::model::Sides;
use wl_core::storage::{self, StorageError};
use wl_core::testing::{Call, Operation, When};

use crate::Dice;
use crate::eye::Gate;
use crate::faults::{Armed, Fired, changes};
use crate::judge::{Judge, Kept};
use crate::life::World;
use crate::plan::{Aim, Edit, Mode, Plan, Step, What};
use crate::site::Tree;
use crate::watch::Events;

mod rehearsal;
mod said;

use rehearsal::Rehearsal;
use said::EditSeen;

/// A history that goes on for longer than this does not end.
const MOST_MOMENTS: u64 = 200_000;

pub(crate) struct Stage(Mutex<Inner>);

pub(crate) struct Inner {
    pub world: World,
    pub judge: Judge,
    pub dice: Dice,
    pub fired: Fired,
    pub moments: u64,
    /// What is left to happen.
    steps: VecDeque<Step>,
    /// Moments since the last step.
    since: u32,
    /// So many steps happened in the middle of a run.
    pub amid: u32,
    /// The moments of the last run that was played to its end.
    pub last_run: u64,
    edits: Vec<EditSeen>,
    /// What watchers of each storage will tell.
    events: Vec<Vec<Arc<Events>>>,
    watches: bool,
    /// Seconds by which the wall clock was set forward, or back.
    jumped: i64,
    /// The machine sleeps for so long, from the next moment on.
    sleeps: Duration,
    /// How long it slept in all.
    pub slept: Duration,
    armed: Vec<Armed>,
    /// What waits for a request.
    aimed: Vec<(Aim, Vec<What>)>,
    stale: Vec<bool>,
    /// Every storage keeps folders by themselves.
    keeps_folders: bool,
    /// Contents may be known by the version that they are a copy of: a run that dies leaves no note of those.
    copies: bool,
    dawdles: bool,
    /// The pairs, by storage.
    jobs: Vec<Sides<usize>>,
    identities: Vec<String>,
    commits: i64,
    /// The second in which tokens were last told that time passes.
    aged: u64,
    /// Nothing bad happens any more.
    quiet: bool,
    killed: bool,
    died: Arc<Notify>,
    pub cancel: CancellationToken,
    pub failure: Option<String>,
    /// Requests that change what people see.
    pub changes: u64,
    hash: DefaultHasher,
    pub lines: Option<Vec<String>>,
    /// When this life began, and how long those before it were.
    began: Option<Instant>,
    before: Duration,
    asked: u32,
    rehearsal: Rehearsal,
    /// So many processes there were.
    began_lives: u64,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stage")
    }
}

impl Stage {
    pub fn new(plan: &Plan, world: World, schedule: u64, record: bool) -> Arc<Self> {
        let trees = world.sites.iter().map(|site| site.tree()).collect();
        let commits = world.states.commits();
        let backends = world.sites.iter().map(|site| site.backend());
        let sure = world.sites.iter().all(|site| site.is_sure());
        let jobs = plan.jobs.iter();
        let sides: Vec<_> = jobs.map(|job| Sides::new(job.source, job.target)).collect();
        let stage = Arc::new(Self(Mutex::new(Inner {
            judge: Judge::new(plan, &sides, trees, sure),
            dice: Dice::new(schedule),
            fired: Fired::new(),
            moments: 0,
            steps: plan.steps.iter().cloned().collect(),
            since: 0,
            amid: 0,
            last_run: 0,
            edits: Vec::new(),
            events: plan.sites.iter().map(|_| Vec::new()).collect(),
            watches: plan.mode == Mode::Watch,
            jumped: 0,
            sleeps: Duration::ZERO,
            slept: Duration::ZERO,
            armed: plan.sites.iter().map(|_| Armed::default()).collect(),
            aimed: Vec::new(),
            stale: plan.sites.iter().map(|site| site.stale).collect(),
            keeps_folders: plan.sites.iter().all(|site| site.empty_folders),
            copies: plan.extras.server_copy,
            dawdles: plan.dawdles,
            jobs: sides,
            identities: backends
                .map(|backend| backend.identity().to_owned())
                .collect(),
            commits,
            aged: 0,
            quiet: false,
            killed: false,
            died: Arc::default(),
            cancel: CancellationToken::new(),
            failure: None,
            changes: 0,
            hash: DefaultHasher::new(),
            lines: record.then(Vec::new),
            began: None,
            before: Duration::ZERO,
            asked: 0,
            rehearsal: Rehearsal::default(),
            began_lives: 0,
            world,
        })));
        for (site, place) in stage.lock().world.sites.iter().enumerate() {
            let stage = Arc::downgrade(&stage);
            place.set_windows(Arc::new(Gate { stage, site }));
        }
        stage
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process begins.
    pub fn begin_life(&self) {
        let mut inner = self.lock();
        inner.killed = false;
        inner.no_rehearsal();
        inner.died = Arc::default();
        inner.began = Some(Instant::now());
        inner.events.iter_mut().for_each(Vec::clear);
    }

    /// It ended.
    pub fn end_life(&self) {
        let mut inner = self.lock();
        let lived = inner.began.take().map(|began| began.elapsed());
        inner.before += lived.unwrap_or_default();
    }

    /// Returns when the process is to die.
    pub async fn death(&self) {
        let died = Arc::clone(&self.lock().died);
        died.notified().await;
    }
}

impl Inner {
    pub fn is_over(&self) -> bool {
        self.steps.is_empty()
    }

    /// Nothing bad happens any more.
    pub fn be_quiet(&mut self) {
        self.quiet = true;
        self.armed.iter_mut().for_each(Armed::clear);
        self.aimed.clear();
        for site in &self.world.sites {
            site.set_mounted(true);
            site.make_readable();
        }
    }

    /// Time passed.
    pub fn age(&mut self) {
        self.aged = self.now().as_secs();
        self.world.sites.iter().for_each(|site| site.age());
    }

    /// How many edits there were.
    pub fn edits(&self) -> usize {
        self.edits.len()
    }

    /// Those that watch the storage hear of it what there is to tell.
    pub fn watcher(&mut self, site: usize) -> Option<Arc<Events>> {
        let events = self.watches.then(Arc::<Events>::default)?;
        self.events[site].push(Arc::clone(&events));
        Some(events)
    }

    /// Notes a change that was made, and has it told.
    fn note(&mut self, site: usize, own: bool, renamed: Option<&[String]>) {
        let edits = self.judge.edits();
        while self.edits.len() < edits {
            let paths = match renamed {
                Some(paths) => paths.to_vec(),
                None => self.judge.touched_last(),
            };
            let own = own && self.jobs.len() == 1;
            self.edits.push(EditSeen::new(paths.len(), site, own));
            self.events[site].retain(|events| Arc::strong_count(events) > 1);
            for events in &self.events[site] {
                events.add(edits - 1, &paths, &mut self.dice, &mut self.fired);
            }
        }
    }

    /// The process that worked on the storages is gone, and maybe the power was; what people see then is judged, too.
    pub fn crash(&mut self) {
        for (number, site) in self.world.sites.clone().into_iter().enumerate() {
            // What was done and not looked at any more is seen by the next process.
            self.look(number);
            // What a power cut takes wl did not take.
            self.judge.runs(false);
            let before = site.tree();
            site.crash(&mut self.dice);
            if site.tree() != before {
                let name = "power cut that takes something";
                *self.fired.entry(name).or_default() += 1;
                // A folder that was just renamed may have its old name again.
                self.judge.agreed.doubt();
                self.look(number);
            }
        }
        self.world.states.clone().crash(&mut self.dice);
    }

    /// How many steps are left.
    pub fn left(&self) -> usize {
        self.steps.len()
    }

    pub fn trace(&mut self, line: impl FnOnce() -> String) {
        let now = self.now().as_millis();
        let mut line = format!("{now} {}", line());
        // What a storage is called depends on how many there were before.
        for (site, identity) in self.identities.iter().enumerate() {
            if line.contains(identity) {
                line = line.replace(identity, &format!("storage {site}"));
            }
        }
        self.hash.write(line.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    pub fn trace_hash(&self) -> u64 {
        self.hash.finish()
    }

    fn now(&self) -> Duration {
        let lived = self.began.map(|began| began.elapsed());
        self.before + lived.unwrap_or_default()
    }

    /// The same, without the time that the machine slept.
    fn awake(&self) -> Duration {
        self.now().saturating_sub(self.slept)
    }

    /// What the wall clock shows since the beginning, each time a little more, and the seconds by which it jumped.
    pub fn wall(&mut self) -> (Duration, i64) {
        self.asked += 1;
        let asked = Duration::from_micros(u64::from(self.asked));
        (self.now() + asked, self.jumped)
    }

    /// Something is wrong: the history ends here.
    pub fn fail(&mut self, why: String) {
        if self.failure.is_none() {
            self.trace(|| format!("WRONG: {why}"));
            self.failure = Some(why);
        }
        self.die();
    }

    fn die(&mut self) {
        self.killed = true;
        self.world.sites.iter().for_each(|site| site.halt());
        self.died.notify_one();
    }

    pub fn check(&mut self, verdict: Result<(), String>) {
        if let Err(why) = verdict {
            self.fail(why);
        }
    }

    /// A moment of a request: what is due happens.
    pub fn moment(&mut self, site: usize, when: When, call: &Call) {
        if self.killed {
            return;
        }
        self.trace(|| {
            let path = call.path.as_ref().map_or("", |path| path.as_str());
            format!("{site} {when:?} {:?} {path}", call.operation)
        });
        if when == When::Before {
            self.is_allowed(call);
            if call.operation == Operation::ListNext {
                self.judge.lists();
            }
            let verdict = self.judge.may_ask(call);
            self.check(verdict);
        }
        if when == When::After && changes(call.operation) {
            self.changes += 1;
            self.look(site);
        }
        let begun = when == When::After && call.operation == Operation::Begin;
        if begun && self.world.sites[site].tree() != *self.judge.shows(site) {
            // A session begins with what the last one left behind. A dry run has none, and cannot tell.
            *self.fired.entry("version put back").or_default() += 1;
            self.look(site);
        }
        self.strike(site, when, call);
        self.pass();
    }

    /// What was aimed at this request happens.
    fn strike(&mut self, site: usize, when: When, call: &Call) {
        let meant =
            |aim: &Aim| aim.site == site && aim.when == when && aim.operation == call.operation;
        let Some(at) = self.aimed.iter().position(|(aim, _)| meant(aim)) else {
            return;
        };
        *self.fired.entry("strike at a request").or_default() += 1;
        for what in self.aimed.remove(at).1 {
            self.happen(&what);
        }
    }

    /// Others strike between a storage's look and its change.
    pub fn window(&mut self, site: usize, what: &dyn fmt::Display) {
        if self.killed {
            return;
        }
        self.trace(|| format!("{site} Window {what}"));
        let before = self.edits.len();
        self.pass();
        if self.edits.len() > before {
            *self.fired.entry("strike in a window").or_default() += 1;
        }
    }

    /// What is due happens.
    fn pass(&mut self) {
        self.moments += 1;
        self.since += 1;
        if self.now().as_secs() != self.aged {
            self.age();
        }
        if self.moments > MOST_MOMENTS {
            self.fail("it does not end".to_owned());
        }
        self.check_baselines();
        while !self.killed {
            match self.steps.front() {
                Some(step) if step.what.waits() => break,
                Some(step) if step.after <= self.since => {
                    self.amid += 1;
                    self.next();
                }
                _ => break,
            }
        }
    }

    fn look(&mut self, site: usize) {
        let (tree, modes) = (
            self.world.sites[site].tree(),
            self.world.sites[site].modes(),
        );
        // Watchers tell of what wl itself does, too.
        let others = self.jobs.len() > 1 || self.watches;
        let verdict = self.judge.changed(site, tree, modes, others);
        self.note(site, true, None);
        self.check(verdict);
    }

    /// Before a request is done.
    pub fn before(&mut self, site: usize, call: &Call) -> storage::Result<()> {
        let verdict = self.armed[site].before(call, &mut self.fired);
        if verdict.is_err() {
            self.judge.agreed.doubt();
        }
        verdict
    }

    /// After a request was done.
    pub fn after(&mut self, site: usize, call: &Call) -> storage::Result<()> {
        self.armed[site].after(call, &mut self.fired)
    }

    /// How many of the next rows of a listing arrive before it breaks off.
    pub fn cut(&mut self, site: usize, rows: usize) -> Option<(usize, StorageError)> {
        self.armed[site].cut(rows, &mut self.fired)
    }

    /// Whether a listing does not show a row.
    pub fn hides(&mut self, site: usize) -> bool {
        let hides = self.stale[site] && !self.quiet && self.dice.below(8) == 0;
        if hides {
            *self.fired.entry("stale listing").or_default() += 1;
        }
        hides
    }

    /// Whether a listing shows of a file what is not so any more.
    pub fn shows_old(&mut self, site: usize) -> bool {
        let old = self.stale[site] && !self.quiet && self.dice.below(4) == 0;
        if old {
            *self.fired.entry("listing shows what was").or_default() += 1;
        }
        old
    }

    /// The order in which so many requests of a call are done.
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<_> = (0..count).collect();
        if self.dawdles {
            for at in (1..count).rev() {
                order.swap(at, self.dice.below(at as u64 + 1) as usize);
            }
        }
        order
    }

    fn check_baselines(&mut self) {
        // A dry run writes into a transaction that it takes back; nobody else can look meanwhile.
        if self.rehearses() {
            return;
        }
        let commits = self.world.states.commits();
        if commits == self.commits {
            return;
        }
        self.commits = commits;
        for at in 0..self.jobs.len() {
            let sites = self.jobs[at];
            let identities = sites.map(|site| &*self.identities[site]);
            let rows = self.world.states.rows(identities);
            let verdict = self.judge.recorded(sites, &rows);
            self.check(verdict);
        }
    }

    /// What is waited for after a moment.
    pub fn dawdle(&mut self) -> Option<BoxFuture<'static, ()>> {
        if self.killed {
            return Some(Box::pin(std::future::pending()));
        }
        let sleeps = std::mem::take(&mut self.sleeps);
        if !sleeps.is_zero() {
            self.jumped += i64::try_from(sleeps.as_secs()).unwrap_or_default();
            self.slept += sleeps;
            return Some(Box::pin(tokio::time::advance(sleeps)));
        }
        if !self.dawdles {
            return None;
        }
        let dice = self.dice.below(100);
        let time = Duration::from_millis(1 + self.dice.below(40));
        match dice {
            0..60 => None,
            60..85 => Some(Box::pin(tokio::task::yield_now())),
            _ => Some(Box::pin(tokio::time::sleep(time))),
        }
    }

    /// Does the next step.
    pub fn next(&mut self) -> Option<What> {
        let step = self.steps.pop_front()?;
        self.since = 0;
        self.happen(&step.what);
        Some(step.what)
    }

    fn happen(&mut self, what: &What) {
        self.trace(|| format!("{what:?}"));
        match what {
            What::Edit(site, edit) => {
                self.look(*site);
                let place = Arc::clone(&self.world.sites[*site]);
                let before = place.kept();
                place.edit(edit);
                let kept = [&*before, &*place.kept()];
                let after = (place.tree(), place.modes());
                self.judge.edited(*site, edit, after, kept);
                // What is in a folder that is renamed is not told of.
                let renamed = match edit {
                    Edit::Rename(from, to) => Some([from.clone(), to.clone()]),
                    _ => None,
                };
                self.note(*site, false, renamed.as_ref().map(|both| &both[..]));
                if !edit.is_of_content() {
                    *self.fired.entry("unreadable").or_default() += 1;
                }
            }
            What::Fault(site, fault) => self.armed[*site].arm(*fault),
            What::Strike(aim, all) => self.aimed.push((*aim, all.clone())),
            What::Kill if self.began.is_some() => {
                *self.fired.entry("kill").or_default() += 1;
                self.die();
            }
            What::Cancel if self.began.is_some() => {
                *self.fired.entry("cancel").or_default() += 1;
                self.cancel.cancel();
            }
            What::Clock(seconds) => {
                *self.fired.entry("clock jumps").or_default() += 1;
                self.jumped += seconds;
            }
            What::Sleep(seconds) if self.began.is_some() => {
                *self.fired.entry("machine sleeps").or_default() += 1;
                self.sleeps += Duration::from_secs(u64::from(*seconds));
            }
            What::Forget => self.forget(),
            What::Exclude(names) => self.judge.left_out.ask(names),
            What::Unmount(site) if self.roots_are_known() => {
                *self.fired.entry("unmounted").or_default() += 1;
                self.world.sites[*site].set_mounted(false);
            }
            What::Mount(site) => self.world.sites[*site].set_mounted(true),
            What::Resolve(path, keep) => {
                let fired = self.fired.values().sum();
                self.judge.ends_conflict(path, *keep, fired);
            }
            What::DryRun
            | What::Kill
            | What::Cancel
            | What::Run
            | What::Rest
            | What::Pause
            | What::Sleep(_)
            | What::Unmount(_) => {}
        }
    }

    /// Baselines are lost.
    fn forget(&mut self) {
        // Who knows of no root takes any for the right one.
        let sites = self.world.sites.iter();
        sites.for_each(|site| site.set_mounted(true));
        self.world.states.forget();
        self.judge.forget();
    }

    /// Whether each job has seen its storages.
    fn roots_are_known(&self) -> bool {
        let pairs = self.jobs.iter();
        let mut pairs = pairs.map(|sites| sites.map(|site| &*self.identities[site]));
        pairs.all(|pair| !self.world.states.rows(pair).is_empty())
    }

    /// What the next step is.
    pub fn peek(&self) -> Option<&What> {
        self.steps.front().map(|step| &step.what)
    }

    pub fn shown(&self) -> Vec<Tree> {
        self.world.sites.iter().map(|site| site.tree()).collect()
    }

    pub fn kept(&self) -> Vec<Kept> {
        self.world
            .sites
            .iter()
            .flat_map(|site| site.kept())
            .collect()
    }
}
