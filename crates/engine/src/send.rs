//! Sending instances to a DICOM node: C-STORE SCU (PS3.4 B). Who sends many keeps a [`Sending`] open from one to the next.
//!
//! Files go out as they are stored, in constant memory. Nothing is transcoded yet: what the node does not take in its own
//! transfer syntax fails, and says so; `DicomScuPreferredTransferSyntax` and `TranscodeDicomProtocol` have no effect.

use crate::digests::Checksum;
use crate::read::Extent;
use crate::{Ctx, Engine, Modality, files, read, scu};
use bytes::Bytes;
use dataset::{Completeness, ReadError};
use dimse::{Association, Connector, Status, StoreItem};
use futures_util::TryStreamExt;
use futures_util::stream::{self, BoxStream, StreamExt};
use model::ports::hooks::Destination;
use model::{Attachment, Error, ErrorKind, Fields, FindRequest, Level, MetadataKind, OrthancId, Resource, Result, tags};
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

/// Presentation contexts that fit into one association (PS3.8 7.1.1.13).
const MAX_CONTEXTS: usize = dimse::MAX_CONTEXTS;
/// Bytes in which file meta information is looked for at first.
const META_BYTES: u64 = 16 << 10;
/// How long an association that is given up may take to say so: a node that stopped reading does not hold up a cancel.
const ABORT_TIME: Duration = Duration::from_millis(250);

/// What a client says about one send (Orthanc: body of `POST /modalities/{id}/store`). `None`: as the node is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// `LocalAet`
    pub local_aet: Option<String>,
    /// `CalledAet`
    pub called_aet: Option<String>,
    /// `Host`
    pub host: Option<String>,
    /// `Port`
    pub port: Option<u16>,
    /// `Timeout`; zero for none.
    pub timeout: Option<Duration>,
    /// The C-MOVE that caused the send: `MoveOriginatorAet` and `MoveOriginatorID`.
    pub move_originator: Option<(String, u16)>,
}

/// The node as this send calls it: with the client's wishes, and with our AE title filled in.
pub fn addressed(eng: &Engine, remote: &Modality, options: &SendOptions) -> Modality {
    let own = Some(&remote.local_aet).filter(|aet| !aet.is_empty()).unwrap_or(&eng.config.scu.aet);
    Modality {
        aet: options.called_aet.clone().unwrap_or_else(|| remote.aet.clone()),
        host: options.host.clone().unwrap_or_else(|| remote.host.clone()),
        port: options.port.unwrap_or(remote.port),
        local_aet: options.local_aet.clone().unwrap_or_else(|| own.clone()),
        ..remote.clone()
    }
}

/// One instance to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub instance: OrthancId,
    pub sop_class: String,
    pub sop_instance: String,
    /// Of the stored file.
    pub transfer_syntax: String,
    file: Attachment,
}

impl Outgoing {
    /// Of the file.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.file.size_bytes
    }
}

/// The instances of resources in the order in which they are sent, each once: as the resources are named, series by series,
/// by number in each. One search for each level that is named.
///
/// # Errors
/// `UnknownResource`.
pub async fn instances(eng: &Engine, ctx: &Ctx, resources: &[(Level, OrthancId)]) -> Result<Vec<OrthancId>> {
    let mut below: HashMap<OrthancId, Vec<Resource>> = HashMap::new();
    for level in Level::ALL {
        let ids: Vec<_> = resources.iter().filter(|(l, _)| *l == level).map(|(_, id)| *id).collect();
        for instance in files::below(eng, ctx, level, &ids, Fields::NONE).await? {
            if let Some(root) = instance.lineage[level as usize] {
                below.entry(root).or_default().push(instance);
            }
        }
    }
    let mut ordered = vec![];
    let mut seen = HashSet::new();
    for (_, root) in resources {
        let mut list = below.remove(root).unwrap_or_default();
        list.sort_by_key(|i| {
            let [patient, study, series, _] = i.lineage;
            (patient, study, series, i.index_in_series.unwrap_or_default(), i.id)
        });
        ordered.extend(list.into_iter().map(|i| i.id).filter(|id| seen.insert(*id)));
    }
    Ok(ordered)
}

/// What is needed to send instances, in the order of their ids; `None` for what was deleted. One search.
///
/// # Errors
/// `Database` if a row lacks what it must have.
pub async fn load(eng: &Engine, ids: &[OrthancId]) -> Result<Vec<Option<Outgoing>>> {
    let fields = Fields { attachments: true, metadata: true, ..Fields::NONE };
    let request = FindRequest { among: Some((Level::Instance, ids.to_vec())), fields, ..FindRequest::all(Level::Instance) };
    let mut found = HashMap::new();
    for resource in eng.index.find(&request).await? {
        let text = |kind| resource.metadata.get(&kind).map(|m| m.value.clone());
        let missing = |what| Error::new(ErrorKind::Database, format!("instance {} has no {what} in the index", resource.id));
        let outgoing = Outgoing {
            instance: resource.id,
            sop_class: text(MetadataKind::SOP_CLASS_UID).ok_or_else(|| missing("SOP class"))?,
            transfer_syntax: text(MetadataKind::TRANSFER_SYNTAX).ok_or_else(|| missing("transfer syntax"))?,
            sop_instance: resource.tags[3].get(tags::SOP_INSTANCE_UID).ok_or_else(|| missing("SOP instance"))?.to_owned(),
            file: files::dicom(resource)?,
        };
        found.insert(outgoing.instance, outgoing);
    }
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// A series of C-STOREs to one node, over one association as long as it holds.
pub struct Sending {
    eng: Arc<Engine>,
    remote: Modality,
    connector: Connector,
    move_originator: Option<(String, u16)>,
    /// Pairs of SOP class and transfer syntax, in the order of their first instance; each is a presentation context.
    pairs: Vec<(String, String)>,
    association: Option<Association>,
    /// Which pairs the association proposed, in groups of [`MAX_CONTEXTS`].
    group: usize,
    cancel: CancellationToken,
}

impl Sending {
    /// Prepares to send a list. The node is called when the first instance is sent.
    ///
    /// # Errors
    /// `NotImplemented` if the node wants TLS.
    pub fn begin(
        eng: &Arc<Engine>,
        remote: &Modality,
        options: &SendOptions,
        list: &[Outgoing],
        cancel: CancellationToken,
    ) -> Result<Self> {
        let remote = addressed(eng, remote, options);
        let connector = scu::connector(eng, &remote, options.timeout)?;
        let mut pairs = vec![];
        let mut seen = HashSet::new();
        for item in list {
            let pair = (item.sop_class.clone(), item.transfer_syntax.clone());
            if seen.insert(pair.clone()) {
                pairs.push(pair);
            }
        }
        let move_originator = options.move_originator.clone();
        Ok(Self { eng: eng.clone(), remote, connector, move_originator, pairs, association: None, group: 0, cancel })
    }

    /// Sends one instance and waits for the answer; what a script holds back counts as sent. 0x0000, 0xB000, 0xB006, 0xB007 and 0x0111 (it is there already) are success
    /// (Orthanc: `DicomModalityStore`).
    ///
    /// After any error but `Canceled` the next instance may be sent: an association that broke is opened again. If it broke
    /// while it waited for this instance, that is done here, once.
    ///
    /// # Errors
    /// `NetworkProtocol` with the AET, and with the status as payload if the node answered; `NoPresentationContext` if it does
    /// not take such an instance; `Canceled` at once, after an A-ABORT; `InexistentFile` or `Corrupted` if the file is missing
    /// or cut short, naming the instance.
    pub async fn store(&mut self, item: &Outgoing) -> Result<Status> {
        let cancel = self.cancel.clone();
        match cancel.run_until_cancelled(self.send(item)).await {
            Some(result) => result,
            None => {
                self.abort().await;
                Err(ErrorKind::Canceled.into())
            }
        }
    }

    /// Whether the script of outgoing instances, if there is one, lets this one go (Orthanc: `OutgoingCStoreInstanceFilter`).
    async fn may_go(&self, item: &Outgoing) -> Result<bool> {
        if !self.eng.hooks.callbacks().await?.contains(&"OutgoingCStoreInstanceFilter") {
            return Ok(true);
        }
        let file = read::dataset(&self.eng, &Ctx::default(), item.instance, Extent::Header).await?;
        let destination = Destination { remote_aet: self.remote.aet.clone(), remote_ip: self.remote.host.clone() };
        self.eng.hooks.outgoing_instance(&file.dataset, destination).await
    }

    async fn send(&mut self, item: &Outgoing) -> Result<Status> {
        if !self.may_go(item).await? {
            tracing::info!(aet.called = self.remote.aet, "instance {} is not sent: a script holds it back", item.instance);
            return Ok(Status(0));
        }
        let head = head(&self.eng, item).await?;
        let message = StoreItem {
            sop_class: item.sop_class.clone(),
            sop_instance: item.sop_instance.clone(),
            transfer_syntax: item.transfer_syntax.clone(),
            move_originator: self.move_originator.clone(),
        };
        loop {
            let data = data_set(&self.eng, item, &head).await?;
            let mut source = StreamReader::new(data);
            let was_open = self.connect(item).await?;
            let Some(association) = &mut self.association else { return Err(ErrorKind::Internal.into()) };
            let error = match association.store(&message, &mut source).await {
                Ok(response) => return judge(&self.remote, response.status),
                Err(dimse::Error::NoContext(_)) => {
                    let error = refused(association, &self.remote, &message);
                    return Err(Error::new(error.kind(), format!("{} (instance {})", error.message(), item.instance)));
                }
                Err(error) => error,
            };
            self.abort().await;
            use dimse::Error::{Aborted, Closed, Io, Released, Source};
            match error {
                Source(error) => return Err(unreadable(item, error)),
                Closed | Aborted(_) | Released | Io(_) if was_open => {
                    tracing::info!(aet.called = self.remote.aet, reason = scu::reason(&error), "association is opened again");
                }
                error => return Err(scu::check("C-STORE", &self.remote, Err(error)).err().unwrap_or(ErrorKind::Internal.into())),
            }
        }
    }

    /// Opens an association that proposes the instance's pair. Whether there was one already.
    async fn connect(&mut self, item: &Outgoing) -> Result<bool> {
        let is_pair = |(class, syntax): &(String, String)| *class == item.sop_class && *syntax == item.transfer_syntax;
        let at = self.pairs.iter().position(is_pair).unwrap_or_else(|| {
            self.pairs.push((item.sop_class.clone(), item.transfer_syntax.clone()));
            self.pairs.len() - 1
        });
        // A pair that came later makes its group longer than what was proposed.
        let is_proposed = at / MAX_CONTEXTS == self.group && at % MAX_CONTEXTS < self.connector.contexts.len();
        if self.association.is_some() && is_proposed {
            return Ok(true);
        }
        self.say_goodbye().await;
        self.group = at / MAX_CONTEXTS;
        let group = self.pairs.iter().skip(self.group * MAX_CONTEXTS).take(MAX_CONTEXTS);
        self.connector.contexts = group.map(|(class, syntax)| (class.clone(), vec![syntax.clone()])).collect();
        self.association = Some(scu::connect(&self.connector, &self.remote).await?);
        Ok(false)
    }

    /// Releases the association. Everything that was sent is answered by now, so how the node says goodbye changes nothing.
    pub async fn release(mut self) {
        let cancel = self.cancel.clone();
        cancel.run_until_cancelled(self.say_goodbye()).await;
    }

    async fn say_goodbye(&mut self) {
        if let Some(association) = self.association.take()
            && let Err(error) = association.release().await
        {
            tracing::debug!(aet.called = self.remote.aet, reason = scu::reason(&error), "association did not end well");
        }
    }

    async fn abort(&mut self) {
        if let Some(association) = self.association.take() {
            give_up(association).await;
        }
    }
}

/// Whether the answer to a C-STORE means that the node has the instance.
///
/// # Errors
/// `NetworkProtocol` with the AET, and the status as payload.
pub(crate) fn judge(remote: &Modality, status: Status) -> Result<Status> {
    let is_stored = matches!(status.0, 0x0000 | 0xB000 | 0xB006 | 0xB007 | 0x0111);
    if !is_stored {
        scu::check("C-STORE", remote, Ok(status))?;
    }
    Ok(status)
}

/// The node did not accept the presentation context that an instance needs.
pub(crate) fn refused(association: &Association, remote: &Modality, item: &StoreItem) -> Error {
    let accepted = association.contexts().iter().filter(|c| c.abstract_syntax == item.sop_class);
    let accepted: Vec<_> = accepted.map(|c| c.transfer_syntax.as_str()).collect();
    let but = if accepted.is_empty() { String::new() } else { format!("; it takes the class in {}", accepted.join(", ")) };
    let text = format!(
        "Unable to negotiate a presentation context with AET {:?}: it does not take SOP class {} in transfer syntax {}{but}",
        remote.aet, item.sop_class, item.transfer_syntax
    );
    Error::new(ErrorKind::NoPresentationContext, text)
}

pub(crate) async fn give_up(association: Association) {
    let _ = tokio::time::timeout(ABORT_TIME, association.abort()).await;
}

/// What is before the data set in the file of an instance.
async fn head(eng: &Engine, item: &Outgoing) -> Result<Bytes> {
    let options = eng.read_options();
    let size = item.file.size_bytes;
    let mut want = META_BYTES.min(size);
    loop {
        let head = read::bytes(eng, &item.file, Some(0..want)).await.map_err(|error| of_instance(item, error))?;
        let completeness = if want < size { Completeness::Prefix } else { Completeness::Whole };
        match dataset::dataset_offset(&head, completeness, &options) {
            Ok(offset) => return Ok(head.slice(..head.len().min(offset as usize))),
            Err(ReadError::Incomplete(_)) if head.len() as u64 == want => want = (want * 4).min(size),
            Err(error) => return Err(of_instance(item, Error::new(ErrorKind::Corrupted, error.to_string()))),
        }
    }
}

/// The bytes of a file. An error before the last of them if it is not what was stored.
pub(crate) async fn whole(eng: &Engine, item: &Outgoing) -> Result<BoxStream<'static, Result<Bytes>>> {
    let file = data_set(eng, item, &[]).await?;
    let item = item.clone();
    Ok(file.map_err(move |error| unreadable(&item, error)).boxed())
}

/// The bytes of the data set, which follow `head`. An error before the last of them if the file is not what was stored.
async fn data_set(eng: &Engine, item: &Outgoing, head: &[u8]) -> Result<BoxStream<'static, io::Result<Bytes>>> {
    let (offset, size, expected) = (head.len() as u64, item.file.size_bytes, item.file.checksum);
    let blob = read::stream(eng, &item.file, offset..size).await.map_err(|error| of_instance(item, error))?;
    let mut checksum = Checksum::default();
    checksum.update(head);
    let verified = stream::try_unfold((blob, size - offset, checksum), move |(mut blob, left, mut checksum)| async move {
        match blob.next().await {
            Some(Ok(bytes)) => {
                let left = left.saturating_sub(bytes.len() as u64);
                checksum.update(&bytes);
                if left == 0 && checksum.value() != expected {
                    return Err(io::Error::other(Error::new(ErrorKind::Corrupted, "its checksum is not what was stored")));
                }
                Ok(Some((bytes, (blob, left, checksum))))
            }
            Some(Err(error)) => Err(io::Error::other(error)),
            None if left > 0 => {
                Err(io::Error::other(Error::new(ErrorKind::Corrupted, format!("{left} bytes are missing at its end"))))
            }
            None => Ok(None),
        }
    });
    Ok(verified.boxed())
}

fn unreadable(item: &Outgoing, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => of_instance(item, error),
        Err(error) => of_instance(item, Error::new(ErrorKind::Internal, error.to_string())),
    }
}

fn of_instance(item: &Outgoing, error: Error) -> Error {
    let text = format!("the file of instance {} cannot be sent: {}", item.instance, error.message());
    Error::new(error.kind(), text).caused_by(error)
}
