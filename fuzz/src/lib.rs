//! What the fuzz targets do with their input. It lives here, not in the targets, so that `examples/replay.rs` and the tests
//! can do the same with the seeds, without libFuzzer.

pub mod json;
mod limit;
pub mod reader;

pub use limit::Limit;

use dataset::ReadOptions;

/// The product's limits, with those on memory as small as the allocator of the targets asks for.
fn options() -> ReadOptions {
    ReadOptions { max_header_bytes: 1 << 20, max_inflated_bytes: 1 << 20, ..ReadOptions::default() }
}
