//! Newly declared main tags are filled in once and for everything, whatever happens to the processes.

use super::*;
use crate::Ctx;
use model::{FindRequest, Level, tags};

/// Two processes that declare a tag start on three studies that were stored without it. What goes wrong begins with their start.
fn declared_later(faults: Vec<Fault>) -> Sim {
    let mut sim = Sim::new(Setup::default());
    let eng = sim.processes[1].eng.clone().unwrap();
    sim.processes[1].runtime.as_ref().unwrap().block_on(async {
        for number in 1..=3 {
            crate::store::store(&eng, &Ctx::default(), archives::file_of_study(number, &format!("1.{number}"))).await.unwrap();
        }
    });
    drop(eng);
    for at in 0..2 {
        sim.kill(at);
    }
    // Nobody takes them for living processes that declare something else.
    sim.run_for(LEASE + Duration::from_secs(1));
    sim.setup.declared = Some((Level::Instance, tags::MODALITY));
    lock(&sim.shared.calls).clear();
    *lock(&sim.shared.faults) = faults;
    for at in 0..2 {
        *lock(&sim.shared.places[at].halt) = None;
        sim.processes[at] = sim.start(at);
    }
    sim
}

/// Lets it end, and checks that one job did it all.
fn check(sim: &mut Sim, what: &str) {
    let end = sim.now + Duration::from_secs(60);
    let filled = |sim: &Sim| {
        let instances = sim.read(sim.shared.index.find(&FindRequest::all(Level::Instance)));
        instances.len() == 3 && instances.iter().all(|one| one.tags[Level::Instance as usize].get(tags::MODALITY) == Some("CT"))
    };
    let done = |sim: &Sim| filled(sim) && sim.jobs().first().is_some_and(|job| job.state == JobState::Success);
    assert!(sim.run_until(end, done), "{what}: {:?}", sim.jobs());
    // Nobody begins again.
    sim.run_for(Duration::from_secs(10));
    let jobs = sim.jobs();
    assert_eq!(jobs.len(), 1, "{what}: {jobs:?}");
    let note = sim.read(sim.shared.index.note("housekeeping"));
    assert_eq!((note.value["open"].clone(), note.value["runs"].clone()), (serde_json::json!([]), 1.into()), "{what}");
}

#[test]
fn a_process_may_die_or_sleep_at_every_statement() {
    let mut clean = declared_later(vec![]);
    check(&mut clean, "a clean run");
    let calls = lock(&clean.shared.calls).iter().filter(|c| c.process == 0 && c.at < Duration::from_secs(14)).count();
    drop(clean);
    assert!((15..150).contains(&calls), "{calls} calls");
    for call in 0..calls {
        for when in [When::Before, When::After] {
            for what in [What::Kill, What::Freeze(Duration::from_secs(30))] {
                let name = if matches!(what, What::Kill) { "killed" } else { "asleep" };
                let mut sim = declared_later(vec![fault(call, when, what)]);
                check(&mut sim, &format!("{name} {when:?} call {call}"));
            }
        }
    }
}
