//! Reads DICOM files and prints what it sees as JSON, one line each: `dicom2json [dicom|full|simplified|short|meta|identity] FILE…`.
//!
//! `identity` writes each object, reads it back and prints whether it is the same, padding of odd lengths aside.

use std::process::ExitCode;

use dataset::json::{DicomJsonOptions, Format, JsonOptions, dicom_json, orthanc};
use dataset::{DataSet, Dictionary, Element, Object, ReadOptions, VR, Value, read_object, write_object};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let form = args.next().unwrap_or_default();
    let options = ReadOptions::default();
    let mut status = ExitCode::SUCCESS;
    for path in args {
        let shown = std::fs::read(&path).map_err(|e| e.to_string()).and_then(|bytes| show(&form, bytes, &options));
        let line = shown.unwrap_or_else(|error| {
            status = ExitCode::FAILURE;
            serde_json::json!({ "error": error }).to_string()
        });
        println!("{line}");
    }
    status
}

fn show(form: &str, bytes: Vec<u8>, options: &ReadOptions) -> Result<String, String> {
    let object = read_object(bytes.into(), options).map_err(|e| e.to_string())?;
    let dictionary = Dictionary::standard();
    let limit = std::env::var("MAX_STRING_LENGTH").ok().and_then(|v| v.parse().ok()).unwrap_or(0);
    let options_of = |skip_binary| JsonOptions { max_string_length: limit, skip_binary, ..JsonOptions::default() };
    let of = |format| orthanc(&object.dataset, format, &options_of(false), &dictionary).to_string();
    Ok(match form {
        "full" => of(Format::Full),
        "simplified" => of(Format::Simplified),
        "short" => of(Format::Short),
        "meta" => orthanc(&object.meta, Format::Full, &options_of(true), &dictionary).to_string(),
        "identity" => identity(&object, options)?,
        _ => dicom_json(&object.dataset, &DicomJsonOptions::default()).to_string(),
    })
}

fn identity(object: &Object, options: &ReadOptions) -> Result<String, String> {
    let first = write_object(object).map_err(|e| e.to_string())?;
    let again = read_object(first.clone().into(), options).map_err(|e| e.to_string())?;
    let second = write_object(&again).map_err(|e| e.to_string())?;
    let same = again.dataset == padded(&object.dataset);
    let stable = first == second && again == read_object(second.into(), options).map_err(|e| e.to_string())?;
    Ok(serde_json::json!({ "same": same, "stable": stable }).to_string())
}

/// The same with values of even length, as the writer must make them.
fn padded(data: &DataSet) -> DataSet {
    let mut out = data.clone();
    for element in data {
        let value = match &element.value {
            Value::Items(items) => Value::Items(items.iter().map(padded).collect()),
            Value::Fragments(fragments) => Value::Fragments(fragments.iter().map(|f| even(f, 0)).collect()),
            Value::Bytes(raw) => Value::Bytes(even(raw, pad_of(element.vr))),
        };
        out.put(Element { value, ..element.clone() });
    }
    out
}

fn even(raw: &[u8], pad: u8) -> bytes::Bytes {
    let mut out = raw.to_vec();
    out.resize(out.len() + out.len() % 2, pad);
    out.into()
}

fn pad_of(vr: VR) -> u8 {
    let binary = [VR::OB, VR::OD, VR::OF, VR::OL, VR::OV, VR::OW, VR::UN, VR::UI];
    let numbers = [VR::AT, VR::FD, VR::FL, VR::SL, VR::SS, VR::SV, VR::UL, VR::US, VR::UV];
    if binary.contains(&vr) || numbers.contains(&vr) { 0 } else { b' ' }
}
