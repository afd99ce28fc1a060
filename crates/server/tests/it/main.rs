//! Checks of the whole workspace.

mod licences;
mod tidy;
