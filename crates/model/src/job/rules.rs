//! What may happen to a job: one pure function of the columns that decide.
//!
//! SQLite asks it for each row that it changes. PostgreSQL decides in its own functions, where one statement moves many rows; the
//! conformance suite compares both with [`Standing::after`] in every state. The model checker (`tests/it/registry.rs`) plays with
//! the same function. Which rows are looked at, and in which order, is the business of the databases.

use super::{Claim, JobAction, JobState, NodeId, Want};

/// A job that crashed so often runs alone the next time, and ends with the next crash.
pub const SUSPECT: u16 = 2;

/// The columns of a job's row that decide what may happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    pub state: JobState,
    /// Who runs it.
    pub owner: Option<NodeId>,
    /// Claims so far.
    pub epoch: i64,
    /// What a client asks of the owner.
    pub want: Option<Want>,
    /// The only process that may run it.
    pub pinned: Option<NodeId>,
    /// Runs that ended with their process, since the last step that was kept.
    pub crashes: u16,
}

/// What happens to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A process whose lease lives takes it, to run it beside others.
    Claim(NodeId),
    /// A process that runs nothing else takes it, and will run nothing else meanwhile.
    ClaimAlone(NodeId),
    /// Its runner keeps what it has done; `new_step` if no earlier run had done all of that.
    Keep { claim: Claim, new_step: bool },
    /// Its runner ends.
    End(Claim, Ending),
    /// A client asks.
    Ask(JobAction),
    /// The lease of the process that runs it, or that it is pinned to, is over.
    ProcessDied(NodeId),
    /// The process that owns it does not know that it does: the answer to its claim was lost.
    NotKnownTo(NodeId),
}

/// How a runner ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    Success,
    Failure,
    Paused,
    Released,
}

/// What becomes of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Not in this state, or not by this process: nothing changes, and who asked is told so.
    Refused,
    /// Nothing changes, and that is fine.
    Unchanged,
    Becomes(Standing),
    /// It becomes a `Failure` that its runner did not speak of.
    Fails(Standing, Cause),
}

/// Why a job fails without its runner saying so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    Canceled,
    /// It is pinned to a process that is gone.
    Unpinned,
    /// It crashed once more although it was a suspect.
    Poison,
}

impl Standing {
    /// A new job.
    pub fn submitted(pinned: Option<NodeId>) -> Self {
        Self { state: JobState::Pending, owner: None, epoch: 0, want: None, pinned, crashes: 0 }
    }

    /// Whether this is the present claim: only its holder may write about the job.
    pub fn is_held_by(&self, claim: Claim) -> bool {
        self.state == JobState::Running && self.owner == Some(claim.node) && self.epoch == claim.epoch
    }

    /// What an event makes of the job. Time, order, steps and outputs are not looked at.
    pub fn after(self, event: Event) -> Verdict {
        match event {
            Event::Claim(node) => self.claimed(node, self.crashes < SUSPECT),
            Event::ClaimAlone(node) => self.claimed(node, self.crashes >= SUSPECT),
            Event::Keep { claim, .. } | Event::End(claim, _) if !self.is_held_by(claim) => Verdict::Refused,
            Event::Keep { new_step: true, .. } => Verdict::Becomes(Self { crashes: 0, ..self }),
            Event::Keep { new_step: false, .. } => Verdict::Unchanged,
            Event::End(_, ending) => self.ended(ending),
            Event::Ask(action) => self.asked(action),
            Event::ProcessDied(node) => self.orphaned(node),
            Event::NotKnownTo(node) if self.state == JobState::Running && self.owner == Some(node) => {
                self.ended(Ending::Released)
            }
            Event::NotKnownTo(_) => Verdict::Unchanged,
        }
    }

    fn claimed(self, node: NodeId, fits: bool) -> Verdict {
        let may = self.state == JobState::Pending && fits && self.pinned.is_none_or(|pin| pin == node);
        if !may {
            return Verdict::Refused;
        }
        Verdict::Becomes(Self { state: JobState::Running, owner: Some(node), epoch: self.epoch + 1, want: None, ..self })
    }

    /// A job that nobody runs.
    fn resting(self, state: JobState) -> Self {
        Self { state, owner: None, want: None, ..self }
    }

    fn fails(self, cause: Cause) -> Verdict {
        Verdict::Fails(self.resting(JobState::Failure), cause)
    }

    /// A cancel wins over a pause and over the end of a process; what was done before it was seen, is done.
    fn ended(self, ending: Ending) -> Verdict {
        match (ending, self.want) {
            (Ending::Success, _) => Verdict::Becomes(self.resting(JobState::Success)),
            (Ending::Failure, _) => Verdict::Becomes(self.resting(JobState::Failure)),
            (_, Some(Want::Cancel)) => self.fails(Cause::Canceled),
            (Ending::Paused, _) | (Ending::Released, Some(Want::Pause)) => Verdict::Becomes(self.resting(JobState::Paused)),
            (Ending::Released, None) => Verdict::Becomes(self.resting(JobState::Pending)),
        }
    }

    fn asked(self, action: JobAction) -> Verdict {
        use JobState::{Failure, Paused, Pending, Retry, Running, Success};
        match (action, self.state) {
            (JobAction::Cancel, Pending | Paused | Retry) => self.fails(Cause::Canceled),
            (JobAction::Cancel, Running) => Verdict::Becomes(Self { want: Some(Want::Cancel), ..self }),
            (JobAction::Pause, Running) => Verdict::Becomes(Self { want: self.want.or(Some(Want::Pause)), ..self }),
            (JobAction::Pause, Pending | Retry) => Verdict::Becomes(self.resting(Paused)),
            (JobAction::Cancel, Success | Failure) | (JobAction::Pause, Success | Failure | Paused) => Verdict::Unchanged,
            (JobAction::Resume, Paused) => Verdict::Becomes(self.resting(Pending)),
            (JobAction::Resubmit, Failure) if self.pinned.is_none() => {
                Verdict::Becomes(Self { crashes: 0, ..self.resting(Pending) })
            }
            (JobAction::Resume | JobAction::Resubmit, _) => Verdict::Refused,
        }
    }

    /// What a client wanted is done; nobody else can run what is pinned.
    fn orphaned(self, node: NodeId) -> Verdict {
        if self.state.is_final() {
            return Verdict::Unchanged;
        }
        if self.state != JobState::Running {
            return if self.pinned == Some(node) { self.fails(Cause::Unpinned) } else { Verdict::Unchanged };
        }
        if self.owner != Some(node) {
            return Verdict::Unchanged;
        }
        let crashed = Self { crashes: self.crashes.saturating_add(1), ..self };
        match self.want {
            Some(Want::Cancel) => crashed.fails(Cause::Canceled),
            _ if self.pinned.is_some() => crashed.fails(Cause::Unpinned),
            Some(Want::Pause) => Verdict::Becomes(crashed.resting(JobState::Paused)),
            None if self.crashes >= SUSPECT => crashed.fails(Cause::Poison),
            None => Verdict::Becomes(crashed.resting(JobState::Pending)),
        }
    }
}
