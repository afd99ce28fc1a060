//! The ports: what the engine asks of a database, a storage area, a script and other HTTP servers. Each has two or more real
//! implementations.

pub mod events;
pub mod hooks;
pub mod http;
pub mod index;
pub mod jobs;
pub mod storage;

pub use events::Events;
pub use hooks::Hooks;
pub use http::HttpClient;
pub use index::Index;
pub use jobs::Jobs;
pub use storage::{BlobWriter, StorageArea};
