//! Rules that are checked in every state that can be reached.

mod registry;
