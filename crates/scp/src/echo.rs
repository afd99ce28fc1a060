//! C-ECHO (PS3.4 A).

use dimse::{Request, Response, Status, VERIFICATION};

use crate::dispatch::Door;
use crate::policy::{self, Service};

/// The answer to a C-ECHO on a context with this abstract syntax.
pub(crate) fn answer(door: &Door<'_>, request: &Request, abstract_syntax: &str) -> Response {
    let status = if abstract_syntax != VERIFICATION {
        Status::SOP_CLASS_NOT_SUPPORTED
    } else if policy::allows(door.config, &door.known, Service::Echo) {
        Status::SUCCESS
    } else {
        Status::NOT_AUTHORIZED
    };
    request.response(status)
}
