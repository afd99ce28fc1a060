//! Processes that die, sleep, or are cut off, at every call.

use super::*;
use std::collections::HashMap;

/// How often the step that was sent most often was sent.
fn most_repeated(sends: &[(Duration, usize, u32)]) -> usize {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    sends.iter().for_each(|(.., position)| *counts.entry(*position).or_default() += 1);
    counts.into_values().max().unwrap_or(0)
}

/// Steps that were sent again.
fn repeated(sends: &[(Duration, usize, u32)]) -> usize {
    let distinct: BTreeSet<u32> = sends.iter().map(|(.., position)| *position).collect();
    sends.len() - distinct.len()
}

#[test]
fn a_process_may_die_at_every_statement() {
    for call in 0..calls_of_a_clean_run() {
        for when in [When::Before, When::After] {
            let mut sim = Sim::with(Setup::default(), vec![fault(call, when, What::Kill)]);
            let id = sim.submit(Steps::default());
            sim.check();
            let (job, sends) = (sim.job(id), sim.sends(id));
            assert_eq!(job.state, JobState::Success, "killed {when:?} call {call}: {job:?}");
            assert!(repeated(&sends) <= 1, "killed {when:?} call {call}: {sends:?}");
            assert!(sim.now < Duration::from_secs(20), "killed {when:?} call {call}: it went on after {:?}", sim.now);
        }
    }
}

#[test]
fn a_process_may_sleep_beyond_its_lease_at_every_statement() {
    let mut stale = 0;
    for call in 0..calls_of_a_clean_run() {
        for when in [When::Before, When::After] {
            let sleep = What::Freeze(Duration::from_secs(30));
            let mut sim = Sim::with(Setup::default(), vec![fault(call, when, sleep)]);
            let id = sim.submit(Steps::default());
            assert!(sim.run_until(Duration::from_secs(25), |sim| sim.job(id).state == JobState::Success), "call {call}");
            let before = sim.job(id);
            // It wakes up, and what it has to say about the job changes nothing.
            sim.run_until(Duration::from_secs(40), |_| false);
            let (after, sends) = (sim.job(id), sim.sends(id));
            assert_eq!(after, before, "asleep {when:?} call {call}");
            stale += usize::from(before.epoch > 1);
            let late = sends.iter().filter(|(at, process, _)| *process == 0 && *at > Duration::from_secs(28)).count();
            assert!(late <= 1, "asleep {when:?} call {call}: at most one message is under way: {sends:?}");
            assert!(most_repeated(&sends) <= 2, "asleep {when:?} call {call}: {sends:?}");
            let live = sim.read(sim.shared.index.nodes()).iter().filter(|n| n.lease > Duration::ZERO).count();
            assert_eq!(live, 2, "the sleeper takes part again");
            sim.check();
        }
    }
    assert!(stale > 10, "jobs were taken over: {stale}");
}

#[test]
fn a_sleep_within_the_lease_takes_nothing_over() {
    for call in 0..calls_of_a_clean_run() {
        for when in [When::Before, When::After] {
            let sleep = What::Freeze(LEASE - Duration::from_millis(1100));
            let mut sim = Sim::with(Setup::default(), vec![fault(call, when, sleep)]);
            let id = sim.submit(Steps::default());
            sim.check();
            let job = sim.job(id);
            assert_eq!((job.state, job.crashes), (JobState::Success, 0), "asleep {when:?} call {call}: {job:?}");
            assert!(repeated(&sim.sends(id)) <= 1);
        }
    }
}

#[test]
fn a_timeout_that_passed_while_the_process_slept_is_no_failure() {
    for call in 0..calls_of_a_clean_run() {
        for when in [When::Before, When::After] {
            let sleep = What::Freeze(LEASE - Duration::from_millis(1100));
            let mut sim = Sim::with(Setup::default(), vec![fault(call, when, sleep)]);
            let id = sim.submit(Steps { timeout_ms: 10_000, ..Steps::default() });
            sim.check();
            let job = sim.job(id);
            assert_eq!((job.state, job.crashes), (JobState::Success, 0), "asleep {when:?} call {call}: {job:?}");
        }
    }
}

/// One process claims a job and is never heard of again; another one looks so long after the last beat.
fn rescued_after(age: Duration) -> u64 {
    let sim = Sim::new(Setup { processes: 0, ..Setup::default() });
    let index = &sim.shared.index;
    let node = |name: &str| NewNode {
        id: NodeId::random(),
        name: name.into(),
        version: String::new(),
        kinds: vec![Steps::TYPE.into()],
        new_jobs_only: false,
        configuration: String::new(),
        details: Value::Null,
    };
    let (dead, other) = (node("dead"), node("other"));
    sim.read(index.join(&dead, LEASE));
    let mut sim = sim;
    sim.submit(Steps::default());
    assert_eq!(sim.read(sim.shared.index.claim_jobs(dead.id, 1)).len(), 1);
    sim.shared.set_clock(sim.now + age);
    sim.read(sim.shared.index.join(&other, LEASE));
    let beat = Beat { node: other.id, running: vec![], lease: LEASE, draining: false, settings: 0, limits: KEEP };
    sim.read(sim.shared.index.tick(&beat)).rescued
}

#[test]
fn a_lease_ends_when_it_ends() {
    let ms = Duration::from_millis(1);
    assert_eq!([LEASE - ms, LEASE, LEASE + ms].map(rescued_after), [0, 1, 1]);
}

#[test]
fn a_process_that_is_cut_off_stops_before_others_take_over() {
    for from in [300, 440, 1000, 1500] {
        let mut sim = Sim::with(Setup::default(), vec![]);
        let start = sim.now;
        let id = sim.submit(Steps { steps: 200, ms: 200, ..Steps::default() });
        let cut = start + Duration::from_millis(from);
        *lock(&sim.shared.places[0].cut) = Some((cut, cut + Duration::from_secs(40)));
        assert!(sim.run_until(Duration::from_secs(30), |sim| sim.sends(id).iter().any(|(_, process, _)| *process == 1)));
        let sends = sim.sends(id);
        let last_here = sends.iter().filter(|s| s.1 == 0).map(|s| s.0).max().unwrap();
        let first_there = sends.iter().filter(|s| s.1 == 1).map(|s| s.0).min().unwrap();
        assert!(last_here > cut + Duration::from_secs(5), "it goes on while it may: {last_here:?}");
        assert!(last_here + Duration::from_millis(500) < first_there, "cut at {from}: {last_here:?}, {first_there:?}");
        sim.check();
        assert_eq!(sim.job(id).state, JobState::Success);
    }
}

#[test]
fn a_short_cut_is_no_failure() {
    for from in (0..1200).step_by(100) {
        let mut sim = Sim::with(Setup { processes: 1, ..Setup::default() }, vec![]);
        let cut = sim.now + Duration::from_millis(from);
        *lock(&sim.shared.places[0].cut) = Some((cut, cut + Duration::from_secs(6)));
        let id = sim.submit(Steps { steps: 8, ..Steps::default() });
        sim.check();
        let job = sim.job(id);
        assert_eq!((job.state, job.crashes), (JobState::Success, 0), "cut at {from}: {job:?}");
        assert_eq!(repeated(&sim.sends(id)), 0, "cut at {from}");
    }
}

#[test]
fn a_statement_may_fail_or_lose_its_answer() {
    for call in 0..calls_of_a_clean_run() {
        for when in [When::Before, When::After] {
            let mut sim = Sim::with(Setup { processes: 1, ..Setup::default() }, vec![fault(call, when, What::Fail)]);
            let id = sim.submit(Steps::default());
            sim.check();
            let job = sim.job(id);
            assert_eq!((job.state, job.crashes), (JobState::Success, 0), "failed {when:?} call {call}: {job:?}");
        }
    }
}

#[test]
fn all_notifications_may_be_lost() {
    let mut sim = Sim::with(Setup { deaf: true, ..Setup::default() }, vec![]);
    let begin = sim.now;
    let long = sim.submit(Steps { steps: 1000, ..Steps::default() });
    assert!(sim.run_until(begin + Duration::from_millis(1100), |sim| !sim.sends(long).is_empty()), "a beat finds it");
    let asked = sim.now;
    sim.act(long, JobAction::Cancel);
    assert!(sim.run_until(asked + Duration::from_millis(1200), |sim| sim.job(long).state == JobState::Failure), "a beat tells");
    let ids: Vec<JobId> = (0..20).map(|_| sim.submit(Steps { steps: 1, ..Steps::default() })).collect();
    sim.check();
    assert!(ids.iter().all(|id| sim.job(*id).state == JobState::Success));
}

/// A failover lost the commit of a claim; the process claims the job again, with the same epoch.
#[test]
fn a_claim_that_the_database_forgot_is_worth_nothing() {
    let mut sim = Sim::with(Setup { processes: 1, ..Setup::default() }, vec![]);
    let id = sim.submit_raw(Steps::TYPE, 1, serde_json::to_value(Steps::default()).unwrap());
    sim.submitted.insert(id, Some(Steps::default()));
    let eng = sim.processes[0].eng.clone().unwrap();
    let claimed = sim.read(sim.shared.index.claim_jobs(eng.node_id(), 1)).pop().expect("it waits");
    {
        let _inside = sim.processes[0].runtime.as_ref().unwrap().enter();
        crate::jobs::worker::launch(&eng, claimed.clone(), None);
    }
    sim.run_for(Duration::from_millis(220));
    assert_eq!(sim.sends(id).len(), 3);
    {
        let _inside = sim.processes[0].runtime.as_ref().unwrap().enter();
        crate::jobs::worker::launch(&eng, claimed, None);
    }
    drop(eng);
    sim.check();
    let job = sim.job(id);
    assert_eq!((job.state, job.epoch), (JobState::Success, 1));
    assert_eq!(sim.sends(id).len(), 3 + 5, "the first run sends nothing more");
}

#[test]
fn a_process_that_stops_hands_over_at_once() {
    let mut handed = 0;
    for deaf in [false, true] {
        for ms in (0..1200).step_by(40) {
            let mut sim = Sim::with(Setup { deaf, ..Setup::default() }, vec![]);
            let id = sim.submit(Steps { steps: 10, ..Steps::default() });
            sim.run_for(Duration::from_millis(ms));
            sim.stop(0);
            sim.run_for(Duration::from_secs(1));
            sim.check();
            let (job, sends) = (sim.job(id), sim.sends(id));
            let what = format!("deaf: {deaf}, stopped after {ms} ms: {job:?} {sends:?}");
            assert_eq!((job.state, job.crashes), (JobState::Success, 0), "{what}");
            assert_eq!(repeated(&sends), 0, "{what}");
            let longest = sends.windows(2).map(|two| two[1].0 - two[0].0).max().expect("ten sends");
            // One step, and without notifications one beat.
            assert!(longest < Duration::from_millis(if deaf { 1250 } else { 250 }), "{what}");
            handed += usize::from(sends.iter().any(|s| s.1 == 0) && sends.iter().any(|s| s.1 == 1));
            assert_eq!(sim.read(sim.shared.index.nodes()).len(), 1, "it has left");
        }
    }
    assert!(handed > 20, "{handed}");
}

#[test]
fn two_rescuers_are_no_better_than_one() {
    for call in [6, 8, 10] {
        let mut sim = Sim::with(Setup { processes: 3, ..Setup::default() }, vec![fault(call, When::After, What::Kill)]);
        let id = sim.submit(Steps { steps: 50, ms: 40, ..Steps::default() });
        assert!(sim.run_until(Duration::from_secs(20), |sim| sim.job(id).epoch == 2));
        assert_eq!(sim.job(id).state, JobState::Running);
        let ran: BTreeSet<usize> = sim.sends(id).iter().map(|(_, process, _)| *process).collect();
        sim.check();
        let after: BTreeSet<usize> = sim.sends(id).iter().map(|(_, process, _)| *process).collect();
        assert!(after.len() <= 2 && after.is_superset(&ran), "one of the two goes on: {after:?}");
        assert_eq!(sim.job(id).epoch, 2);
    }
}
