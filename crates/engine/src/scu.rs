//! Calling other DICOM nodes.

use crate::{Ctx, Engine, Modality};
use dataset::{DataSet, Element, Tag, TransferSyntax, VR, write_dataset};
use dimse::{Association, Connector, IMPLICIT_VR_LITTLE_ENDIAN, Status, VERIFICATION};
use model::{AttachmentId, Error, ErrorKind, Result, tags};
use serde_json::json;
use std::time::Duration;

/// Study Root Query/Retrieve Information Model - FIND (PS3.4 C.3).
const STUDY_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";

/// "No limit", for what needs one.
const FOR_EVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// The options of all calls, under Orthanc's names.
#[derive(Clone, Debug)]
pub struct ScuConfig {
    /// `DicomAet`
    pub aet: String,
    /// `DicomScuTimeout`; zero for none.
    pub timeout: Duration,
    /// `MaximumPduLength`
    pub max_pdu: u32,
    /// `DicomEchoChecksFind`
    pub echo_checks_find: bool,
}

impl Default for ScuConfig {
    fn default() -> Self {
        Self { aet: "ORTHANC".into(), timeout: Duration::from_secs(10), max_pdu: 16384, echo_checks_find: false }
    }
}

/// What a client says about one C-ECHO.
#[derive(Clone, Copy, Debug, Default)]
pub struct EchoOptions {
    /// Whether a C-FIND follows; `None`: `DicomEchoChecksFind`.
    pub check_find: Option<bool>,
    /// `None`: the node's.
    pub timeout: Option<Duration>,
}

/// A requestor towards a node, which proposes nothing yet. `timeout`: if not the node's; zero for none.
///
/// # Errors
/// `NotImplemented` if the node wants TLS.
pub fn connector(eng: &Engine, remote: &Modality, timeout: Option<Duration>) -> Result<Connector> {
    if remote.use_dicom_tls {
        let message = format!("AET {:?} is to be called by TLS (UseDicomTls), which this version does not have yet", remote.aet);
        return Err(Error::new(ErrorKind::NotImplemented, message));
    }
    let config = &eng.config.scu;
    let local = if remote.local_aet.is_empty() { &config.aet } else { &remote.local_aet };
    let own = Some(remote.timeout).filter(|t| !t.is_zero());
    let timeout = Some(timeout.or(own).unwrap_or(config.timeout)).filter(|t| !t.is_zero());
    let mut connector = Connector::new(local, &remote.aet);
    connector.connect_timeout = timeout.unwrap_or(FOR_EVER);
    connector.limits.artim = timeout.unwrap_or(FOR_EVER);
    connector.limits.idle = timeout;
    connector.limits.write = timeout;
    connector.limits.max_pdu = config.max_pdu;
    Ok(connector)
}

/// Opens an association.
///
/// # Errors
/// `NetworkProtocol` (Orthanc's kind for whatever happens on the network), with the node and the reason.
pub async fn connect(connector: &Connector, remote: &Modality) -> Result<Association> {
    let address = (remote.host.trim_start_matches('[').trim_end_matches(']'), remote.port);
    connector.connect(address).await.map_err(|error| {
        let reason = reason(&error);
        let message = format!("connecting to AET {:?} at {}:{}: {reason}", remote.aet, remote.host, remote.port);
        Error::new(ErrorKind::NetworkProtocol, message).caused_by(error)
    })
}

/// Whether a node answers (Orthanc: `POST /modalities/{id}/echo`).
///
/// # Errors
/// `NetworkProtocol` if it does not, refuses, or answers with a failure (the payload has the DIMSE status); `NotImplemented` for TLS.
pub async fn echo(eng: &Engine, _ctx: &Ctx, remote: &Modality, options: EchoOptions) -> Result<()> {
    let check_find = options.check_find.unwrap_or(eng.config.scu.echo_checks_find);
    let mut connector = connector(eng, remote, options.timeout)?.propose(VERIFICATION, &[IMPLICIT_VR_LITTLE_ENDIAN]);
    if check_find {
        connector = connector.propose(STUDY_ROOT_FIND, &[IMPLICIT_VR_LITTLE_ENDIAN]);
    }
    let mut association = connect(&connector, remote).await?;
    let answer = association.echo().await;
    let mut result = check("C-ECHO", remote, answer.map(|response| response.status));
    if check_find && result.is_ok() {
        let status = find_nothing(&mut association).await;
        result = check("C-FIND", remote, status);
    }
    // The answer is known; how the node says goodbye changes nothing.
    match result {
        Ok(()) => drop(association.release().await),
        Err(_) => association.abort().await,
    }
    result
}

/// Sends a C-FIND for a study that nobody has, and waits for its end.
async fn find_nothing(association: &mut Association) -> dimse::Result<Status> {
    let mut query = DataSet::new();
    query.put(Element::bytes(tags::ACCESSION_NUMBER, VR::SH, ""));
    query.put(Element::bytes(Tag(0x0008, 0x0052), VR::CS, "STUDY "));
    query.put(Element::bytes(tags::PATIENT_ID, VR::LO, ""));
    let mut uid = format!("2.25.{}", AttachmentId::random().0.as_u128());
    if uid.len() % 2 == 1 {
        uid.push('\0');
    }
    query.put(Element::bytes(tags::STUDY_INSTANCE_UID, VR::UI, uid));
    let mut identifier = vec![];
    write_dataset(&query, &TransferSyntax::IMPLICIT_LITTLE_ENDIAN, &mut identifier)
        .map_err(|_| dimse::Error::Unencodable("the query of a C-FIND"))?;
    let request = association.find(STUDY_ROOT_FIND, &identifier).await?;
    loop {
        let status = association.response(&request).await?.status;
        if !matches!(status, Status::PENDING | Status::PENDING_WARNING) {
            return Ok(status);
        }
    }
}

pub(crate) fn check(service: &str, remote: &Modality, status: dimse::Result<Status>) -> Result<()> {
    let aet = &remote.aet;
    match status {
        Ok(Status::SUCCESS) => Ok(()),
        Ok(Status(status)) => {
            let message = format!("{service} SCU to AET {aet:?} has failed with DIMSE status 0x{status:04X}");
            let payload = json!({"Type": "Dimse", "Content": {"DimseErrorStatus": status}});
            Err(Error::new(ErrorKind::NetworkProtocol, message).with_payload(payload))
        }
        Err(dimse::Error::NoContext(_)) => {
            let message = format!("{service} is not supported by the remote SCP: AET {aet:?}");
            Err(Error::new(ErrorKind::NetworkProtocol, message))
        }
        Err(error) => {
            let message = format!("{service} SCU to AET {aet:?}: {}", reason(&error));
            Err(Error::new(ErrorKind::NetworkProtocol, message).caused_by(error))
        }
    }
}

/// The error in words; of a failure of the network, what the system says.
pub(crate) fn reason(error: &dimse::Error) -> String {
    match error {
        dimse::Error::Io(io) => io.to_string(),
        other => other.to_string(),
    }
}
