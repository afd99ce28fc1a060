//! Request latencies, as histograms for Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the buckets in milliseconds.
const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30_000];

/// Counts requests by latency.
#[derive(Debug, Default)]
pub struct Latencies {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    total_us: AtomicU64,
    /// Answers with a status of 500 and above.
    pub failures: AtomicU64,
}

impl Latencies {
    /// Adds one request.
    pub fn record(&self, took: Duration) {
        let ms = took.as_millis() as u64;
        let slot = BOUNDS_MS.iter().position(|b| ms <= *b).unwrap_or(BOUNDS_MS.len());
        self.buckets[slot].fetch_add(1, Relaxed);
        self.total_us.fetch_add(took.as_micros() as u64, Relaxed);
    }

    /// The Prometheus text of a histogram `name`, in seconds.
    pub fn render(&self, name: &str) -> String {
        let mut out = format!("# TYPE {name} histogram\n");
        let mut sum = 0;
        for (i, bucket) in self.buckets.iter().enumerate() {
            sum += bucket.load(Relaxed);
            let bound = BOUNDS_MS.get(i).map_or_else(|| "+Inf".to_owned(), |b| format!("{}", *b as f64 / 1000.0));
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let _ = writeln!(out, "{name}_sum {}\n{name}_count {sum}", self.total_us.load(Relaxed) as f64 / 1e6);
        out
    }
}
