//! Sending a file that is not stored (Orthanc: `POST /modalities/{id}/store-straight`). It goes on as it arrives, in constant memory.

use crate::flow::Pieces;
use crate::send::{self, SendOptions};
use crate::{Ctx, Engine, Modality, scu};
use bytes::{Bytes, BytesMut};
use dataset::{Completeness, Header, ReadError, Tag, read_header};
use dimse::StoreItem;
use futures_util::{StreamExt, TryStreamExt, stream};
use model::{Error, ErrorKind, Result, tags};
use std::io;
use tokio_util::io::StreamReader;

/// Bytes in which the header is looked for at first.
const HEAD_BYTES: usize = 16 << 10;

/// What was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub sop_class: String,
    pub sop_instance: String,
}

/// Sends a DICOM file (PS3.10 7) to a node in its own transfer syntax, and waits for the answer. The node is called when the header
/// was read. Whoever stops waiting breaks the association.
///
/// # Errors
/// `BadDicom` for what is no DICOM file; those of `dicom`; `NetworkProtocol` and `NoPresentationContext` as
/// [`Sending::store`](crate::send::Sending::store); `NotImplemented` if the node wants TLS.
pub async fn store(eng: &Engine, _ctx: &Ctx, remote: &Modality, mut dicom: Pieces) -> Result<Sent> {
    let (header, head) = header(eng, &mut dicom).await?;
    let message = StoreItem {
        sop_class: uid(&header, tags::SOP_CLASS_UID, "SOPClassUID")?,
        sop_instance: uid(&header, tags::SOP_INSTANCE_UID, "SOPInstanceUID")?,
        transfer_syntax: header.transfer_syntax.uid().to_owned(),
        move_originator: None,
    };
    let begin = head.slice((header.dataset_offset as usize).min(head.len())..);
    let mut source = StreamReader::new(stream::once(async { Ok(begin) }).chain(dicom.map_err(io::Error::other)).boxed());

    let remote = send::addressed(eng, remote, &SendOptions::default());
    let connector = scu::connector(eng, &remote, None)?.propose(&message.sop_class, &[&message.transfer_syntax]);
    let mut association = scu::connect(&connector, &remote).await?;
    let result = match association.store(&message, &mut source).await {
        Ok(response) => send::judge(&remote, response.status).map(drop),
        Err(dimse::Error::NoContext(_)) => Err(send::refused(&association, &remote, &message)),
        Err(dimse::Error::Source(error)) => {
            Err(error.downcast().unwrap_or_else(|e| Error::new(ErrorKind::BadDicom, format!("the file cannot be read: {e}"))))
        }
        Err(error) => scu::check("C-STORE", &remote, Err(error)),
    };
    match result {
        Ok(()) => drop(association.release().await),
        Err(_) => send::give_up(association).await,
    }
    result.map(|()| Sent { sop_class: message.sop_class, sop_instance: message.sop_instance })
}

/// Everything up to Pixel Data, and the bytes that had to be read for it.
async fn header(eng: &Engine, dicom: &mut Pieces) -> Result<(Header, Bytes)> {
    let options = eng.read_options();
    let mut head = BytesMut::new();
    let mut want = HEAD_BYTES;
    loop {
        let mut completeness = Completeness::Prefix;
        while head.len() < want {
            match dicom.try_next().await? {
                Some(piece) => head.extend_from_slice(&piece),
                None => {
                    completeness = Completeness::Whole;
                    break;
                }
            }
        }
        if head.is_empty() {
            return Err(Error::new(ErrorKind::BadDicom, "the body is empty"));
        }
        let bytes = head.split().freeze();
        match read_header(bytes.clone(), completeness, &options) {
            Ok(header) => return Ok((header, bytes)),
            Err(ReadError::Incomplete(_)) if bytes.len() <= options.max_header_bytes => {
                want = bytes.len() * 2;
                head = BytesMut::from(bytes);
            }
            Err(error) => return Err(Error::new(ErrorKind::BadDicom, error.to_string())),
        }
    }
}

fn uid(header: &Header, tag: Tag, name: &str) -> Result<String> {
    let uid = header.dataset.text(tag).unwrap_or_default().trim_matches(['\0', ' ']).to_owned();
    if uid.is_empty() {
        return Err(Error::new(ErrorKind::BadDicom, format!("the file has no {name}")));
    }
    Ok(uid)
}
