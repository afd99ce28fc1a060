//! Room `web`: what every HTTP door shares: the listener, authentication, Orthanc's error bodies, query parameters, ranges, XML
//! for those who want it, bounded bodies, request logs and latency metrics.
//!
//! It knows no route of an API. Start at [`serve::serve`], then [`error::HttpError`].

pub mod auth;
pub mod body;
pub mod caller;
pub mod error;
pub mod inside;
pub mod json;
pub mod metrics;
pub mod multipart;
pub mod params;
pub mod range;
mod request_line;
mod rewrite;
pub mod serve;
pub mod xml;

pub use auth::Users;
pub use caller::Caller;
pub use error::HttpError;
pub use inside::InsideDoor;
pub use json::{Json, JsonBody};
pub use params::Params;
pub use serve::{HttpConfig, Server, serve};
