//! Measures an index that `load` made (or an empty one): CPU per stored instance in batches, and the time of each search.
//!
//! `cargo run --release -p index --example bench -- FILE|postgresql://... [CALLERS[/INDEXES] ...]`: with numbers, only stores from so many
//! tasks at once, each into studies of its own; or through so many indexes in turn into one study at a time, as processes behind a
//! gateway do.

#[path = "shared/synth.rs"]
mod synth;
#[path = "shared/target.rs"]
mod target;

use model::ports::Index;
use model::query::{OrderAs, OrderBy, OrderKey, Rule, TagConstraint};
use model::{Fields, FindRequest, Level, tags};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(target) = arguments.get(1) else {
        eprintln!("usage: bench FILE|postgresql://... [CALLERS[/INDEXES] ...]");
        std::process::exit(2);
    };
    let number = |text: &str| text.parse::<u64>().ok();
    let run = |text: &String| match text.split_once('/') {
        Some((callers, indexes)) => Some((number(callers)?, number(indexes)?)),
        None => Some((number(text)?, 0)),
    };
    let runs: Vec<(u64, u64)> = arguments[2..].iter().filter_map(run).collect();
    let db = target::open(target).await;
    let studies = db.totals().await.expect("totals").studies;
    println!("{studies} studies");
    if studies > 0 && runs.is_empty() {
        searches(&*db, studies).await;
    }
    let runs = if runs.is_empty() { vec![(1, 0), (8, 0), (64, 0), (64, 0)] } else { runs };
    let database = Database::of(target).await;
    for (callers, indexes) in runs {
        let mut dbs = vec![db.clone()];
        for _ in 1..indexes {
            dbs.push(target::open(target).await);
        }
        stores(&dbs, callers, indexes > 0, &database, Duration::from_secs(10)).await;
        for other in &dbs[1..] {
            other.close().await;
        }
    }
    db.close().await;
}

/// User and system time of a process so far, in microseconds, without and with that of its children that ended.
fn cpu(process: &str) -> [f64; 2] {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // Ticks of 10 ms.
    let time = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0) * 10_000.0;
    [time(11) + time(12), time(11) + time(12) + time(13) + time(14)]
}

/// The processes of a database on this machine.
struct Database(Option<String>);

impl Database {
    async fn of(target: &str) -> Self {
        if !target::is_postgres(target) {
            return Self(None);
        }
        let (client, connection) = tokio_postgres::connect(target, tokio_postgres::NoTls).await.expect("a connection");
        let connection = tokio::spawn(connection);
        let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("an answer").get(0);
        connection.abort();
        Self(parent(&backend.to_string()))
    }

    /// Of all its processes so far, in microseconds.
    fn cpu(&self) -> f64 {
        let Some(first) = &self.0 else { return 0.0 };
        let children =
            std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        let living: f64 = children.filter(|pid| parent(pid).as_ref() == Some(first)).map(|pid| cpu(&pid)[0]).sum();
        living + cpu(first)[1]
    }
}

fn parent(process: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(1).map(str::to_owned)
}

async fn stores(dbs: &[Arc<dyn Index>], callers: u64, one_study: bool, database: &Database, time: Duration) {
    static NEXT: AtomicU64 = AtomicU64::new(2_000_000_000);
    let first = NEXT.fetch_add(100_000_000, Ordering::Relaxed);
    let last = Arc::new(AtomicU64::new(first));
    let (begin, cpu_begin, database_begin) = (Instant::now(), cpu("self")[0], database.cpu());
    let mut tasks = vec![];
    for caller in 0..callers {
        let (dbs, last) = (dbs.to_vec(), last.clone());
        tasks.push(tokio::spawn(async move {
            let mut done = 0_u64;
            let mut blobs = vec![vec![]; dbs.len()];
            while begin.elapsed() < time {
                let next = if one_study { last.fetch_add(1, Ordering::Relaxed) } else { first + caller * 1_000_000 + done };
                let at = (next % dbs.len() as u64) as usize;
                if blobs[at].is_empty() {
                    blobs[at] = dbs[at].reserve_blobs(256).await.expect("names").0;
                }
                if let Some(blob) = blobs[at].pop() {
                    dbs[at].store_instance(synth::instance(next, blob)).await.expect("stored");
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
    let wall = begin.elapsed().as_secs_f64();
    let (own, of_database) = (cpu("self")[0] - cpu_begin, database.cpu() - database_begin);
    println!(
        "store, {callers:2} callers, {} indexes{}: {:6.0} per second, CPU each: {:5.1} us ({:.1} us to make the request), database {:5.1} us",
        dbs.len(),
        if one_study { ", one study" } else { "" },
        total as f64 / wall,
        own / total as f64,
        making(),
        of_database / total as f64,
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
    let tags = vec![TagConstraint { tag, rule, case_sensitive: false, or_unkept: None }];
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
