//! Status of a DIMSE response, PS3.7 annex C and PS3.4.

use std::fmt;

/// Status (0000,0900). The service classes give meaning to the numbers beyond those named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

/// Kind of a status, PS3.7 annex C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusClass {
    /// Done.
    Success,
    /// Done, with a remark.
    Warning,
    /// Not done.
    Failure,
    /// Ended by a C-CANCEL.
    Cancel,
    /// More responses follow.
    Pending,
}

impl Status {
    /// Success.
    pub const SUCCESS: Self = Self(0x0000);
    /// Cancel: sub-operations or matching terminated by the requestor.
    pub const CANCEL: Self = Self(0xFE00);
    /// Pending: matches are continuing.
    pub const PENDING: Self = Self(0xFF00);
    /// Pending, but some optional keys were not supported.
    pub const PENDING_WARNING: Self = Self(0xFF01);

    /// Attribute list error (warning).
    pub const ATTRIBUTE_LIST_ERROR: Self = Self(0x0107);
    /// Processing failure.
    pub const PROCESSING_FAILURE: Self = Self(0x0110);
    /// Duplicate SOP instance.
    pub const DUPLICATE_SOP_INSTANCE: Self = Self(0x0111);
    /// No such SOP instance.
    pub const NO_SUCH_SOP_INSTANCE: Self = Self(0x0112);
    /// No such event type.
    pub const NO_SUCH_EVENT_TYPE: Self = Self(0x0113);
    /// No such argument.
    pub const NO_SUCH_ARGUMENT: Self = Self(0x0114);
    /// Invalid argument value.
    pub const INVALID_ARGUMENT_VALUE: Self = Self(0x0115);
    /// Attribute value out of range (warning).
    pub const ATTRIBUTE_VALUE_OUT_OF_RANGE: Self = Self(0x0116);
    /// Invalid SOP instance.
    pub const INVALID_SOP_INSTANCE: Self = Self(0x0117);
    /// No such SOP class.
    pub const NO_SUCH_SOP_CLASS: Self = Self(0x0118);
    /// Class-instance conflict.
    pub const CLASS_INSTANCE_CONFLICT: Self = Self(0x0119);
    /// Missing attribute.
    pub const MISSING_ATTRIBUTE: Self = Self(0x0120);
    /// Missing attribute value.
    pub const MISSING_ATTRIBUTE_VALUE: Self = Self(0x0121);
    /// SOP class not supported.
    pub const SOP_CLASS_NOT_SUPPORTED: Self = Self(0x0122);
    /// No such action type.
    pub const NO_SUCH_ACTION: Self = Self(0x0123);
    /// Refused: not authorized.
    pub const NOT_AUTHORIZED: Self = Self(0x0124);
    /// Duplicate invocation.
    pub const DUPLICATE_INVOCATION: Self = Self(0x0210);
    /// Unrecognized operation.
    pub const UNRECOGNIZED_OPERATION: Self = Self(0x0211);
    /// Mistyped argument.
    pub const MISTYPED_ARGUMENT: Self = Self(0x0212);
    /// Resource limitation.
    pub const RESOURCE_LIMITATION: Self = Self(0x0213);

    /// Refused: out of resources (C-STORE, C-FIND), or unable to calculate the number of matches (C-GET, C-MOVE: 0xA701).
    pub const OUT_OF_RESOURCES: Self = Self(0xA700);
    /// Refused: out of resources, unable to perform sub-operations.
    pub const OUT_OF_RESOURCES_SUB_OPERATIONS: Self = Self(0xA702);
    /// Refused: move destination unknown.
    pub const MOVE_DESTINATION_UNKNOWN: Self = Self(0xA801);
    /// Error: data set does not match SOP class (C-STORE), identifier does not match SOP class (C-FIND, C-GET, C-MOVE).
    pub const DATA_SET_DOES_NOT_MATCH_SOP_CLASS: Self = Self(0xA900);
    /// Error: cannot understand (C-STORE), unable to process (C-FIND, C-GET, C-MOVE).
    pub const CANNOT_UNDERSTAND: Self = Self(0xC000);
    /// Warning: coercion of data elements (C-STORE), sub-operations complete with failures (C-GET, C-MOVE).
    pub const COERCION: Self = Self(0xB000);
    /// Warning: elements discarded (C-STORE).
    pub const ELEMENTS_DISCARDED: Self = Self(0xB006);
    /// Warning: data set does not match SOP class (C-STORE).
    pub const DATA_SET_MISMATCH_WARNING: Self = Self(0xB007);

    /// Kind of this status.
    pub fn class(self) -> StatusClass {
        match self.0 {
            0x0000 => StatusClass::Success,
            0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => StatusClass::Warning,
            0xFE00 => StatusClass::Cancel,
            0xFF00 | 0xFF01 => StatusClass::Pending,
            _ => StatusClass::Failure,
        }
    }

    /// Nothing went wrong: success, or success with a remark.
    pub fn is_ok(self) -> bool {
        matches!(self.class(), StatusClass::Success | StatusClass::Warning)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04X}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_annex_c() {
        for (status, class) in [
            (Status::SUCCESS, StatusClass::Success),
            (Status::ATTRIBUTE_LIST_ERROR, StatusClass::Warning),
            (Status::COERCION, StatusClass::Warning),
            (Status::CANCEL, StatusClass::Cancel),
            (Status::PENDING_WARNING, StatusClass::Pending),
            (Status::OUT_OF_RESOURCES, StatusClass::Failure),
            (Status(0xC123), StatusClass::Failure),
            (Status::PROCESSING_FAILURE, StatusClass::Failure),
        ] {
            assert_eq!(status.class(), class, "{status}");
        }
    }
}
