//! What processes decide, without a database.

use super::state::{By, Decided, Me, Seen, State};
use super::*;
use std::collections::BTreeSet;

fn me<'h>(tags: &str, compression: bool, housekeeper: Option<&'h Housekeeper>) -> Me<'h> {
    let signatures = ["p", "st", "se", tags].map(str::to_owned);
    let configuration = Configuration { signatures, storage_compression: compression };
    Me { key: tags.to_owned(), digest: tags.to_owned(), configuration, housekeeper }
}

fn housekeeper() -> Housekeeper {
    let triggers = Triggers { storage_compression: true, main_tags: true, dicom_as_json: true };
    let (throttle, schedule) = (Duration::from_secs(5), Schedule::default());
    Housekeeper { force: false, force_files: false, throttle, schedule, triggers, level: None }
}

/// A process starts beside nobody, or beside one with other tags.
fn starts(others: bool) -> Seen {
    Seen { starting: true, undecided: true, other_tags: others, now: "now".into(), ..Seen::default() }
}

fn later(others: bool) -> Seen {
    Seen { starting: false, undecided: false, ..starts(others) }
}

fn finish_all(state: &mut State) {
    for run in state.open.clone() {
        state.finish(&run);
    }
}

fn runs(state: &State) -> Vec<u64> {
    state.open.iter().map(|run| run.number).collect()
}

#[test]
fn an_empty_index_needs_no_run() {
    let mut state = State::default();
    let decided = state.settle(&me("A", false, None), &Seen { empty: true, ..starts(false) });
    assert_eq!((decided, state.runs), (Decided { settled: true, postponed: false, superseded: vec![] }, 0));
    assert!(state.settle(&me("A", false, None), &starts(false)).settled, "and none later");
    assert_eq!(state.runs, 0);
}

#[test]
fn declared_tags_are_filled_in_once_however_many_processes_declare_them() {
    let (mut state, a) = (State::default(), me("A", false, None));
    for _ in 0..3 {
        assert!(!state.settle(&a, &starts(false)).settled);
    }
    assert_eq!(runs(&state), [1]);
    finish_all(&mut state);
    for seen in [starts(false), later(false), starts(false)] {
        assert!(state.settle(&a, &seen).settled);
    }
    assert_eq!((state.runs, runs(&state)), (1, vec![]));
}

#[test]
fn what_others_store_meanwhile_is_caught_up_when_the_last_of_them_is_gone() {
    let (mut state, a, b) = (State::default(), me("A", false, None), me("B", false, None));
    state.settle(&a, &Seen { empty: true, ..starts(false) });
    // B begins beside A.
    state.settle(&b, &starts(true));
    finish_all(&mut state);
    for seen in [later(true), starts(true), later(true)] {
        assert!(!state.settle(&b, &seen).settled, "A still stores");
        assert_eq!(state.runs, 1, "but nothing loops");
    }
    state.settle(&b, &later(false));
    assert_eq!(runs(&state), [2]);
    finish_all(&mut state);
    assert!(state.settle(&b, &later(false)).settled);
    // A comes back, and goes before B has looked.
    state.settle(&a, &starts(true));
    state.settle(&b, &later(false));
    assert_eq!(state.tags["B"].by, By::Run(3));
}

#[test]
fn processes_that_go_on_with_different_tags_do_not_undo_each_other() {
    let (mut state, a, b) = (State::default(), me("A", false, None), me("B", false, None));
    for round in 0..5 {
        state.settle(&a, &starts(round > 0));
        state.settle(&b, &starts(true));
        finish_all(&mut state);
        state.settle(&a, &later(true));
        state.settle(&b, &later(true));
    }
    assert_eq!((state.runs, runs(&state)), (2, vec![]), "one for each");
}

#[test]
fn a_run_that_was_cancelled_is_left_alone_until_a_process_starts() {
    let (mut state, a) = (State::default(), me("A", false, None));
    state.settle(&a, &starts(false));
    let run = state.open[0].clone();
    let failed = Seen { failed: BTreeSet::from([1]), ..later(false) };
    assert!(!state.settle(&a, &failed).settled);
    assert!(!state.settle(&a, &later(false)).settled);
    assert_eq!((state.runs, runs(&state)), (1, vec![]));
    let mut resubmitted = state.clone();
    resubmitted.finish(&run);
    assert!(resubmitted.settle(&a, &later(false)).settled);
    state.settle(&a, &starts(false));
    assert_eq!(runs(&state), [2]);
}

#[test]
fn files_follow_the_configuration() {
    let (mut state, housekeeper) = (State::default(), housekeeper());
    let (plain, packed) = (me("A", false, Some(&housekeeper)), me("A", true, Some(&housekeeper)));
    state.settle(&plain, &Seen { empty: true, ..starts(false) });
    assert_eq!((state.last.as_ref().map(|l| l.storage_compression), state.runs), (Some(false), 0));
    state.settle(&packed, &starts(false));
    let task = state.open[0].task.clone();
    assert_eq!((task.compressed, task.dicom_as_json, task.levels.len(), task.throttle_ms), (Some(true), false, 0, 5000));
    assert!(state.settle(&packed, &starts(false)).superseded.is_empty(), "the next process with it sees that it is done");
    assert_eq!(runs(&state), [1]);
    // The administrator has second thoughts when some files are compressed.
    assert_eq!(state.settle(&plain, &starts(false)).superseded, [1]);
    assert_eq!((runs(&state), state.open[0].task.compressed), (vec![2], Some(false)));
    // That run is cancelled: the next process takes it up again.
    state.settle(&plain, &Seen { failed: BTreeSet::from([2]), ..later(false) });
    assert_eq!(runs(&state), [0_u64; 0]);
    state.settle(&plain, &starts(false));
    assert_eq!(runs(&state), [3]);
    finish_all(&mut state);
    state.settle(&plain, &starts(false));
    assert_eq!((state.runs, state.last.as_ref().map(|l| l.storage_compression)), (3, Some(false)));
    state.settle(&packed, &starts(false));
    finish_all(&mut state);
    assert_eq!((state.runs, state.last.as_ref().map(|l| l.storage_compression)), (4, Some(true)));
}

#[test]
fn files_wait_for_processes_that_are_configured_otherwise() {
    let (mut state, housekeeper) = (State::default(), housekeeper());
    state.last = Some(me("A", false, None).configuration);
    state.tags.insert("A".into(), state::Filled { by: By::Done, stale: false });
    let packed = me("A", true, Some(&housekeeper));
    let beside = Seen { other_compression: true, ..starts(false) };
    for seen in [beside, Seen { undecided: true, other_compression: true, ..later(false) }] {
        let decided = state.settle(&packed, &seen);
        assert!(decided.postponed && !decided.settled && state.runs == 0);
    }
    assert!(!state.settle(&packed, &Seen { undecided: true, ..later(false) }).postponed);
    assert_eq!(state.open[0].task.compressed, Some(true));
}

#[test]
fn triggers_and_the_level_say_what_is_done() {
    let mut housekeeper = housekeeper();
    housekeeper.level = Some(Level::Study);
    let mut state = State { last: Some(me("A", false, None).configuration), ..State::default() };
    state.settle(&me("B", false, Some(&housekeeper)), &starts(false));
    assert_eq!(state.open[0].task.levels, [Level::Study as usize]);
    finish_all(&mut state);
    assert_eq!(state.last.as_ref().unwrap().signatures[3], "B");
    housekeeper.triggers = Triggers { storage_compression: false, main_tags: false, dicom_as_json: false };
    let mut quiet = State::default();
    quiet.settle(&me("C", true, Some(&housekeeper)), &starts(false));
    assert_eq!(quiet.runs, 0);
    // Attachments of old versions: once.
    housekeeper.triggers.dicom_as_json = true;
    let mut first = State::default();
    first.settle(&me("C", false, Some(&housekeeper)), &starts(false));
    assert!(first.open[0].task.dicom_as_json && first.open[0].task.levels.is_empty());
    finish_all(&mut first);
    first.settle(&me("C", false, Some(&housekeeper)), &starts(false));
    assert_eq!(first.runs, 1);
}

#[test]
fn force_is_for_each_start_but_not_for_each_process() {
    let mut housekeeper = housekeeper();
    (housekeeper.force, housekeeper.force_files) = (true, true);
    let a = me("A", true, Some(&housekeeper));
    let mut state = State::default();
    state.settle(&a, &starts(false));
    state.settle(&a, &starts(false));
    let task = &state.open[0].task;
    assert_eq!((runs(&state), task.anew, task.compressed, task.levels.len()), (vec![1], true, Some(true), 4));
    finish_all(&mut state);
    state.settle(&a, &later(false));
    assert_eq!(state.runs, 1);
    state.settle(&a, &starts(false));
    assert_eq!(runs(&state), [2]);
}

#[test]
fn the_note_is_read_again() {
    let mut state = State::default();
    state.settle(&me("A", true, Some(&housekeeper())), &starts(true));
    let text = serde_json::to_value(&state).unwrap();
    assert_eq!(serde_json::from_value::<State>(text).unwrap(), state);
    assert_eq!(serde_json::from_value::<State>(json!({})).unwrap(), State::default(), "members may be added");
}
