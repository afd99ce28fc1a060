//! Anything at any moment, by a seed.

use super::*;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

/// Twelve jobs on three processes while things go wrong for half a minute.
fn run(seed: u64) {
    let mut dice = Dice(seed);
    let mut faults = vec![];
    for process in 0..3 {
        for _ in 0..4 {
            let what = match dice.roll(4) {
                0 if process > 0 => What::Kill,
                1 => What::Fail,
                _ => What::Freeze(Duration::from_millis(dice.roll(30_000))),
            };
            let when = if dice.roll(2) == 0 { When::Before } else { When::After };
            faults.push(Fault { process, call: dice.roll(150) as usize, when, what });
        }
    }
    let mut sim = Sim::with(Setup { processes: 3, workers: 2, deaf: seed.is_multiple_of(4), ..Setup::default() }, faults);
    let mut ids = vec![];
    for _ in 0..12 {
        let steps = Steps { steps: dice.roll(10) as u32, ms: dice.roll(300), ..Steps::default() };
        let steps = if dice.roll(6) == 0 { Steps { fails: Some(dice.roll(10) as u32), ..steps } } else { steps };
        ids.push(sim.submit(steps));
        sim.run_for(Duration::from_millis(dice.roll(800) / 20 * 20));
    }
    let mut canceled = BTreeSet::new();
    for _ in 0..30 {
        let id = ids[dice.roll(12) as usize];
        let open = !sim.job(id).state.is_final();
        let action = [JobAction::Cancel, JobAction::Pause, JobAction::Pause, JobAction::Resume][dice.roll(4) as usize];
        let accepted = sim.act(id, action) == Acted::Accepted;
        if accepted && open && action == JobAction::Cancel {
            canceled.insert(id);
        }
        sim.run_for(Duration::from_millis(dice.roll(2000) / 20 * 20));
    }
    sim.check();
    for id in ids {
        let job = sim.job(id);
        let steps = sim.submitted[&id].expect("a job of steps");
        let may_fail = steps.fails.is_some_and(|at| at < steps.steps);
        match job.error.code {
            0 => assert!(!may_fail, "seed {seed}: {job:?}"),
            37 => assert!(canceled.contains(&id), "seed {seed}: {job:?}"),
            // It ran while three processes died or slept for too long, without a step that was kept.
            -1 => assert_eq!(job.crashes, 3, "seed {seed}: {job:?}"),
            _ => assert!(may_fail, "seed {seed}: {job:?}"),
        }
    }
}

#[test]
fn anything_may_happen_at_any_moment() {
    for seed in 0..40 {
        run(seed);
    }
}
