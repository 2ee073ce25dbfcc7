//! Where a history happens: every request passes here before it is done and after, and whatever is due by then happens.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::Hasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wl_core::model::{RunReport, Sides, SyncPath};
use wl_core::storage::{Result, Row, StorageError, StorageWatcher};
use wl_core::testing::{Call, Machine, Observer, Operation, When};

use crate::Dice;
use crate::faults::{Armed, Fired, changes};
use crate::judge::{Judge, Kept};
use crate::life::World;
use crate::plan::{Mode, Plan, Step, What};
use crate::site::{Tree, Windows};
use crate::watch::{Events, Watcher};

/// A history that goes on for longer than this does not end.
const MOST_MOMENTS: u64 = 200_000;
/// A look does not take longer than this.
const LOOK: Duration = Duration::from_secs(5);
/// When the clocks of simulated worlds begin, in seconds since 1970.
const BEGINNING: Duration = Duration::from_secs(1_700_000_000);

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
    stale: Vec<bool>,
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
}

/// An edit that was made.
#[derive(Clone, Copy, Debug, Default)]
struct EditSeen {
    /// When a watcher had told of it.
    told: Option<Duration>,
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
        let jobs = plan.jobs.iter();
        let sides: Vec<_> = jobs.map(|job| Sides::new(job.source, job.target)).collect();
        let stage = Arc::new(Self(Mutex::new(Inner {
            judge: Judge::new(plan.direction, &sides, trees),
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
            stale: plan.sites.iter().map(|site| site.stale).collect(),
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

    /// A watcher has told of the edit of this number.
    pub fn delivered(&mut self, edit: usize) {
        let now = self.now();
        if let Some(edit) = self.edits.get_mut(edit) {
            edit.told = edit.told.or(Some(now));
        }
    }

    /// Those that watch the storage hear of it what there is to tell.
    fn watcher(&mut self, site: usize) -> Arc<Events> {
        let events = Arc::<Events>::default();
        self.events[site].push(Arc::clone(&events));
        events
    }

    /// Notes a change that was made, and has it told.
    fn note(&mut self, site: usize) {
        let edits = self.judge.edits();
        while self.edits.len() < edits {
            self.edits.push(EditSeen::default());
            let paths = self.judge.touched_last();
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
            let before = site.tree();
            site.crash(&mut self.dice);
            if site.tree() != before {
                let name = "power cut that takes something";
                *self.fired.entry(name).or_default() += 1;
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

    /// A run moves no more than a few times what there is.
    pub fn is_bounded(&mut self, report: &RunReport) {
        let verdict = self.judge.is_bounded(report);
        self.check(verdict);
    }

    /// A report that says how two sides stand.
    pub fn said(
        &mut self,
        sites: Sides<usize>,
        report: &RunReport,
        began: usize,
        folders: bool,
        watches: bool,
    ) {
        // What a listing hides nobody can know.
        let stale = !self.quiet && (self.stale[sites.source] || self.stale[sites.target]);
        // With several jobs another one's watcher may have told of it.
        let watches = watches && self.jobs.len() == 1;
        // What it was told of that lately may have come too late for the look.
        let lately = self.now().saturating_sub(LOOK);
        let told = |edit: &EditSeen| edit.told.is_some_and(|told| told < lately);
        let edits = self.edits.iter().enumerate();
        let unknown = edits.map(|(number, edit)| number >= began && !(watches && told(edit)));
        let unknown: Vec<_> = unknown.collect();
        let verdict = match stale {
            true => Ok(()),
            false => self.judge.said(sites, report, &unknown, folders),
        };
        let verdict = verdict.and_then(|()| self.judge.agree(report, &unknown, stale));
        self.check(verdict);
    }

    /// A moment of a request: what is due happens.
    fn moment(&mut self, site: usize, when: When, call: &Call) {
        self.trace(|| {
            let path = call.path.as_ref().map_or("", |path| path.as_str());
            format!("{site} {when:?} {:?} {path}", call.operation)
        });
        if when == When::After && changes(call.operation) {
            self.changes += 1;
            self.look(site);
        }
        self.pass();
    }

    /// Others strike between a storage's look and its change.
    fn window(&mut self, site: usize, what: &dyn fmt::Display) {
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
        let tree = self.world.sites[site].tree();
        // Watchers tell of what wl itself does, too.
        let others = self.jobs.len() > 1 || self.watches;
        let verdict = self.judge.changed(site, tree, others);
        self.note(site);
        self.check(verdict);
    }

    fn check_baselines(&mut self) {
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
    fn dawdle(&mut self) -> Option<BoxFuture<'static, ()>> {
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
        self.trace(|| format!("{:?}", step.what));
        match &step.what {
            What::Edit(site, edit) => {
                self.look(*site);
                let place = Arc::clone(&self.world.sites[*site]);
                let before = place.kept();
                place.edit(edit);
                let kept = [&*before, &*place.kept()];
                self.judge.edited(*site, edit, place.tree(), kept);
                self.note(*site);
            }
            What::Fault(site, fault) => self.armed[*site].arm(*fault),
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
            What::Forget => {
                self.world.states.forget();
                self.judge.agreed.forget();
            }
            What::Resolve(..) => self.judge.conflicts_are_ended(),
            What::Kill | What::Cancel | What::Run | What::Rest | What::Sleep(_) => {}
        }
        Some(step.what)
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

/// Sees the requests to one storage.
#[derive(Debug)]
pub(crate) struct Eye {
    pub stage: Arc<Stage>,
    pub site: usize,
}

impl Observer for Eye {
    fn apart(&self, _: Operation, count: usize) -> Option<Vec<usize>> {
        let mut inner = self.stage.lock();
        let mut order: Vec<_> = (0..count).collect();
        if inner.dawdles {
            for at in (1..count).rev() {
                order.swap(at, inner.dice.below(at as u64 + 1) as usize);
            }
        }
        Some(order)
    }

    fn pause(&self, when: When, call: &Call) -> Option<BoxFuture<'static, ()>> {
        let mut inner = self.stage.lock();
        if !inner.killed {
            inner.moment(self.site, when, call);
        }
        inner.dawdle()
    }

    fn watch(&self) -> Option<Box<dyn StorageWatcher>> {
        let mut inner = self.stage.lock();
        inner.watches.then(|| {
            let events = inner.watcher(self.site);
            let stage = Arc::clone(&self.stage);
            Box::new(Watcher { stage, events }) as _
        })
    }

    fn before(&self, call: &Call) -> Result<()> {
        let inner = &mut *self.stage.lock();
        inner.armed[self.site].before(call, &mut inner.fired)
    }

    fn after(&self, call: &Call) -> Result<()> {
        let inner = &mut *self.stage.lock();
        inner.armed[self.site].after(call, &mut inner.fired)
    }

    fn cut(&self, _: u64, rows: usize) -> Option<(usize, StorageError)> {
        let inner = &mut *self.stage.lock();
        inner.armed[self.site].cut(rows, &mut inner.fired)
    }

    fn hides(&self, row: &Row) -> bool {
        let inner = &mut *self.stage.lock();
        let hides = inner.stale[self.site]
            && !inner.quiet
            && matches!(row, Row::Present(_))
            && inner.dice.below(8) == 0;
        if hides {
            *inner.fired.entry("stale listing").or_default() += 1;
        }
        hides
    }
}

/// The windows of one storage.
#[derive(Debug)]
pub(crate) struct Gate {
    pub stage: Weak<Stage>,
    pub site: usize,
}

impl Windows for Gate {
    fn open(&self, path: &SyncPath) -> BoxFuture<'static, ()> {
        let pause = self.stage.upgrade().and_then(|stage| {
            let mut inner = stage.lock();
            if !inner.killed {
                inner.window(self.site, path);
            }
            inner.dawdle()
        });
        pause.unwrap_or_else(|| Box::pin(std::future::ready(())))
    }

    fn strike(&self, what: &dyn fmt::Display) {
        if let Some(stage) = self.stage.upgrade() {
            let mut inner = stage.lock();
            if !inner.killed {
                inner.window(self.site, what);
            }
        }
    }
}

/// The clock and the dice of a history.
#[derive(Debug)]
pub(crate) struct StageMachine(pub Arc<Stage>);

impl Machine for StageMachine {
    fn wall(&self) -> SystemTime {
        let mut inner = self.0.lock();
        inner.asked += 1;
        let asked = Duration::from_micros(u64::from(inner.asked));
        let set = BEGINNING.as_secs().saturating_add_signed(inner.jumped);
        UNIX_EPOCH + Duration::from_secs(set) + inner.now() + asked
    }

    fn dice(&self) -> u64 {
        self.0.lock().dice.below(1 << 53) << 11
    }
}
