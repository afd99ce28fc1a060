//! Room `dimse`.
