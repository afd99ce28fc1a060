//! Measures an index that `load` made (or an empty one): CPU per stored instance in batches, and the time of each search.
//!
//! `cargo run --release -p index --example bench -- FILE|postgresql://... [CALLERS ...]`: with numbers, only stores from so many tasks at once.

#[path = "shared/synth.rs"]
mod synth;
#[path = "shared/target.rs"]
mod target;

use model::ports::Index;
use model::query::{OrderAs, OrderBy, OrderKey, Rule, TagConstraint};
use model::{Fields, FindRequest, Level, tags};
use std::time::{Duration, Instant};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(target) = arguments.get(1) else {
        eprintln!("usage: bench FILE|postgresql://... [CALLERS ...]");
        std::process::exit(2);
    };
    let callers: Vec<u64> = arguments[2..].iter().filter_map(|n| n.parse().ok()).collect();
    let db = target::open(target).await;
    let studies = db.totals().await.expect("totals").studies;
    println!("{studies} studies");
    if studies > 0 && callers.is_empty() {
        searches(&*db, studies).await;
    }
    let callers = if callers.is_empty() { vec![1, 8, 64, 64] } else { callers };
    for callers in callers {
        stores(&db, callers, Duration::from_secs(3)).await;
    }
    db.close().await;
}

/// User and system time of this process so far, in microseconds.
fn cpu() -> [f64; 2] {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // Ticks of 10 ms.
    [11, 12].map(|at| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0) * 10_000.0)
}

async fn stores(db: &std::sync::Arc<dyn Index>, callers: u64, time: Duration) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(2_000_000_000);
    let first = NEXT.fetch_add(100_000_000, Ordering::Relaxed);
    let (begin, cpu_begin) = (Instant::now(), cpu());
    let mut tasks = vec![];
    for caller in 0..callers {
        let db = db.clone();
        tasks.push(tokio::spawn(async move {
            let mut done = 0_u64;
            let mut blobs = vec![];
            while begin.elapsed() < time {
                if blobs.is_empty() {
                    blobs = db.reserve_blobs(256).await.expect("names").0;
                }
                // Each caller stores studies of its own.
                let n = first + caller * 1_000_000 + done;
                if let Some(blob) = blobs.pop() {
                    db.store_instance(synth::instance(n, blob)).await.expect("stored");
                    done += 1;
                }
            }
            done
        }));
    }
    let mut total = 0;
    for task in tasks {
        total += task.await.expect("a caller");
    }
    let (wall, end) = (begin.elapsed().as_secs_f64(), cpu());
    let [user, system] = [0, 1].map(|at| (end[at] - cpu_begin[at]) / total as f64);
    println!(
        "store, {callers:2} callers: {:6.0} per second, CPU each: {user:5.1} us user, {system:5.1} us system ({:.1} us to make the request)",
        total as f64 / wall,
        making()
    );
}

/// Microseconds that the benchmark itself takes for one request.
fn making() -> f64 {
    let begin = Instant::now();
    for n in 0..2000 {
        std::hint::black_box(synth::instance(n, model::AttachmentId::random()));
    }
    begin.elapsed().as_secs_f64() * 1e6 / 2000.0
}

fn request(level: Level, tag: dataset::Tag, rule: Rule) -> FindRequest {
    let tags = vec![TagConstraint { tag, rule, case_sensitive: false }];
    FindRequest { tags, fields: Fields { parent_tags: true, ..Fields::NONE }, ..FindRequest::all(level) }
}

async fn searches(db: &dyn Index, studies: u64) {
    let families = synth::FAMILY;
    let family = |n: u64| families[n as usize % families.len()];
    let page = |limit, request: FindRequest| FindRequest { limit, ..request };
    let order = |key| vec![OrderBy { key, cast: OrderAs::Text, descending: true }];
    let random = |n: u64| synth::mix(n) % studies;
    measure(db, "PatientID", |n| request(Level::Study, tags::PATIENT_ID, Rule::Single(synth::patient_id(random(n))))).await;
    measure(db, "name prefix, limit 100", |n| {
        page(100, request(Level::Study, tags::PATIENT_NAME, Rule::Wildcard(format!("{}*", family(n)))))
    })
    .await;
    measure(db, "name substring, limit 100", |n| {
        page(100, request(Level::Study, tags::PATIENT_NAME, Rule::Wildcard(format!("*{}*", &family(n)[1..]))))
    })
    .await;
    measure(db, "latest 50 by date", |_| FindRequest {
        order: order(OrderKey::Tag(tags::STUDY_DATE)),
        fields: Fields { parent_tags: true, ..Fields::NONE },
        ..page(50, FindRequest::all(Level::Study))
    })
    .await;
    measure(db, "latest 50 by date, all fields", |_| FindRequest {
        order: order(OrderKey::Tag(tags::STUDY_DATE)),
        fields: Fields::ALL,
        ..page(50, FindRequest::all(Level::Study))
    })
    .await;
    measure(db, "one day and CT, limit 100", |n| {
        let day = synth::date(random(n));
        let mut found =
            page(100, request(Level::Study, tags::STUDY_DATE, Rule::Range { from: Some(day.clone()), to: Some(day) }));
        found.tags.extend(request(Level::Study, tags::MODALITIES_IN_STUDY, Rule::Single("CT".into())).tags);
        found
    })
    .await;
    measure(db, "first 50 studies, all fields", |_| FindRequest {
        fields: Fields::ALL,
        ..page(50, FindRequest::all(Level::Study))
    })
    .await;
    measure(db, "instances of a patient", |n| {
        request(Level::Instance, tags::PATIENT_ID, Rule::Single(synth::patient_id(random(n))))
    })
    .await;
}

async fn measure(db: &dyn Index, what: &str, make: impl Fn(u64) -> FindRequest) {
    let mut times = vec![];
    let mut found = 0;
    for n in 0..300 {
        let request = make(n);
        let begin = Instant::now();
        found += db.find(&request).await.expect("an answer").len();
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let ms = |at: usize| times[at].as_secs_f64() * 1000.0;
    println!("{what:32} p50 {:.3} ms, p99 {:.3} ms, {} each", ms(150), ms(297), found / 300);
}
