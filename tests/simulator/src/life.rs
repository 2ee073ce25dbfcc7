//! Plays a plan: one process after the other over the same storages, until all has happened and all is quiet.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use wl_core::filter::{MaxSize, Origin, Rule};
use wl_core::model::{Conflict, RunReport, Sides, SyncPath};
use wl_core::storage::TrashKeep;
use wl_core::sync::{
    DeleteBudget, Keep, LastFilter, NewsSender, SyncError, SyncJob, SyncOptions, Syncer, SyncerType,
};
use wl_core::testing::{InPlace, Strict, observe};
use wl_syncers::{General, ServerCopy};

use crate::ear::{Ear, Standing, told};
use crate::eye::{Eye, StageMachine};
use crate::faults::Fired;
use crate::memory::{MemorySite, MemoryStatesOfPair};
use crate::model::{DiskPlan, ModelSite};
use crate::plan::{Job, Mode, Plan, What};
use crate::site::{Site, States, Tree};
use crate::stage::Stage;

/// So many runs without trouble bring everything to rest.
const MOST_ROUNDS: usize = 6;
/// In a continuous job the next step happens after this long, whether or not its moment came.
const PATIENCE: Duration = Duration::from_secs(20);
/// A continuous job comes to rest within this time when nothing bad happens any more: some looks at everything, of which two in a row find nothing,
/// after those that find what stale listings hid.
const LONGEST_UNREST: Duration = Duration::from_secs(2500);
/// It looks again at what failed within this time, long before it looks at everything; later by twice the time for which that had failed, as
/// it is tried ever more seldom.
const LONGEST_TROUBLE: Duration = Duration::from_secs(150);

/// The storages and baselines of a history.
#[derive(Clone, Debug)]
pub struct World {
    /// The storages, as many as the plan has.
    pub sites: Vec<Arc<dyn Site>>,
    /// The folder of the baselines.
    pub states: Arc<dyn States>,
}

impl World {
    /// One in memory, as the plan wants it.
    pub fn in_memory(plan: &Plan) -> Self {
        let sites = plan.sites.iter();
        Self {
            sites: sites
                .map(|site| Arc::new(MemorySite::new(site)) as _)
                .collect(),
            states: Arc::new(MemoryStatesOfPair::default()),
        }
    }

    /// One of folders on modelled disks.
    pub fn on_model(disks: &[DiskPlan]) -> Self {
        let disks = disks.iter().enumerate();
        let site =
            |(number, disk): (usize, &DiskPlan)| ModelSite::new(&format!("disk {number}"), *disk);
        Self {
            sites: disks.map(|disk| Arc::new(site(disk)) as _).collect(),
            states: Arc::new(MemoryStatesOfPair::default()),
        }
    }
}

/// What became of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// What was wrong, if something was.
    pub failure: Option<String>,
    /// A number that stands for all that happened, in order.
    pub trace: u64,
    /// All that happened, if that was asked for.
    pub lines: Vec<String>,
    /// How often each kind of fault fired.
    pub fired: Fired,
    /// The moments of all requests.
    pub moments: u64,
    /// So many steps happened in the middle of a run.
    pub amid: u32,
    /// The moments of the last one-shot run of the plan that nobody killed.
    pub last_run: u64,
    /// What each storage showed when the plan was over, before all came to rest.
    pub shown: Vec<Tree>,
}

/// Makes the syncer of a job, as [`wl_core::plugin::SyncerPlugin::create`].
pub type MakeSyncer = fn(SyncJob) -> Box<dyn Syncer>;

/// Plays a plan over storages in memory.
pub fn play(plan: &Plan, schedule: u64, record: bool) -> Played {
    play_in(World::in_memory(plan), plan, schedule, record)
}

/// Plays a plan in a world.
pub fn play_in(world: World, plan: &Plan, schedule: u64, record: bool) -> Played {
    let syncer: MakeSyncer = match plan.extras.server_copy {
        true => |job| Box::new(ServerCopy::create(job)),
        false => |job| Box::new(General::create(job)),
    };
    play_with(syncer, world, plan, schedule, record)
}

/// Plays a plan in a world, with a syncer of one's own.
pub fn play_with(
    syncer: MakeSyncer,
    world: World,
    plan: &Plan,
    schedule: u64,
    record: bool,
) -> Played {
    let stage = Stage::new(plan, world, schedule, record);
    let _machine = InPlace::of(Rc::new(StageMachine(Arc::clone(&stage))));
    let play = Play {
        plan,
        syncer,
        stage: Arc::clone(&stage),
    };
    while !play.is_over() {
        play.live(play.script());
    }
    let shown = stage.lock().shown();
    stage.lock().be_quiet();
    if stage.lock().failure.is_none() {
        play.live(play.come_to_rest());
    }
    if stage.lock().failure.is_none() {
        play.judge();
    }
    let mut inner = stage.lock();
    for site in &inner.world.sites.clone() {
        for (name, count) in site.struck() {
            *inner.fired.entry(name).or_default() += count;
        }
    }
    Played {
        failure: inner.failure.take(),
        trace: inner.trace_hash(),
        lines: inner.lines.take().unwrap_or_default(),
        fired: std::mem::take(&mut inner.fired),
        moments: inner.moments,
        amid: inner.amid,
        last_run: inner.last_run,
        shown,
    }
}

struct Play<'a> {
    plan: &'a Plan,
    syncer: MakeSyncer,
    stage: Arc<Stage>,
}

/// A continuous job.
struct Running {
    syncer: Box<dyn Syncer>,
    job: Job,
    standing: Arc<Standing>,
}

impl Play<'_> {
    fn is_over(&self) -> bool {
        let inner = self.stage.lock();
        inner.failure.is_some() || inner.is_over()
    }

    /// One process, until its work is done or it dies.
    fn live(&self, work: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let life = async {
            self.stage.begin_life();
            tokio::select! {
                biased;
                () = self.stage.death() => {}
                () = work => {}
            }
            self.stage.end_life();
        };
        let ended = catch_unwind(AssertUnwindSafe(|| runtime.block_on(life)));
        // With this, all that the process was doing is gone.
        drop(runtime);
        let inner = &mut *self.stage.lock();
        if let Err(panic) = ended {
            let why = panic.downcast_ref::<String>().map(String::as_str);
            let why = why.or(panic.downcast_ref::<&str>().copied());
            inner.fail(format!("it panicked: {}", why.unwrap_or("?")));
        }
        inner.crash();
    }

    fn job(&self, job: Job, cancel: CancellationToken, news: NewsSender) -> SyncJob {
        let storage = |site: usize| {
            let eye = Eye {
                stage: Arc::clone(&self.stage),
                site,
            };
            // Others may strike while it is made: the stage is not held.
            let place = Arc::clone(&self.stage.lock().world.sites[site]);
            let backend = place.backend();
            // Stricter than any real storage: what a syncer must not do is a panic.
            Strict::over(observe(backend, Arc::new(eye)))
        };
        let mut options = SyncOptions::new(self.plan.direction);
        options.allow_empty = true;
        options.max_delete = DeleteBudget::Percent(100);
        options.rescan = Duration::from_secs(600);
        if self.plan.extras.expires {
            options.trash_keep = TrashKeep::None;
        }
        let inner = self.stage.lock();
        let names = inner.judge.left_out.asked();
        let rules = names.map(|name| Rule::exclude(name, Origin::Job));
        options.exclude.rules = rules.collect();
        options.exclude.max_size = self.plan.extras.max_size.map(MaxSize);
        drop(inner);
        let poll = (self.plan.mode == Mode::Poll).then_some(Duration::from_secs(60));
        SyncJob {
            storages: Sides::new(storage(job.source), storage(job.target)),
            options,
            server_copy: self.plan.extras.server_copy,
            state_dir: self.stage.lock().world.states.dir(),
            poll: Sides::new(poll, poll),
            patience: None,
            last_filter: LastFilter::default(),
            progress: Arc::default(),
            news,
            cancel,
        }
    }

    /// All that the plan wants to happen.
    async fn script(&self) {
        if self.plan.mode == Mode::OneShot {
            while let Some(what) = self.next() {
                match what {
                    What::Run => {
                        let began = self.stage.lock().moments;
                        self.run(Vec::new()).await;
                        let mut inner = self.stage.lock();
                        inner.last_run = inner.moments - began;
                    }
                    What::Resolve(path, keep) => self.resolve(&path, keep).await,
                    What::DryRun => self.rehearse().await,
                    _ => {}
                }
            }
            return;
        }
        while self.rest_of_a_stop().await {
            self.follow().await;
        }
    }

    async fn resolve(&self, path: &str, keep: Keep) {
        let path = SyncPath::new(path).unwrap();
        self.run(vec![(path, keep)]).await;
        self.stage.lock().judge.ended_conflict();
    }

    fn next(&self) -> Option<What> {
        self.stage.lock().next()
    }

    /// While nothing runs baselines may be lost and conflicts ended. Whether there is more to come.
    async fn rest_of_a_stop(&self) -> bool {
        loop {
            let next = self.stage.lock().peek().cloned();
            match next {
                Some(What::Resolve(path, keep)) => {
                    self.next();
                    self.resolve(&path, keep).await;
                }
                Some(What::DryRun) => {
                    self.next();
                    self.rehearse().await;
                }
                Some(what) if what.is_of_a_stop() => drop(self.next()),
                next => return next.is_some(),
            }
        }
    }

    /// Somebody asks what a run would do.
    async fn rehearse(&self) {
        self.stage.lock().rehearse(true);
        self.runs(Vec::new(), true).await;
        self.stage.lock().rehearse(false);
    }

    /// One run of each job, all at once. With `wishes` each only ends these conflicts.
    async fn run(&self, wishes: Vec<(SyncPath, Keep)>) -> Vec<Result<RunReport, SyncError>> {
        self.runs(wishes, false).await
    }

    async fn runs(
        &self,
        wishes: Vec<(SyncPath, Keep)>,
        dry_run: bool,
    ) -> Vec<Result<RunReport, SyncError>> {
        let cancel = CancellationToken::new();
        self.stage.lock().cancel = cancel.clone();
        self.stage.lock().judge.runs(self.plan.jobs.len() == 1);
        let runs = self
            .plan
            .jobs
            .iter()
            .enumerate()
            .map(async |(number, &job)| {
                let (began, world) = {
                    let inner = self.stage.lock();
                    (inner.edits(), inner.before_run())
                };
                let mut of_job = self.job(job, cancel.clone(), NewsSender::default());
                of_job.options.resolve.clone_from(&wishes);
                of_job.options.dry_run = dry_run;
                let syncer = (self.syncer)(of_job);
                let done = syncer.one_shot_sync().await;
                let mut inner = self.stage.lock();
                match &done {
                    Ok(report) => {
                        inner.trace(|| told(report));
                        inner.is_bounded(report);
                        inner.result_is_right(report);
                        let whole = report.error.is_none() && report.problems.is_empty();
                        if wishes.is_empty() {
                            inner.ran(number, world, report);
                        }
                        if whole && wishes.is_empty() && !dry_run {
                            inner.said(job.sites(), report, began, self.keeps_folders(job), false);
                        }
                        if whole && !wishes.is_empty() {
                            inner.ended(job.sites(), report);
                        }
                        inner.judge.agreed.reported();
                    }
                    Err(error) => inner.trace(|| format!("refused: {}", error.desc)),
                }
                done
            });
        let done = join_all(runs).await;
        self.stage.lock().judge.runs(false);
        done
    }

    fn keeps_folders(&self, job: Job) -> bool {
        let Sides { source, target } = job.sites();
        self.plan.sites[source].empty_folders && self.plan.sites[target].empty_folders
    }

    async fn start(&self) -> Vec<Running> {
        let cancel = CancellationToken::new();
        self.stage.lock().cancel = cancel.clone();
        let mut all = Vec::new();
        for &job in &self.plan.jobs {
            let standing = Arc::<Standing>::default();
            let ear = Ear {
                stage: Arc::clone(&self.stage),
                job,
                folders: self.keeps_folders(job),
                watches: self.plan.mode == Mode::Watch,
                standing: Arc::clone(&standing),
            };
            let syncer = (self.syncer)(self.job(job, cancel.clone(), NewsSender::to(ear)));
            let started = syncer.start_sync().await;
            started.unwrap();
            all.push(Running {
                syncer,
                job,
                standing,
            });
        }
        all
    }

    /// Continuous jobs, until the plan is over or they have to stop for what comes next.
    async fn follow(&self) {
        let all = self.start().await;
        let (mut left, mut since) = (self.left(), Instant::now());
        loop {
            sleep(Duration::from_millis(500)).await;
            if self.stage.lock().cancel.is_cancelled() {
                break;
            }
            self.start_again(&all).await;
            self.look_at_status(&all);
            if left != self.left() {
                (left, since) = (self.left(), Instant::now());
            }
            let next = self.stage.lock().peek().cloned();
            if next == Some(What::Pause) {
                self.after_pause();
                continue;
            }
            if since.elapsed() < PATIENCE {
                continue;
            }
            match next {
                None => {
                    self.get_over_trouble(&all).await;
                    break;
                }
                Some(what) if what.is_of_a_stop() => break,
                Some(_) => {}
            }
            self.next();
        }
        self.stop(all).await;
    }

    /// What comes after a pause waits for no moment.
    fn after_pause(&self) {
        let mut inner = self.stage.lock();
        inner.next();
        if inner.peek().is_some_and(|next| !next.waits()) {
            inner.next();
        }
    }

    /// The plan is over, and nothing bad happens any more: what failed is looked at again soon, without anybody telling of it. What a stale
    /// listing has hidden is found by the next look at everything only: that is waited for elsewhere.
    async fn get_over_trouble(&self, all: &[Running]) {
        if self.plan.sites.iter().any(|site| site.stale) {
            return;
        }
        self.stage.lock().be_quiet();
        let (began, slept_before) = (Instant::now(), self.stage.lock().slept);
        let troubled = all.iter().map(|running| running.standing.troubled()).max();
        let longest = LONGEST_TROUBLE + 2 * troubled.unwrap_or_default();
        loop {
            let open = all.iter().filter_map(|running| running.standing.trouble());
            let open: Vec<_> = open.collect();
            if open.is_empty() || self.stage.lock().cancel.is_cancelled() {
                return;
            }
            let slept = self.stage.lock().slept - slept_before;
            if began.elapsed() > longest + slept {
                let why = format!(
                    "it has not looked again at what failed: {}",
                    open.join("; ")
                );
                self.stage.lock().fail(why);
                return;
            }
            sleep(Duration::from_millis(500)).await;
            self.start_again(all).await;
            self.look_at_status(all);
        }
    }

    /// Somebody looks at what jobs say of themselves. Only those that are told of edits can know.
    fn look_at_status(&self, all: &[Running]) {
        if self.plan.mode != Mode::Watch {
            return;
        }
        for running in all {
            if let Some((report, known)) = running.standing.in_sync() {
                let mut inner = self.stage.lock();
                inner.stands(
                    running.job.sites(),
                    &report,
                    known,
                    self.keeps_folders(running.job),
                );
            }
        }
    }

    fn left(&self) -> usize {
        self.stage.lock().left()
    }

    async fn stop(&self, all: Vec<Running>) {
        for running in all {
            if let Err(error) = running.syncer.stop_sync().await {
                self.stage.lock().fail(error.desc);
            }
        }
    }

    /// A job that ended by itself is begun again, as the daemon does.
    async fn start_again(&self, all: &[Running]) {
        for running in all.iter().filter(|running| !running.syncer.is_running()) {
            // What the end left behind is told by whoever waits for it.
            let _ = running.syncer.stop_sync().await;
            let _ = running.syncer.start_sync().await;
        }
    }

    /// Nothing bad happens any more: soon nothing is left to be done.
    async fn come_to_rest(&self) {
        let mut rounds = MOST_ROUNDS;
        if self.plan.mode != Mode::OneShot {
            self.calm_down().await;
            rounds = self.rounds_of_jobs();
        }
        for round in 1.. {
            self.stage.lock().age();
            let done = self.run(Vec::new()).await;
            let open = done.iter().filter_map(|done| match done {
                Ok(report) if report.problems.is_empty() && report.error.is_none() => {
                    let changes = report.changes.source.total() + report.changes.target.total();
                    (changes > 0).then(|| told(report))
                }
                Ok(report) => Some(told(report)),
                Err(error) => Some(error.desc.clone()),
            });
            let open: Vec<_> = open.collect();
            // What a killed run had announced is over once a run has decided there: then a conflict is read, once.
            let reads = done.iter().flatten().any(|report| report.bytes.read > 0);
            if open.is_empty() && !reads {
                break;
            }
            let inner = &mut *self.stage.lock();
            if round >= MOST_ROUNDS || (round >= rounds && !open.is_empty()) {
                let open = open.join("; ");
                inner.fail(format!("it does not come to rest in {rounds} runs: {open}"));
                return;
            }
        }
        self.stage.lock().age();
        let before = self.stage.lock().changes;
        let done = self.run(Vec::new()).await;
        self.check_claims(&done);
        let inner = &mut *self.stage.lock();
        let read = |report: &RunReport| report.bytes.written > 0 || report.bytes.read > 0;
        if inner.changes != before || done.iter().flatten().any(read) {
            inner.fail("a run that has nothing to do does something".to_owned());
        }
    }

    /// How many runs continuous jobs leave something to do for, with the one that finds nothing more. What a job was never told of, as the
    /// event was lost, is found by the first of these only: that may change a storage that others share, and as all run at once each run
    /// carries it one job further.
    fn rounds_of_jobs(&self) -> usize {
        match self.stage.lock().fired.contains_key("event lost") {
            true => 1 + self.plan.jobs.len(),
            false => 2,
        }
    }

    /// A version in the trash that nobody agreed to give up is told as a conflict, by every job of its storage.
    fn check_claims(&self, done: &[Result<RunReport, SyncError>]) {
        let inner = &mut *self.stage.lock();
        for (job, report) in self.plan.jobs.iter().zip(done) {
            let Ok(report) = report else { continue };
            let conflicts = report.conflicts.iter();
            let about_trash =
                |conflict: &&Conflict| conflict.source.is_none() && conflict.target.is_none();
            let told = conflicts.filter(about_trash).count();
            let sites = [job.source, job.target];
            let sites = sites.map(|site| inner.world.sites[site].claims());
            let claims: usize = sites.into_iter().sum();
            if told < claims {
                inner.fail(format!(
                    "{claims} versions in the trash are given up by nobody, and {told} are told"
                ));
            }
        }
    }

    async fn calm_down(&self) {
        let all = self.start().await;
        let began = Instant::now();
        let slept_before = self.stage.lock().slept;
        while all.iter().any(|running| running.standing.calm() < 2) {
            sleep(Duration::from_secs(1)).await;
            self.start_again(&all).await;
            self.look_at_status(&all);
            // While the machine sleeps nobody can come to rest.
            let slept = self.stage.lock().slept - slept_before;
            if began.elapsed() > LONGEST_UNREST + slept {
                let mut inner = self.stage.lock();
                inner.fail("a continuous job does not come to rest".to_owned());
                return;
            }
        }
        self.stop(all).await;
    }

    fn judge(&self) {
        let inner = &mut *self.stage.lock();
        let kept = inner.kept();
        let sites = inner.world.sites.iter();
        let excused: Vec<_> = sites.flat_map(|site| site.given_up()).collect();
        let source = self.plan.jobs.first().map_or(0, |job| job.source);
        let verdict = inner.judge.nothing_is_lost(&kept, &excused, source);
        inner.check(verdict);
        let verdict = inner
            .judge
            .nothing_else_happened(source, self.plan.is_calm());
        inner.check(verdict);
        // Without its memory nobody can know that a log was removed.
        let forgot = self.plan.steps.iter().any(|step| step.what == What::Forget);
        if !forgot {
            let verdict = inner.judge.groups_are_whole(self.plan.is_calm());
            inner.check(verdict);
        }
        for site in 0..self.plan.sites.len() {
            let shown = inner.judge.show(site);
            inner.trace(|| format!("{site} ends with {shown}"));
        }
    }
}

impl Job {
    pub(crate) fn sites(self) -> Sides<usize> {
        Sides::new(self.source, self.target)
    }
}
