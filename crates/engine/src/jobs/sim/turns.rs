//! Runs that end at the same moment, on a process whose workers get the next jobs in the same call.

use super::*;

/// Six jobs that take turns on the two workers of the first process; the second runs none of them unless the first is gone.
fn six(faults: Vec<Fault>) -> Sim {
    let mut sim = Sim::with(Setup::default(), faults);
    for _ in 0..6 {
        sim.submit(Steps { steps: 1, ms: 40, ..Steps::default() });
    }
    sim
}

fn turns(sim: &Sim, process: usize) -> usize {
    lock(&sim.shared.calls).iter().filter(|call| call.process == process && call.name == "finish_jobs").count()
}

#[test]
fn ends_and_claims_share_their_calls() {
    let mut sim = six(vec![]);
    assert!(sim.run_until(Duration::from_secs(10), Sim::ended));
    // Claims of 6 and ends of 6 would be more calls: each turn ends what has ended and claims what the workers take.
    let calls = turns(&sim, 0) + turns(&sim, 1);
    assert!(calls <= 9, "{calls}");
    assert!(sim.jobs().iter().all(|job| job.state == JobState::Success && job.epoch == 1));
    sim.check();
}

#[test]
fn whatever_happens_to_a_turn_happens_to_no_job() {
    let mut sim = six(vec![]);
    assert!(sim.run_until(Duration::from_secs(10), Sim::ended));
    let clean = lock(&sim.shared.calls).iter().filter(|call| call.process == 0).count();
    drop(sim);
    assert!(clean >= 8, "{clean}");
    for call in 0..clean {
        for when in [When::Before, When::After] {
            for (name, what) in [("killed", What::Kill), ("away", What::Fail), ("asleep", What::Freeze(Duration::from_secs(30)))]
            {
                let case = format!("{name} {when:?} call {call}");
                let mut sim = six(vec![fault(call, when, what)]);
                sim.check();
                for job in sim.jobs() {
                    assert_eq!(job.state, JobState::Success, "{case}: {job:?}");
                    let sends = sim.sends(job.id).len();
                    assert!((1..=2).contains(&sends), "{case}: {sends}");
                }
            }
        }
    }
}

/// One of several that end together belongs to another process by now: the others end all the same.
#[test]
fn a_lost_job_does_not_hold_up_those_that_end_with_it() {
    let mut sim = six(vec![]);
    let running = |sim: &Sim| sim.jobs().iter().filter(|job| job.state == JobState::Running).count() >= 2;
    assert!(sim.run_until(Duration::from_secs(5), running));
    let stolen = sim.jobs().into_iter().find(|job| job.state == JobState::Running).expect("one runs");
    let claim = Claim { job: stolen.id, node: stolen.owner.expect("it has an owner"), epoch: stolen.epoch };
    // Somebody ends the run in its owner's name, as the first of two calls whose answer was lost.
    let end = JobEnd { outcome: JobOutcome::Released, checkpoint: Checkpoint::default() };
    assert!(sim.read(sim.shared.index.finish_job(claim, end, KEEP)));
    sim.check();
    assert_eq!(sim.job(stolen.id).epoch, 2, "it ran again");
    assert!(sim.jobs().iter().all(|job| job.state == JobState::Success), "{:?}", sim.jobs());
}
