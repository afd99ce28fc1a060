//! Jobs that kill whoever runs them, and rows that nobody can run.

use super::*;
use model::job::rules::SUSPECT;
use serde_json::json;

impl Sim {
    /// Starts again what died, as a supervisor does.
    fn restart_dead(&mut self) {
        for at in 0..self.processes.len() {
            if self.processes[at].runtime.is_none() {
                *lock(&self.shared.places[at].halt) = None;
                self.processes[at] = self.start(at);
            }
        }
    }
}

#[test]
fn a_poison_ends_after_three_crashes_and_hurts_nobody() {
    for deadly in [0, 2] {
        let mut sim = Sim::with(Setup { workers: 8, ..Setup::default() }, vec![]);
        let mut innocent = vec![];
        for _ in 0..6 {
            innocent.push(sim.submit(Steps { steps: 3, ms: 3000, ..Steps::default() }));
        }
        let poison = sim.submit(Steps { deadly: Some(deadly), ..Steps::default() });
        for _ in 0..200 {
            sim.run_for(Duration::from_millis(500));
            sim.restart_dead();
        }
        sim.check();
        let job = sim.job(poison);
        assert_eq!((job.state, job.error.code, job.crashes), (JobState::Failure, -1, 3), "{job:?}");
        assert!(job.error.details.contains("3 processes") && job.error.details.contains("p0 ("), "{job:?}");
        for id in innocent {
            assert_eq!(sim.job(id).state, JobState::Success, "it only ran beside the poison: {:?}", sim.job(id));
        }
    }
}

/// It has crashed twice because it ran beside a poison; the next crash would be its last, so it must be its own.
#[test]
fn a_suspect_runs_beside_nobody() {
    let mut sim = Sim::with(Setup { processes: 1, workers: 8, ..Setup::default() }, vec![]);
    let innocent = sim.submit(Steps { steps: 1, ms: 4000, ..Steps::default() });
    let poison = sim.submit(Steps { deadly: Some(0), ..Steps::default() });
    while sim.job(innocent).epoch < 2 {
        sim.restart_dead();
        sim.run_for(Duration::from_millis(500));
    }
    assert!(sim.processes[0].runtime.is_none(), "the second crash");
    // It runs when the others become suspects.
    let late = sim.submit(Steps { steps: 3, ms: 7000, deadly: Some(2), ..Steps::default() });
    let mut seen = 0;
    for _ in 0..1000 {
        sim.run_for(Duration::from_millis(100));
        sim.restart_dead();
        let running: Vec<Job> = sim.jobs().into_iter().filter(|job| job.state == JobState::Running).collect();
        for suspect in running.iter().filter(|job| job.crashes >= SUSPECT) {
            assert_eq!(running.iter().filter(|job| job.owner == suspect.owner).count(), 1, "{running:?}");
            seen += 1;
        }
    }
    assert!(seen > 10, "suspects ran: {seen}");
    sim.check();
    assert_eq!(sim.job(innocent).state, JobState::Success, "{:?}", sim.job(innocent));
    for id in [poison, late] {
        assert_eq!((sim.job(id).state, sim.job(id).error.code), (JobState::Failure, -1), "{:?}", sim.job(id));
    }
}

#[test]
fn rows_that_nobody_can_run_stop_nobody() {
    let mut sim = Sim::with(Setup::default(), vec![]);
    let good = Steps { steps: 2, ..Steps::default() };
    let mut goods = vec![sim.submit(good)];
    let deep = (0..100).fold(Value::Null, |inner, _| json!([inner]));
    let junk = [
        json!(null),
        json!(-1),
        json!("steps"),
        json!([]),
        json!({}),
        json!({"steps": "five"}),
        json!({"steps": -5, "ms": 1}),
        json!({"steps": 1e300, "ms": 1}),
        json!({"steps": 1, "ms": "\u{0}"}),
        json!({"steps": 4_294_967_296_u64, "ms": 0}),
        deep,
        json!({"steps": {"steps": vec![0; 10_000]}}),
    ];
    let mut bad = vec![];
    for (at, arguments) in junk.into_iter().enumerate() {
        for kind in [Steps::TYPE, "Archive", "DicomModalityStore"] {
            bad.push(sim.submit_raw(kind, 1, arguments.clone()));
        }
        if at % 3 == 0 {
            goods.push(sim.submit(good));
        }
    }
    let unknown = ["", "Unknown", "steps", "Steps ", "\u{0}"].map(|kind| sim.submit_raw(kind, 1, json!({})));
    sim.run_for(Duration::from_secs(20));
    for id in goods {
        assert_eq!(sim.job(id).state, JobState::Success);
    }
    for id in bad {
        let job = sim.job(id);
        assert!(job.state == JobState::Failure && !job.error.details.is_empty(), "{job:?}");
    }
    for id in unknown {
        assert_eq!((sim.job(id).state, sim.job(id).epoch), (JobState::Pending, 0), "another version may run it");
        sim.act(id, JobAction::Cancel);
    }
    sim.check();
}
