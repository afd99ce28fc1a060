//! Room `testkit`: what the tests of several rooms share. Never a normal dependency.
//!
//! Empty until two rooms need the same helper: end-to-end tests have theirs in `tests/e2e`, conformance suites in the
//! `tests/it` of their room.
