//! Request latencies, as histograms for Prometheus, and how many requests are being answered.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Upper bounds of the buckets in milliseconds.
const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30_000];

/// Counts requests by latency.
#[derive(Debug, Default)]
pub struct Latencies {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    total_us: AtomicU64,
    /// Answers with a status of 500 and above.
    pub failures: AtomicU64,
    pub active: Active,
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

/// How long a peak is shown (Orthanc).
const PEAK_AGE: Duration = Duration::from_secs(10);

/// The requests that are being answered, to the last byte of their bodies.
#[derive(Debug, Default)]
pub struct Active(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    now: u64,
    peak: Option<Peak>,
}

/// The most requests at once since a time.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    pub requests: u64,
    pub at: SystemTime,
    seen: Instant,
}

impl Active {
    /// The most requests of the last ten seconds at least; a lower number replaces it when one begins or ends after that.
    pub fn peak(&self) -> Option<Peak> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).peak
    }

    fn change(&self, change: impl FnOnce(u64) -> u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.now = change(counts.now);
        let stays = |peak: &Peak| peak.requests >= counts.now && peak.seen.elapsed() <= PEAK_AGE;
        if !counts.peak.as_ref().is_some_and(stays) {
            counts.peak = Some(Peak { requests: counts.now, at: SystemTime::now(), seen: Instant::now() });
        }
    }
}

/// One request, until this is dropped: with the last byte of its answer.
pub(crate) struct Begun(Arc<Latencies>);

impl Begun {
    pub(crate) fn new(latencies: Arc<Latencies>) -> Self {
        latencies.active.change(|n| n + 1);
        Self(latencies)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.active.change(|n| n.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::hold;
    use axum::body::Body;
    use hyper::body::Body as HttpBody;

    fn peak(latencies: &Latencies) -> u64 {
        latencies.active.peak().unwrap().requests
    }

    #[test]
    fn a_peak_is_shown_for_ten_seconds() {
        let latencies = Arc::new(Latencies::default());
        assert!(latencies.active.peak().is_none());
        let begin = || Begun::new(latencies.clone());
        drop([begin(), begin(), begin()]);
        let one = begin();
        assert_eq!(peak(&latencies), 3);
        let long_ago = Instant::now() - PEAK_AGE - Duration::from_millis(1);
        latencies.active.0.lock().unwrap().peak.as_mut().unwrap().seen = long_ago;
        let two = begin();
        assert_eq!(peak(&latencies), 2, "the three are forgotten");
        drop((one, two));
        assert_eq!((peak(&latencies), latencies.active.0.lock().unwrap().now), (2, 0));
    }

    #[test]
    fn a_request_lasts_as_long_as_the_body_of_its_answer() {
        let latencies = Arc::new(Latencies::default());
        let body = hold(Body::from("twelve bytes"), Begun::new(latencies.clone()));
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(12), false));
        assert_eq!(latencies.active.0.lock().unwrap().now, 1);
        drop(body);
        assert_eq!(latencies.active.0.lock().unwrap().now, 0);
    }
}
