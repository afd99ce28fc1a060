//! `/tools/dicom-conformance`: which DICOM services there are (PS3.2), as text.

use crate::routes::{Routes, about};
use crate::state::Rest;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use std::fmt::Write;
use std::sync::Arc;

/// Verification (PS3.4 A.4), in both roles.
const VERIFICATION: &str = "1.2.840.10008.1.1";

pub fn routes() -> Routes {
    Routes::default().get("/tools/dicom-conformance", get_statement, about("The DICOM services that there are (PS3.2).").text())
}

/// `GET /tools/dicom-conformance`: what this process accepts now.
async fn get_statement(State(rest): State<Arc<Rest>>) -> Response {
    let settings = &rest.engine.settings;
    let syntaxes = settings.accepted_transfer_syntaxes().unwrap_or_else(|| rest.system.accepted_transfer_syntaxes.clone());
    let unknown = settings.unknown_sop_class_accepted().unwrap_or(rest.system.unknown_sop_class_accepted);
    let mut text = format!("DICOM services of {}, AE title {}\n", rest.system.name, rest.system.dicom_aet);
    section(&mut text, "Verification (C-ECHO), SCP and SCU", "SOP class", &[VERIFICATION.to_owned()]);
    section(&mut text, "Storage (C-STORE), SCP and SCU", "SOP class", &rest.system.accepted_sop_classes);
    if unknown {
        text.push_str("  As SCP also every other SOP class.\n");
    }
    section(&mut text, "Storage (C-STORE), SCP", "Transfer syntax", &syntaxes);
    ([(header::CONTENT_TYPE, "text/plain")], text).into_response()
}

fn section(text: &mut String, title: &str, kind: &str, uids: &[String]) {
    // Writing to a text cannot fail.
    let _ = write!(text, "\n{title}\n{}\n", "-".repeat(title.len()));
    for uid in uids {
        let _ = writeln!(text, "  {kind} {uid}");
    }
}
