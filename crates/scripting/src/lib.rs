//! Room `scripting`.
