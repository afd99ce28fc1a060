//! How fast archives are made, and what they cost: stores copies of a DICOM file in a folder, archives them, and prints time,
//! processor time and memory.
//!
//!     cargo run --release -p engine --example archive -- FILE.dcm COPIES FOLDER [ARCHIVE.zip]

use bytes::Bytes;
use dataset::{Element, ReadOptions, VR, read_object, write_object};
use engine::archive::{self, Characters, Layout, Request};
use engine::{Ctx, Engine, EngineConfig, Parts};
use futures_util::StreamExt;
use model::ports::hooks::NoHooks;
use model::ports::http::NoHttp;
use model::{Level, tags};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{LocalConfig, StorageConfig};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, copies, folder, ..] = args.as_slice() else { panic!("FILE.dcm COPIES FOLDER [ARCHIVE.zip]") };
    let copies: u32 = copies.parse().expect("a number of copies");
    let root = std::path::Path::new(folder);
    std::fs::create_dir_all(root).expect("the folder");
    let local = LocalConfig { root: root.join("blobs"), sync: false };
    let storage = storage::open(StorageConfig::Local(local)).await.expect("a storage area");
    let options =
        index::sqlite::Options { stable_age: Duration::from_secs(3600), readers: 2, ..index::sqlite::Options::default() };
    let index = index::sqlite::open(&root.join("index"), options).expect("an index");
    let parts = Parts { index, storage, hooks: Arc::new(NoHooks), http: Arc::new(NoHttp), config: EngineConfig::default() };
    let eng = Arc::new(Engine::new(parts));
    let ctx = Ctx::default();

    let template = Bytes::from(std::fs::read(file).expect("the file"));
    let mut object = read_object(template, &ReadOptions::default()).expect("DICOM");
    let mut study = None;
    for n in 1..=copies {
        object.dataset.put(Element::bytes(tags::SOP_INSTANCE_UID, VR::UI, format!("2.25.1{n:08}").into_bytes()));
        object.dataset.put(Element::bytes(tags::INSTANCE_NUMBER, VR::IS, format!("{n:8}").into_bytes()));
        let bytes = write_object(&object).expect("DICOM");
        study = Some(engine::store::store(&eng, &ctx, bytes.into()).await.expect("stored").ids.study);
    }
    drop(object);
    // The highest memory so far was that of storing (Linux: proc(5)).
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let resources = study.map(|id| (Level::Study, id)).into_iter().collect();
    let request = Request { resources, layout: Layout::Folders(Characters::Ascii), transcode: None };
    let plan = archive::plan(&eng, &ctx, &request).await.expect("a plan");
    let size = plan.size_bytes();
    println!("planned {} instances in {:.3} s", plan.instances(), started.elapsed().as_secs_f64());
    let mut out = args.get(3).map(|path| std::fs::File::create(path).expect("the archive"));
    let mut stream = archive::stream(&eng, &ctx, plan, |_| {}, CancellationToken::new());
    let mut written = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece.expect("a piece");
        written += piece.len();
        if let Some(out) = &mut out {
            out.write_all(&piece).expect("written");
        }
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!("{size} bytes to {written} in {seconds:.2} s, {:.0} MB/s, {cpu:.2} s of CPU", size as f64 / 1e6 / seconds);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter(|l| l.starts_with("VmHWM") || l.starts_with("VmRSS")).for_each(|l| println!("{l}"));
}

/// Processor time of this process, from `/proc` (Linux).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}
