//! What the door needs to know. Option names are Orthanc's.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::sop_classes::accepted_sop_classes;
use crate::transfer_syntaxes::accepted_transfer_syntaxes;

/// The options of the DICOM server. Known modalities are the engine's.
///
/// `DicomThreadsCount` has no field here: no thread waits for a peer, so the number of operations at once is bounded by
/// [`ScpConfig::max_associations`].
#[derive(Debug, Clone)]
pub struct ScpConfig {
    /// Where to listen: `DicomPort` on all interfaces.
    pub listen: SocketAddr,
    /// `DicomAet`
    pub aet: String,
    /// `DicomCheckCalledAet`
    pub check_called_aet: bool,
    /// `StrictAetComparison`: AE titles differ if their case does.
    pub strict_aet_comparison: bool,
    /// `DicomAlwaysAllowEcho`
    pub always_allow_echo: bool,
    /// `DicomAlwaysAllowStore`
    pub always_allow_store: bool,
    /// `DicomCheckModalityHost`
    pub check_modality_host: bool,
    /// `DicomScpTimeout`; `None` (0 in the configuration): a silent association stays open.
    pub idle_timeout: Option<Duration>,
    /// `MaximumPduLength` in bytes.
    pub max_pdu: u32,
    /// Associations at once; one more is refused as "local limit exceeded".
    pub max_associations: usize,
    /// `AcceptedTransferSyntaxes` and the switches of groups, expanded by [`accepted_transfer_syntaxes`].
    /// [`engine::Settings`] may say otherwise while the server runs.
    pub accepted_transfer_syntaxes: Vec<String>,
    /// `AcceptedSopClasses` and `RejectedSopClasses`, expanded by [`accepted_sop_classes`].
    pub accepted_sop_classes: Vec<String>,
    /// `RejectedSopClasses` as configured: they are not accepted as unknown ones either.
    pub rejected_sop_classes: Vec<String>,
    /// `UnknownSopClassAccepted`. [`engine::Settings`] may say otherwise while the server runs.
    pub unknown_sop_class_accepted: bool,
}

impl Default for ScpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4242)),
            aet: "ORTHANC".to_owned(),
            check_called_aet: false,
            strict_aet_comparison: false,
            always_allow_echo: true,
            always_allow_store: true,
            check_modality_host: false,
            idle_timeout: Some(Duration::from_secs(30)),
            max_pdu: dimse::DEFAULT_PDU_BYTES,
            max_associations: 256,
            accepted_transfer_syntaxes: accepted_transfer_syntaxes(&["1.2.840.10008.1.*".to_owned()], &[]),
            accepted_sop_classes: accepted_sop_classes(&[], &[]),
            rejected_sop_classes: Vec::new(),
            unknown_sop_class_accepted: false,
        }
    }
}

impl ScpConfig {
    pub(crate) fn limits(&self) -> dimse::Limits {
        dimse::Limits { max_pdu: self.max_pdu, idle: self.idle_timeout, ..dimse::Limits::default() }
    }
}
