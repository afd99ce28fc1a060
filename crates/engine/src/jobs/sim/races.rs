//! Clients, runners and rescuers that act at the same moment: all orders of two of them, around every call of the runner.

use super::*;

/// What a client does at a call of the runner.
fn asks(id: &Arc<Mutex<Option<JobId>>>, action: JobAction) -> What {
    let id = id.clone();
    What::Do(Arc::new(move |shared: &Shared| {
        if let Some(id) = *lock(&id) {
            wait(shared.index.act_on_job(id, action, KEEP)).expect("the database answers");
        }
    }))
}

struct Race {
    sim: Sim,
    id: JobId,
}

/// A job while which `faults` happen; they are made with a place for its id.
fn race(faults: impl Fn(&Arc<Mutex<Option<JobId>>>) -> Vec<Fault>) -> Race {
    let slot = Arc::default();
    let mut sim = Sim::with(Setup::default(), faults(&slot));
    let steps = Steps::default();
    let new = NewJob::new(Steps::TYPE, 1, serde_json::to_value(steps).unwrap(), Value::Null);
    let id = new.id;
    sim.read(sim.shared.index.submit_job(new));
    *lock(&slot) = Some(id);
    sim.shared.spread_hints();
    sim.submitted.insert(id, Some(steps));
    Race { sim, id }
}

/// Whether a client was told that its cancel is accepted while the job had not ended.
fn expect_end(race: &mut Race, canceled: bool, what: &str) {
    race.sim.check();
    let job = race.sim.job(race.id);
    match job.state {
        // What was done before the cancel was seen, is done.
        JobState::Success => {}
        JobState::Failure => assert!(canceled && job.error.code == 37, "{what}: {job:?}"),
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_cancel_may_come_at_every_statement() {
    let calls = calls_of_a_clean_run();
    let mut ends = BTreeMap::new();
    for call in 0..calls {
        for when in [When::Before, When::After] {
            let mut race = race(|id| vec![fault(call, when, asks(id, JobAction::Cancel))]);
            // Long before the job would have ended by itself.
            expect_end(&mut race, true, &format!("{when:?} call {call}"));
            *ends.entry(race.sim.job(race.id).state.name()).or_insert(0) += 1;
        }
    }
    assert!(ends["Failure"] > calls, "most cancels come in time: {ends:?}");
}

#[test]
fn a_pause_may_come_at_every_statement() {
    let mut paused = 0;
    for call in 0..calls_of_a_clean_run() {
        for when in [When::Before, When::After] {
            let mut race = race(|id| vec![fault(call, when, asks(id, JobAction::Pause))]);
            let rests = |sim: &Sim| matches!(sim.jobs()[0].state, JobState::Paused | JobState::Success);
            assert!(race.sim.run_until(Duration::from_secs(4), rests), "{when:?} call {call}: {:?}", race.sim.job(race.id));
            let job = race.sim.job(race.id);
            paused += usize::from(job.state == JobState::Paused);
            let sends = race.sim.sends(race.id).len();
            race.sim.run_for(Duration::from_secs(3));
            assert_eq!(race.sim.sends(race.id).len(), sends, "{when:?} call {call}: it goes on although it is paused");
            expect_end(&mut race, false, &format!("{when:?} call {call}"));
            assert_eq!(race.sim.sends(race.id).len(), 5, "{when:?} call {call}: nothing is sent twice after a pause");
        }
    }
    assert!(paused > 10, "{paused}");
}

/// Two clients, in both orders, at every two calls of the runner.
#[test]
fn a_cancel_wins_over_a_pause_whichever_comes_first() {
    let calls = calls_of_a_clean_run();
    let mut canceled = 0;
    for first in 0..calls {
        for gap in [0, 1, 3] {
            for order in [[JobAction::Cancel, JobAction::Pause], [JobAction::Pause, JobAction::Cancel]] {
                let at = |id: &_, n: usize| fault(first + n * gap, When::After, asks(id, order[n]));
                let mut race = race(|id| vec![at(id, 0), at(id, 1)]);
                let ended = |sim: &Sim| sim.jobs()[0].state.is_final();
                let what = format!("{order:?} at calls {first} and {}", first + gap);
                // A cancel that comes before the end needs nobody's help; one that comes too late finds Success or a pause.
                let over = race.sim.run_until(Duration::from_secs(5), ended);
                let job = race.sim.job(race.id);
                assert!(over || job.state == JobState::Paused && first + gap >= calls, "{what}: {job:?}");
                canceled += usize::from(job.error.code == 37);
                expect_end(&mut race, true, &what);
            }
        }
    }
    assert!(canceled > calls, "{canceled}");
}

#[test]
fn what_a_client_wanted_survives_the_owner() {
    for (action, state) in [(JobAction::Cancel, JobState::Failure), (JobAction::Pause, JobState::Paused)] {
        for call in 0..calls_of_a_clean_run() {
            // The client asks, and the owner dies before it could hear of it.
            let mut race = race(|id| vec![fault(call, When::After, asks(id, action)), fault(call, When::After, What::Kill)]);
            let there = |sim: &Sim| [state, JobState::Success].contains(&sim.jobs()[0].state);
            assert!(race.sim.run_until(Duration::from_secs(20), there), "{action:?} call {call}: {:?}", race.sim.job(race.id));
            let job = race.sim.job(race.id);
            assert!(job.state == state || job.epoch <= 1, "{action:?} call {call}: nobody else goes on with it: {job:?}");
            expect_end(&mut race, action == JobAction::Cancel, &format!("{action:?} call {call}"));
        }
    }
}

/// The owner sleeps at every call; while others take its job over, a client asks.
#[test]
fn a_client_may_ask_around_a_rescue() {
    for action in [JobAction::Cancel, JobAction::Pause] {
        for call in (0..calls_of_a_clean_run()).step_by(2) {
            for seconds in [11, 12, 13, 20] {
                let sleep = vec![fault(call, When::Before, What::Freeze(Duration::from_secs(20)))];
                let mut race = race(|_| sleep.clone());
                race.sim.run_for(Duration::from_secs(seconds));
                let before = race.sim.job(race.id);
                let acted = race.sim.act(race.id, action);
                assert_eq!(acted, Acted::Accepted);
                let what = format!("{action:?} after {seconds} s asleep at call {call}");
                let canceled = action == JobAction::Cancel && !before.state.is_final();
                expect_end(&mut race, canceled, &what);
                if canceled && before.state != JobState::Running {
                    assert_eq!(race.sim.job(race.id).error.code, 37, "{what}");
                }
            }
        }
    }
}

/// The runner reports its end at the moment at which others take its job over.
#[test]
fn a_rescue_may_race_the_end() {
    let mut taken = 0;
    for call in 0..calls_of_a_clean_run() {
        for ms in [11_800, 11_900, 12_000, 12_100, 12_500, 13_000] {
            let sleep = vec![fault(call, When::Before, What::Freeze(Duration::from_millis(ms)))];
            let mut race = race(|_| sleep.clone());
            expect_end(&mut race, false, &format!("asleep {ms} ms at call {call}"));
            taken += usize::from(race.sim.job(race.id).epoch > 1);
        }
    }
    assert!(taken > 10, "{taken}");
}
