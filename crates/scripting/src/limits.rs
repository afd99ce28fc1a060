//! What a script may use: time, memory, output.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How much a run of a script may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Memory of one state, with what its globals hold.
    pub memory_bytes: usize,
    /// Text that one run may print.
    pub output_bytes: usize,
    /// Time in the interpreter. While a function of the server runs, this clock stands still.
    pub time: Duration,
    /// Time with all calls of the server.
    pub total_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            output_bytes: 16 << 20,
            time: Duration::from_secs(10),
            total_time: Duration::from_secs(300),
        }
    }
}

/// The clock of one state.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<Ends>);

#[derive(Clone, Copy, Debug)]
struct Ends {
    /// Of the time in the interpreter.
    own: Instant,
    /// Of everything.
    total: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(Ends { own: now, total: now }))
    }

    /// A run begins.
    pub(crate) fn start(&self, limits: &Limits) {
        let now = Instant::now();
        self.set(Ends { own: now + limits.time, total: now + limits.total_time });
    }

    fn get(&self) -> Ends {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, ends: Ends) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ends;
    }

    pub(crate) fn expired(&self) -> bool {
        let (now, ends) = (Instant::now(), self.get());
        now > ends.own || now > ends.total
    }

    /// What is left for a call of the server.
    pub(crate) fn left(&self) -> Duration {
        self.get().total.saturating_duration_since(Instant::now())
    }

    /// A call of the server took so long.
    pub(crate) fn pause(&self, time: Duration) {
        let ends = self.get();
        self.set(Ends { own: ends.own + time, ..ends });
    }
}
