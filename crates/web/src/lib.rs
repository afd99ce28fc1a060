//! Room `web`: what every HTTP door shares: the listener, authentication, Orthanc's error bodies, query parameters, ranges, XML
//! for those who want it, bounded bodies, request logs and latency metrics.
//!
//! It knows no route of an API. Start at [`serve::serve`], then [`error::HttpError`].

pub mod auth;
pub mod body;
pub mod caller;
mod connections;
pub mod error;
mod held;
pub mod inside;
pub mod json;
pub mod metrics;
pub mod multipart;
pub mod params;
mod passwords;
mod proxies;
pub mod range;
mod request_line;
mod rewrite;
pub mod serve;
mod slow;
mod tls;
pub mod xml;

pub use caller::Caller;
pub use error::HttpError;
pub use inside::InsideDoor;
pub use json::{Json, JsonBody};
pub use params::Params;
pub use passwords::Users;
pub use proxies::TrustedProxies;
pub use serve::{HttpConfig, Server, serve};
pub use tls::TlsConfig;
