//! The outbox of events: written in the transaction of what happened, if somebody listens; delivered at least once.

use crate::Result;
use crate::event::{Event, EventKinds};
use crate::job::NodeId;
use async_trait::async_trait;
use std::time::Duration;

/// Events on their way to who listens.
#[async_trait]
pub trait Events: Send + Sync {
    /// Says which events are listened to from now on, in all processes. Nothing changes if these are none while other processes live.
    /// Events of other kinds that wait are dropped.
    async fn listen(&self, node: NodeId, kinds: EventKinds) -> Result<()>;

    /// Takes up to `n` events, the oldest first, for a while: no other process gets them in this time, unless this one dies. No event is given
    /// away while another process holds an earlier one of the same subject. A process has settled what it took before it takes again; what
    /// it took and does not know of, because the answer was lost, it gets again.
    async fn take_events(&self, node: NodeId, n: usize, time: Duration) -> Result<Vec<Event>>;

    /// Forgets those that were delivered and gives others back. What another process took over meanwhile stays, and is delivered
    /// twice.
    async fn settle_events(&self, node: NodeId, delivered: &[i64], back: &[i64]) -> Result<()>;

    /// Whether so much time has passed since this was last true, in any process.
    async fn heart_beat(&self, period: Duration) -> Result<bool>;
}
