//! The public surface of `dimse`: our requestor against our acceptor, and against peers that misbehave.

mod hostile;
mod loopback;
mod properties;
mod support;
