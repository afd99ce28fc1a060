//! Room `scp`.
