//! The functions that scripts define and the server calls.

/// Those that are called.
pub(crate) const CALLBACKS: [&str; 26] = [
    "ReceivedInstanceFilter",
    "ReceivedCStoreInstanceFilter",
    "IncomingHttpRequestFilter",
    "OutgoingCStoreInstanceFilter",
    "Initialize",
    "Finalize",
    "OnHeartBeat",
    "OnStoredInstance",
    "OnNewInstance",
    "OnNewSeries",
    "OnNewStudy",
    "OnNewPatient",
    "OnStableSeries",
    "OnStableStudy",
    "OnStablePatient",
    "OnUpdatedInstance",
    "OnUpdatedSeries",
    "OnUpdatedStudy",
    "OnUpdatedPatient",
    "OnDeletedInstance",
    "OnDeletedSeries",
    "OnDeletedStudy",
    "OnDeletedPatient",
    "OnJobSubmitted",
    "OnJobSuccess",
    "OnJobFailure",
];

/// Those of services that do not exist yet, and those that Orthanc has no more: whoever defines one should know.
pub(crate) const IGNORED: [&str; 13] = [
    "OutgoingFindRequestFilter",
    "IncomingFindRequestFilter",
    "IncomingWorklistRequestFilter",
    "IsDeflatedTransferSyntaxAccepted",
    "IsJpegTransferSyntaxAccepted",
    "IsJpeg2000TransferSyntaxAccepted",
    "IsJpegLosslessTransferSyntaxAccepted",
    "IsJpipTransferSyntaxAccepted",
    "IsMpeg2TransferSyntaxAccepted",
    "IsMpeg4TransferSyntaxAccepted",
    "IsH265TransferSyntaxAccepted",
    "IsRleTransferSyntaxAccepted",
    "IsUnknownSopClassAccepted",
];

/// A set of [`CALLBACKS`], by their places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Callbacks(u64);

impl Callbacks {
    /// Those for which `is_defined` holds.
    pub(crate) fn of(is_defined: impl Fn(&str) -> bool) -> Self {
        let bits = CALLBACKS.iter().enumerate().filter(|(_, name)| is_defined(name)).map(|(at, _)| 1 << at);
        Self(bits.fold(0, |all, bit: u64| all | bit))
    }

    pub(crate) fn names(self) -> Vec<&'static str> {
        CALLBACKS.into_iter().filter(|name| self.has(name)).collect()
    }

    pub(crate) fn has(self, name: &str) -> bool {
        CALLBACKS.iter().position(|n| *n == name).is_some_and(|at| self.0 & (1 << at) != 0)
    }
}
