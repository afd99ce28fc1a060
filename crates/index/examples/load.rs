//! Fills an index for benchmarks, fast: studies are stored through the port, then multiplied by SQL.
//!
//! `cargo run --release -p index --example load -- TARGET INSTANCES`: a file of SQLite that does not exist, or `postgresql://…`, a
//! database whose schema `pleiad` holds nothing yet.
//!
//! 100 instances a study in two series, two studies a patient; names, dates and identifiers are spread as `loadgen` spreads them.
//! Blobs are names without files.

#[path = "load/postgres.rs"]
mod postgres;
#[path = "load/sqlite.rs"]
mod sqlite;
#[path = "shared/synth.rs"]
mod synth;
#[path = "shared/target.rs"]
mod target;

use model::ports::Index;
use std::path::Path;
use std::time::Instant;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, target, instances] = arguments.as_slice() else {
        eprintln!("usage: load FILE|postgresql://... INSTANCES");
        std::process::exit(2);
    };
    let studies = instances.parse::<u64>().expect("a number of instances").div_ceil(synth::PER_STUDY);
    let is_postgres = target::is_postgres(target);
    assert!(is_postgres || !Path::new(target).exists(), "{target} exists");
    let begin = Instant::now();
    let db = target::open(target).await;
    assert_eq!(db.totals().await.expect("totals").instances, 0, "the index holds something already");
    parents(&*db, studies).await;
    db.close().await;
    drop(db);
    eprintln!("{studies} studies after {:.1} s", begin.elapsed().as_secs_f64());
    if is_postgres {
        postgres::multiply(target, studies).await.expect("the rows are written");
    } else {
        sqlite::multiply(Path::new(target)).expect("the rows are written");
    }
    eprintln!("{} instances after {:.1} s", studies * synth::PER_STUDY, begin.elapsed().as_secs_f64());
}

/// The first instance of each series.
async fn parents(db: &dyn Index, studies: u64) {
    let mut batch = vec![];
    for study in 0..studies {
        for series in 0..synth::SERIES {
            batch.push(study * synth::PER_STUDY + series * synth::PER_SERIES);
        }
        if batch.len() >= 64 || study + 1 == studies {
            let blobs = db.reserve_blobs(batch.len()).await.expect("names").0;
            let stores = batch.drain(..).zip(blobs).map(|(n, blob)| db.store_instance(synth::instance(n, blob)));
            futures_util::future::try_join_all(stores).await.expect("stored");
        }
    }
}
