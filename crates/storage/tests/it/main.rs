//! One suite for every storage area, and what only a folder can get wrong.

mod local;
mod suite;
