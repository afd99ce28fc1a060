//! libFuzzer's `-malloc_limit_mb` needs a sanitizer; this does without one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most bytes that may be held at one time.
const LIMIT_BYTES: usize = 64 << 20;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// An allocator that refuses to hold more than 64 MiB, all allocations together. A refusal aborts the process, which
/// libFuzzer reports as a crash with its input.
pub struct Limit;

// SAFETY: memory comes from and goes back to `System`; nothing but counting is added.
unsafe impl GlobalAlloc for Limit {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size() > LIMIT_BYTES {
            HELD.fetch_sub(layout.size(), Ordering::Relaxed);
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract is passed on; `memory` came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}
