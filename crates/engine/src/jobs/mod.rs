//! Jobs: work that outlives its request, shared by all processes (`model::ports::jobs` says how).
//!
//! [`kinds`] lists what can be run, one file each. A door calls [`submit`] or [`run`]; [`node`] is this process as a member
//! of the cluster: it beats once a second, claims what waits (`turns.rs`) and runs it (`worker.rs`), and gives up what it may not run any more.

mod handle;
pub mod kinds;
pub mod node;
mod registry;
#[cfg(test)]
mod sim;
mod submit;
mod turns;
mod waiting;
mod worker;

pub use handle::JobHandle;
pub(crate) use handle::is_transient;
pub use kinds::JobKind;
pub use node::{Jobs, JobsConfig, LocalNode, start};
pub use registry::{
    act, blocked, counts, delete, delete_output, ids, list, nodes, one, output, page, set_priority, steps, waiting,
};
pub use submit::{JobOptions, run, submit, wait};
