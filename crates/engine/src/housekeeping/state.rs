//! What is known of housekeeping in all processes, and what a process decides by it. Pure: [`super`] reads and writes.

use super::{Configuration, Housekeeper, Task};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The note that all processes share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// Runs so far: they are numbered from 1.
    pub(super) runs: u64,
    /// How far rows keep what some process declared, by [`Me::key`].
    pub(super) tags: BTreeMap<String, Filled>,
    /// Runs that have begun and not ended, in the order of their numbers: so they take turns.
    pub(super) open: Vec<Run>,
    /// What `Housekeeper` has brought everything to; `None` before its first run.
    pub(super) last: Option<Configuration>,
    /// Whether a run began to rewrite files, and none has been through all of them since.
    pub(super) mixed: bool,
    /// When the last run began, in Orthanc's form.
    pub(super) started: Option<String>,
}

/// Whether rows keep the main tags that somebody declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Filled {
    pub(super) by: By,
    /// Processes that declare other tags may have written rows since the run began, or ran when it did.
    pub(super) stale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum By {
    /// They do.
    Done,
    /// This run sees to it.
    Run(u64),
    /// A client cancelled the run, or it failed: the next process that starts tries again.
    GivenUp,
}

/// One job's work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) number: u64,
    /// [`Me::key`] of the process that began it, if it fills in its tags.
    pub(crate) key: Option<String>,
    pub(crate) task: Task,
    pub(crate) configuration: Configuration,
    /// Whether the process had `Housekeeper` enabled.
    pub(crate) housekeeper: bool,
}

/// The process that decides.
pub(super) struct Me<'c> {
    /// Names its main tags and the level that is to be filled in.
    pub(super) key: String,
    /// What begins all keys of its main tags.
    pub(super) digest: String,
    pub(super) configuration: Configuration,
    pub(super) housekeeper: Option<&'c Housekeeper>,
}

/// What it sees.
#[derive(Default)]
pub(super) struct Seen {
    /// It has just started.
    pub(super) starting: bool,
    /// Whether to look at `Housekeeper`: at the start, or as long as that had to wait.
    pub(super) undecided: bool,
    /// A living process declares other main tags.
    pub(super) other_tags: bool,
    /// A living process has another `StorageCompression`.
    pub(super) other_compression: bool,
    /// Nothing is stored.
    pub(super) empty: bool,
    /// Open runs whose jobs ended without an end of the run.
    pub(super) failed: BTreeSet<u64>,
    /// Now, in Orthanc's form.
    pub(super) now: String,
}

/// What it has decided.
#[derive(Debug, PartialEq)]
pub(super) struct Decided {
    /// Rows keep its tags, and none comes that does not.
    pub(super) settled: bool,
    /// `Housekeeper` waits for processes that are configured otherwise.
    pub(super) postponed: bool,
    /// Open runs that are of no use any more.
    pub(super) superseded: Vec<u64>,
}

impl State {
    /// Decides, and begins a run if one is needed.
    pub(super) fn settle(&mut self, me: &Me, seen: &Seen) -> Decided {
        if seen.starting {
            let others = self.tags.iter_mut().filter(|(key, _)| !key.starts_with(&me.digest));
            others.for_each(|(_, filled)| filled.stale = true);
        }
        for number in &seen.failed {
            self.close(*number, By::GivenUp);
        }
        let (wanted, postponed, superseded) = self.wanted(me, seen);
        let again = seen.starting || !superseded.is_empty();
        let fill = me.housekeeper.is_none_or(|h| h.triggers.main_tags) && self.must_fill(me, seen, again);
        if fill || wanted.is_some() {
            self.begin(me, seen, fill, wanted.unwrap_or_default());
        } else if let (Some(_), true, false) = (me.housekeeper, self.open.is_empty(), postponed) {
            self.note_tags(me, seen);
        }
        let settled = self.tags.get(&me.key).is_some_and(|filled| filled.by == By::Done && !filled.stale);
        Decided { settled: settled && !postponed, postponed, superseded }
    }

    /// Whether a run must see to the rows that lack this process' tags. `again`: also if one was given up.
    fn must_fill(&mut self, me: &Me, seen: &Seen, again: bool) -> bool {
        let Some(filled) = self.tags.get_mut(&me.key) else {
            if seen.empty {
                self.tags.insert(me.key.clone(), Filled { by: By::Done, stale: seen.other_tags });
            }
            return !seen.empty;
        };
        filled.stale |= seen.other_tags;
        match filled.by {
            By::Done => filled.stale && !seen.other_tags,
            By::Run(_) => false,
            By::GivenUp => again,
        }
    }

    /// What `Housekeeper` has to do now, whether it must wait, and the runs that stand in its way.
    fn wanted(&mut self, me: &Me, seen: &Seen) -> (Option<Wanted>, bool, Vec<u64>) {
        let nothing = (None, false, vec![]);
        let Some(housekeeper) = me.housekeeper.filter(|_| seen.undecided) else { return nothing };
        let compression = me.configuration.storage_compression;
        let before = self.last.as_ref();
        let mut wanted = Wanted {
            files: housekeeper.triggers.storage_compression
                && (self.mixed || before.is_some_and(|l| l.storage_compression) != compression),
            dicom_as_json: housekeeper.triggers.dicom_as_json && before.is_none(),
            anew: housekeeper.force,
        };
        wanted.files |= housekeeper.force && housekeeper.force_files;
        if seen.empty || wanted == Wanted::default() {
            return nothing;
        }
        if wanted.files && seen.other_compression {
            return (None, true, vec![]);
        }
        let same = |run: &&Run| run.housekeeper && run.configuration == me.configuration && wanted.is_part_of(&run.task);
        if self.open.iter().any(|run| same(&run)) {
            return nothing;
        }
        let against = |run: &&Run| wanted.files && run.task.compressed.is_some_and(|c| c != compression);
        let superseded: Vec<u64> = self.open.iter().filter(against).map(|run| run.number).collect();
        superseded.iter().for_each(|number| self.close(*number, By::GivenUp));
        (Some(wanted), false, superseded)
    }

    fn begin(&mut self, me: &Me, seen: &Seen, fill: bool, wanted: Wanted) {
        self.runs += 1;
        let number = self.runs;
        if fill {
            self.tags.insert(me.key.clone(), Filled { by: By::Run(number), stale: seen.other_tags });
        }
        let task = Task::new(me, fill, wanted);
        self.mixed |= task.compressed.is_some();
        let (configuration, housekeeper) = (me.configuration.clone(), me.housekeeper.is_some());
        self.open.push(Run { number, key: fill.then(|| me.key.clone()), task, configuration, housekeeper });
        self.started = Some(seen.now.clone());
    }

    /// Nothing has to be done: the configuration counts as processed, as far as nothing was left undone by choice.
    fn note_tags(&mut self, me: &Me, seen: &Seen) {
        match &mut self.last {
            Some(last) if !seen.empty => last.signatures.clone_from(&me.configuration.signatures),
            last => *last = Some(me.configuration.clone()),
        }
    }

    /// Ends a run.
    pub(super) fn finish(&mut self, run: &Run) {
        self.close(run.number, By::Done);
        if let Some(key) = &run.key {
            // Also one that was given up, and that a client resubmitted.
            let filled = self.tags.entry(key.clone()).or_insert(Filled { by: By::Done, stale: true });
            if filled.by == By::GivenUp {
                filled.by = By::Done;
            }
        }
        self.mixed &= run.task.compressed.is_none();
        if run.housekeeper {
            let compressed = run.task.compressed.unwrap_or_else(|| self.last.as_ref().is_some_and(|l| l.storage_compression));
            self.last = Some(Configuration { storage_compression: compressed, ..run.configuration.clone() });
        }
    }

    fn close(&mut self, number: u64, by: By) {
        self.open.retain(|run| run.number != number);
        self.tags.values_mut().filter(|filled| filled.by == By::Run(number)).for_each(|filled| filled.by = by);
    }
}

/// What the triggers of `Housekeeper` ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    /// Files are stored as `StorageCompression` says.
    pub(super) files: bool,
    /// Attachments that old Orthancs made go.
    pub(super) dicom_as_json: bool,
    /// `Force`: each row is written again.
    pub(super) anew: bool,
}

impl Wanted {
    fn is_part_of(self, task: &Task) -> bool {
        (!self.files || task.compressed.is_some()) && (!self.dicom_as_json || task.dicom_as_json) && (!self.anew || task.anew)
    }
}
