//! What the owner of the jobs is asked, and what it answers.

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use wl_control::{Class, EventKind, JobStatus, Refusal, State};
use wl_core::model::{Conflict, Sides};
use wl_core::sync::{SyncError, SyncErrorClass};

use super::machine::{Ending, Input};
use super::owner::{Owner, halt, reply_with};
use super::slot::{Resolve, Slot};
use super::worker::{Reached, Work};
use super::{Ask, Reply, StartRequest};
use crate::led::Leads;
use crate::{JobSpec, StorageSpec};

impl Owner {
    pub(super) async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Start(request, reply) => {
                let answer = self.start(*request).await;
                reply_with(reply, answer);
            }
            Ask::Stop(id, reply) => self.stop(&id, reply).await,
            Ask::StopAll(reply) => self.stop_all(reply).await,
            Ask::Status(reply) => {
                let all: Vec<JobStatus> = self.slots.values().map(Slot::status).collect();
                reply_with(reply, Ok(json!(all)));
            }
            Ask::Figures(reply) => {
                // Whoever asked may be gone.
                let _ = reply.send(self.slots.values().map(Slot::figures).collect());
            }
            Ask::Jobs(reply) => {
                let all = self.slots.iter();
                let all: Map<String, Value> =
                    all.map(|(id, slot)| (id.clone(), slot.state())).collect();
                reply_with(reply, Ok(all.into()));
            }
            Ask::JobState(id, reply) => {
                let state = self.slots.get(&id).map(Slot::state);
                reply_with(reply, Ok(state.unwrap_or_default()));
            }
            Ask::Conflicts(id, start_after, reply) => {
                let answer = self.conflicts(&id, start_after.as_deref());
                reply_with(reply, answer);
            }
            Ask::Resolve(id, paths, keep, reply) => {
                let resolve = Resolve { paths, keep, reply };
                self.resolve(&id, resolve);
            }
            Ask::Pause(id, reply) => {
                let answer = self.rest(&id, true).await;
                match self.slots.get_mut(&id) {
                    // Told when nothing is being done any more.
                    Some(slot) if answer.is_ok() && slot.run != 0 => slot.rests.push(reply),
                    _ => reply_with(reply, answer),
                }
            }
            Ask::Resume(id, reply) => {
                let answer = self.rest(&id, false).await;
                reply_with(reply, answer);
            }
            Ask::Close(closed) => self.close(closed),
        }
    }

    /// Recorded before it is acknowledged, and before it runs.
    async fn start(&mut self, request: StartRequest) -> Result<Value, Refusal> {
        if self.closing.is_some() {
            return Err(Refusal::new(
                Class::Failed,
                "the daemon is ending; start it again with `wl start`",
            ));
        }
        let id = request.job_id.clone();
        if let Some(slot) = self.slots.get(&id) {
            return Err(Refusal::new(
                Class::JobExists,
                format!(
                    "there is a job `{id}` already ({}); stop it first, or give another job-id",
                    slot.machine.state().0.name()
                ),
            ));
        }
        let spec = request.spec(&self.base_dir)?;
        if let Some(other) = self.working_on_the_same(&spec) {
            return Err(Refusal::new(
                Class::JobExists,
                format!("the job `{other}` works on the same two storages; stop it first"),
            ));
        }
        self.slots
            .insert(id.clone(), Slot::new(request, spec, false));
        if let Err(refusal) = self.save().await {
            self.slots.remove(&id);
            return Err(refusal);
        }
        self.launch(&id, Work::Run);
        self.tell_state(&id);
        Ok(json!(format!("job `{id}` was started")))
    }

    fn working_on_the_same(&self, spec: &JobSpec) -> Option<&str> {
        let key = |spec: &JobSpec| {
            let key = |spec: &StorageSpec| format!("{} {}", spec.type_name, spec.params);
            let mut pair = [key(&spec.storages.source), key(&spec.storages.target)];
            pair.sort();
            pair
        };
        let wanted = key(spec);
        let mut busy = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.spec.continuous || slot.machine.is_running());
        busy.find(|(_, slot)| key(&slot.spec) == wanted)
            .map(|(id, _)| &**id)
    }

    /// Lets a run go on with the storages that it reached, unless another job has the two already, under whatever names: both would take
    /// the pair from each other for ever.
    pub(super) fn reached(&mut self, id: &str, reached: Reached) {
        let Sides { source, target } = reached.identities.clone();
        let mut pair = [source, target];
        pair.sort();
        let other = self.slots.iter().find(|(other, slot)| {
            let works = slot.spec.continuous || slot.machine.is_running();
            *other != id && works && !slot.stopping && slot.found.pair.as_ref() == Some(&pair)
        });
        let taken_by = other.map(|(other, _)| other.clone());
        let begun = self.slots.get(id).and_then(|it| it.found.begun.as_ref());
        let is_there = begun == Some(&reached.identities);
        let elsewhere = leads_elsewhere(begun, &reached);
        let (source, target) = (place(&reached.names.source), place(&reached.names.target));
        let answer = match (elsewhere, &taken_by) {
            (Some(error), _) => Err(error),
            (None, None) => Ok(()),
            (None, Some(other)) => Err(SyncError::new(
                SyncErrorClass::Usage,
                format!(
                    "the job `{other}` works on the same two storages, {source} and {target}, under other names; stop one of the two jobs"
                ),
            )),
        };
        if let Some(slot) = self.slots.get_mut(id) {
            if answer.is_ok() && !is_there {
                slot.found.begun = Some(reached.identities);
                self.unrecorded |= slot.spec.continuous;
            }
            slot.found.pair = answer.is_ok().then_some(pair);
            slot.found.taken_by = taken_by;
            slot.found.names = Some(reached.names);
        }
        // A run that was dropped waits no more.
        let _ = reached.go_on.send(answer);
    }

    async fn stop(&mut self, id: &str, reply: Reply) {
        let Some(slot) = self.slots.get_mut(id) else {
            return reply_with(reply, Err(unknown(id)));
        };
        if slot.stopping {
            let desc = format!("the job `{id}` is being stopped already; wait for that");
            return reply_with(reply, Err(Refusal::new(Class::UnknownJob, desc)));
        }
        slot.stopping = true;
        slot.stops.push(reply);
        slot.no_timer();
        halt(slot);
        if slot.run == 0 {
            self.forget(id).await;
        }
    }

    async fn stop_all(&mut self, reply: Reply) {
        let ids: Vec<_> = self.slots.keys().cloned().collect();
        let mut waits = Vec::new();
        for id in ids {
            let (done, wait) = oneshot::channel();
            match self.slots.get_mut(&id).filter(|slot| slot.stopping) {
                Some(stopping) => stopping.stops.push(done),
                None => self.stop(&id, done).await,
            }
            waits.push(wait);
        }
        tokio::spawn(async move {
            let mut stopped = 0;
            for wait in waits {
                match wait.await {
                    Ok(Ok(_)) => stopped += 1,
                    Ok(Err(refusal)) if refusal.class != Class::UnknownJob.as_str() => {
                        return reply_with(reply, Err(refusal));
                    }
                    _ => {}
                }
            }
            reply_with(reply, Ok(json!(format!("jobs stopped: {stopped}"))));
        });
    }

    /// Forgets a job that has stopped, and only then says so.
    pub(super) async fn forget(&mut self, id: &str) {
        let Some(mut slot) = self.slots.remove(id) else {
            return;
        };
        if let Err(refusal) = self.save().await {
            // It would come back with the next daemon: it is not stopped.
            for reply in slot.stops.drain(..) {
                reply_with(reply, Err(refusal.clone()));
            }
            slot.stopping = false;
            self.slots.insert(id.to_owned(), slot);
            let why = format!("it could not be stopped: {refusal}");
            let ending = Ending::Failed(SyncErrorClass::State, why);
            self.input(id, Input::Ended(ending));
            // Who waits for the end of conflicts still does.
            self.next_resolve(id);
            return;
        }
        // Whoever waited for its storages need not wait for the next try.
        let waits =
            |slot: &Slot| slot.spec.continuous && slot.found.taken_by.as_deref() == Some(id);
        let others = self.slots.iter().filter(|(_, slot)| waits(slot));
        let others: Vec<_> = others.map(|(other, _)| other.clone()).collect();
        for other in others {
            self.input(&other, Input::Due);
        }
        let stopped = json!([State::Stopped, "stopped"]);
        self.publish(EventKind::State, id, "state", stopped);
        for waiting in slot.resolves.drain(..) {
            reply_with(waiting.reply, Err(unknown(id)));
        }
        slot.tell_rests();
        for reply in slot.stops.drain(..) {
            reply_with(reply, Ok(json!(format!("job `{id}` was stopped"))));
        }
    }

    async fn rest(&mut self, id: &str, rest: bool) -> Result<Value, Refusal> {
        let slot = self.slots.get(id).ok_or_else(|| unknown(id))?;
        if !slot.spec.continuous || slot.stopping {
            return Err(Refusal::new(
                Class::Usage,
                format!(
                    "the job `{id}` runs once or is being stopped; only continuous jobs can be paused and resumed"
                ),
            ));
        }
        let input = if rest {
            Input::PauseAsked
        } else {
            Input::ResumeAsked
        };
        let rested = slot.machine.is_resting();
        self.input(id, input);
        if let Err(refusal) = self.save().await {
            // What is not remembered is not done; what was so before stays.
            if rested != rest {
                let back = if rest {
                    Input::ResumeAsked
                } else {
                    Input::PauseAsked
                };
                self.input(id, back);
            }
            return Err(refusal);
        }
        if !rest && !rested {
            self.try_all_again(id);
        }
        let done = if rest { "paused" } else { "resumed" };
        Ok(json!(format!("job `{id}` was {done}")))
    }

    /// Between two looks a run that left problems gives way to one that tries all of them: somebody may have done something about it.
    fn try_all_again(&mut self, id: &str) {
        if let Some(slot) = self.slots.get_mut(id)
            && slot.run != 0
            && slot.resolving.is_none()
            && !slot.looking
            && !slot.found.problems.is_empty()
        {
            slot.machine.run_anew();
            halt(slot);
        }
    }

    fn conflicts(&self, id: &str, start_after: Option<&str>) -> Result<Value, Refusal> {
        let slot = self.slots.get(id).ok_or_else(|| unknown(id))?;
        let (page, more) = page(slot.found.conflicts.values(), start_after);
        Ok(json!({ "conflicts": page, "more": more, "count": slot.found.conflicts.len() }))
    }

    fn resolve(&mut self, id: &str, resolve: Resolve) {
        let Some(slot) = self.slots.get_mut(id).filter(|slot| !slot.stopping) else {
            return reply_with(resolve.reply, Err(unknown(id)));
        };
        if !slot.spec.continuous && slot.run != 0 {
            let desc = format!("the job `{id}` still runs; wait for its end, then resolve");
            return reply_with(resolve.reply, Err(Refusal::new(Class::Usage, desc)));
        }
        slot.resolves.push_back(resolve);
        if slot.run == 0 {
            self.next_resolve(id);
        } else if slot.resolving.is_none() {
            // Between two runs of the job, so that the pair is never worked on twice.
            halt(slot);
            self.input(id, Input::GivesWay);
        }
    }
}

/// So many conflicts are on a page.
const PAGE: usize = 200;

/// The conflicts of `all`, by path, behind the path `after`, and whether there are more than these. All those of one path are on one page:
/// the next begins behind a path.
fn page<'a>(
    all: impl Iterator<Item = &'a Conflict>,
    after: Option<&str>,
) -> (Vec<&'a Conflict>, bool) {
    let mut behind = all
        .filter(|it| after.is_none_or(|after| &*it.path > after))
        .peekable();
    let mut page: Vec<&Conflict> = Vec::new();
    while let Some(next) = behind
        .next_if(|next| page.len() < PAGE || page.last().is_some_and(|last| last.path == next.path))
    {
        page.push(next);
    }
    (page, behind.peek().is_some())
}

/// Why a job may not go on with the storages that it reached, if its paths lead elsewhere. One that has begun stays where that was; one that
/// has not is held against the last run of the same paths, like a run of its own: stopped and started again it is no other sync.
fn leads_elsewhere(begun: Option<&Sides<String>>, reached: &Reached) -> Option<SyncError> {
    match (begun, &reached.leads) {
        (Some(begun), _) if *begun == reached.identities => None,
        // A run of its own may have accepted since that they lead elsewhere.
        (_, Leads::AsKnown) | (None, Leads::Anew) => None,
        (None, Leads::Elsewhere(error)) => Some(error.clone()),
        (Some(_), Leads::Anew | Leads::Elsewhere(_)) => {
            let (source, target) = (place(&reached.names.source), place(&reached.names.target));
            Some(SyncError::new(
                SyncErrorClass::RootChanged,
                format!(
                    "a folder of this job leads elsewhere than when the job was started (a symbolic link?): now it is {source} and {target}; put back what was there, and it goes on by itself; or, if these are to be synced from now on, run once with `--one-shot --accept-new-filesystem`: they are another pair of storages, and compared as on a first run if they were never synced"
                ),
            ))
        }
    }
}

/// Where a storage is, as reports say it.
fn place(name: &Value) -> &str {
    name["location"].as_str().unwrap_or_default()
}

fn unknown(id: &str) -> Refusal {
    Refusal::new(
        Class::UnknownJob,
        format!("there is no job `{id}`; `wl status` shows which there are"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_conflicts_of_a_path_are_on_one_page() {
        let conflict = |path: String, reason: &str| Conflict {
            path,
            reason: reason.to_owned(),
            source: None,
            target: None,
            ancestor: None,
        };
        let mut all: Vec<_> = (100..500)
            .map(|number| conflict(number.to_string(), "one"))
            .collect();
        // The last of the first page has two.
        all.insert(PAGE, conflict(all[PAGE - 1].path.clone(), "other"));
        let (mut seen, mut after) = (Vec::new(), None::<String>);
        loop {
            let (page, more) = page(all.iter(), after.as_deref());
            seen.extend(page.into_iter().cloned());
            after = seen.last().map(|last| last.path.clone());
            if !more {
                break;
            }
        }
        assert_eq!(seen, all);
    }
}
