//! Times reading and showing one DICOM file, in microseconds, the best of many rounds: `speed FILE`.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use dataset::json::{DicomJsonOptions, Format, JsonOptions, dicom_json, orthanc};
use dataset::{Completeness, Dictionary, ReadOptions, read_header, read_object, write_object};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: speed FILE")?;
    let bytes = Bytes::from(std::fs::read(path)?);
    let (options, dictionary, form) = (ReadOptions::default(), Dictionary::standard(), JsonOptions::default());
    let header = read_header(bytes.clone(), Completeness::Whole, &options)?;
    let object = read_object(bytes.clone(), &options)?;
    println!("{} elements, {} bytes", header.dataset.len(), bytes.len());
    time("read_header", || read_header(bytes.clone(), Completeness::Whole, &options).is_ok());
    time("read_object", || read_object(bytes.clone(), &options).is_ok());
    time("write_object", || write_object(&object).is_ok());
    for format in [Format::Full, Format::Simplified, Format::Short] {
        let name = format!("orthanc {format:?}");
        time(&name, || !orthanc(&header.dataset, format, &form, &dictionary).to_string().is_empty());
    }
    time("dicom_json", || !dicom_json(&header.dataset, &DicomJsonOptions::default()).to_string().is_empty());
    Ok(())
}

fn time(what: &str, mut work: impl FnMut() -> bool) {
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..50 {
            assert!(black_box(work()));
        }
        best = best.min(start.elapsed().as_secs_f64() / 50.0);
    }
    println!("{what:20} {:8.1} µs", best * 1e6);
}
