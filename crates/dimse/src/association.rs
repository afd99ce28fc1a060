//! An established association: messages in, messages out, and its end.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncRead;

use crate::command::{Command, Operation, Request, Response};
use crate::decoder::Event;
use crate::error::{Error, ProtocolError, Result};
use crate::pdu::{Abort, AbortReason, Pdu, UserIdentity};
use crate::receiver::{Receiver, out_of_order};
use crate::sender::{DataSender, Sender};

/// Longest wait for the peer to take an A-ABORT, and then to close.
const ABORT_LINGER: Duration = Duration::from_secs(1);

/// Which side opened the association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We did.
    Requestor,
    /// The peer did.
    Acceptor,
}

/// What is known about the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub addr: SocketAddr,
    /// AE title of the requestor.
    pub calling_aet: String,
    /// AE title of the acceptor.
    pub called_aet: String,
    /// Implementation class UID.
    pub implementation_uid: String,
    /// Implementation version name; may be empty.
    pub implementation_version: String,
    /// Longest P-DATA-TF variable field that it accepts, in bytes; 0 is no limit.
    pub max_pdu: u32,
    /// User identity that it gave as requestor.
    pub identity: Option<UserIdentity>,
    /// Its positive answer, as acceptor, to our user identity.
    pub identity_response: Option<Vec<u8>>,
}

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentationContext {
    /// Its number.
    pub id: u8,
    /// SOP class UID.
    pub abstract_syntax: String,
    /// The negotiated transfer syntax UID.
    pub transfer_syntax: String,
    /// The requestor of the association acts as SCU (the default).
    pub requestor_is_scu: bool,
    /// The requestor of the association acts as SCP, as for C-GET.
    pub requestor_is_scp: bool,
}

/// A message as it begins: its command set is here, its data set (if any) is read with [`Association::chunk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Presentation context; always one of [`Association::contexts`].
    pub context_id: u8,
    /// The command.
    pub command: Command,
    /// A data set follows.
    pub has_data: bool,
}

/// An open association.
///
/// One message at a time goes each way. Reading is cancel safe; a sending future that is dropped leaves the
/// association [`Error::Broken`]. A violation by the peer is answered with an A-ABORT before the error is returned.
/// Dropped without [`Association::release`], the connection is just closed.
pub struct Association {
    pub(crate) receiver: Receiver,
    pub(crate) sender: Sender,
    peer: Peer,
    contexts: Vec<PresentationContext>,
    role: Role,
    artim: Duration,
    next_message_id: u16,
    ended: bool,
}

impl Association {
    pub(crate) fn new(
        mut receiver: Receiver,
        mut sender: Sender,
        peer: Peer,
        contexts: Vec<PresentationContext>,
        role: Role,
        artim: Duration,
    ) -> Self {
        receiver.decoder.establish(contexts.iter().map(|context| context.id));
        sender.set_peer_max_pdu(peer.max_pdu);
        Self { receiver, sender, peer, contexts, role, artim, next_message_id: 1, ended: false }
    }

    /// The other side.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The accepted presentation contexts.
    pub fn contexts(&self) -> &[PresentationContext] {
        &self.contexts
    }

    /// The accepted presentation context with this number.
    pub fn context(&self, id: u8) -> Option<&PresentationContext> {
        self.contexts.iter().find(|context| context.id == id)
    }

    /// A message ID for a request of ours; they go round and skip 0.
    pub fn next_message_id(&mut self) -> u16 {
        let id = self.next_message_id;
        self.next_message_id = id.checked_add(1).unwrap_or(1);
        id
    }

    /// Waits for the next message; `None` once the peer has released the association (that is then confirmed).
    /// What is left of the data set of the message before is read and forgotten.
    ///
    /// Cancel safe, except while the release is being confirmed.
    ///
    /// # Errors
    /// `Closed`, `Aborted`, `ReadTimeout`, `Io`, `Protocol`: the association is over.
    pub async fn next(&mut self) -> Result<Option<Incoming>> {
        if self.ended {
            return Ok(None);
        }
        let result = self.next_message().await;
        self.settle(result).await
    }

    async fn next_message(&mut self) -> Result<Option<Incoming>> {
        loop {
            match self.receiver.event().await? {
                Event::Command { context_id, command, has_data } => {
                    return Ok(Some(Incoming { context_id, command, has_data }));
                }
                Event::Data(_) | Event::EndOfData => {}
                Event::Pdu(Pdu::ReleaseRq) => {
                    self.ended = true;
                    self.sender.pdu(&Pdu::ReleaseRp).await?;
                    return Ok(None);
                }
                Event::Pdu(Pdu::Abort(abort)) => return Err(Error::Aborted(abort)),
                other @ Event::Pdu(_) => return Err(out_of_order(&other).into()),
            }
        }
    }

    /// Waits for the next piece of the current data set; `None` at its end, or if there is none.
    ///
    /// Pieces share one buffer of the connection: keep them for as long as needed, copy what is small and kept for long.
    /// Nothing more is read from the network until this is called again. Cancel safe.
    ///
    /// # Errors
    /// As for [`Association::next`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if self.receiver.has_stashed() || !self.receiver.decoder.in_data() {
            return Ok(None);
        }
        let result = self.receiver.chunk().await;
        self.settle(result).await
    }

    /// Reads the rest of the current data set and forgets it.
    ///
    /// # Errors
    /// As for [`Association::next`].
    pub async fn drain(&mut self) -> Result<()> {
        while self.chunk().await?.is_some() {}
        Ok(())
    }

    /// Reads a whole data set into memory, for those that are small by nature (identifiers of C-FIND and the like).
    ///
    /// # Errors
    /// As for [`Association::next`]; `None` if it is longer than `max_bytes` (the rest has been read and forgotten).
    pub async fn collect(&mut self, max_bytes: usize) -> Result<Option<Bytes>> {
        let mut whole = Vec::new();
        let mut fits = true;
        while let Some(piece) = self.chunk().await? {
            fits = fits && whole.len() + piece.len() <= max_bytes;
            if fits {
                whole.extend_from_slice(&piece);
            }
        }
        Ok(fits.then(|| Bytes::from(whole)))
    }

    /// Whether a C-CANCEL of request `message_id` has arrived. Does not wait; to be asked between two responses.
    /// Anything else that arrived is kept for [`Association::next`].
    ///
    /// # Errors
    /// As for [`Association::next`]; an abort of the peer is seen at once.
    pub async fn cancel_requested(&mut self, message_id: u16) -> Result<bool> {
        if self.receiver.has_stashed() || self.receiver.decoder.in_data() {
            return Ok(false);
        }
        let result = self.receiver.event_now().await;
        match self.settle(result).await? {
            Some(Event::Command { command: Command::Request(request), has_data: false, .. })
                if request.operation == Operation::Cancel =>
            {
                Ok(request.message_id == message_id)
            }
            Some(Event::Pdu(Pdu::Abort(abort))) => {
                self.ended = true;
                Err(Error::Aborted(abort))
            }
            Some(other) => {
                self.receiver.stash(other);
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// Sends a message without data set.
    ///
    /// # Errors
    /// `Io`, `WriteTimeout`, `Broken`.
    pub async fn send(&mut self, context_id: u8, command: &Command) -> Result<()> {
        self.sender.command(context_id, command, false)?;
        self.sender.flush().await
    }

    /// Sends a message with a data set that is in memory, in one write if it is small.
    ///
    /// # Errors
    /// `Io`, `WriteTimeout`, `Broken`.
    pub async fn send_with_data(&mut self, context_id: u8, command: &Command, data: &[u8]) -> Result<()> {
        let mut body = self.begin_data(context_id, command)?;
        body.write(data).await?;
        body.finish().await
    }

    /// Begins a message whose data set is sent piece by piece.
    ///
    /// # Errors
    /// `Broken`.
    pub fn begin_data(&mut self, context_id: u8, command: &Command) -> Result<DataSender<'_>> {
        self.sender.command(context_id, command, true)?;
        Ok(self.sender.data(context_id))
    }

    /// Sends a message whose data set is read from `source`, in constant memory. Returns the bytes of the data set.
    ///
    /// # Errors
    /// `Source` if reading fails (the association must then be aborted); `Io`, `WriteTimeout`, `Broken`.
    pub async fn send_from(
        &mut self,
        context_id: u8,
        command: &Command,
        source: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64> {
        let mut body = self.begin_data(context_id, command)?;
        let total = body.write_from(source).await?;
        body.finish().await?;
        Ok(total)
    }

    /// Answers a request without data set.
    ///
    /// # Errors
    /// `Io`, `WriteTimeout`, `Broken`.
    pub async fn respond(&mut self, context_id: u8, response: Response) -> Result<()> {
        self.send(context_id, &Command::Response(response)).await
    }

    /// Waits for the response to `request`. Anything else is a violation.
    ///
    /// # Errors
    /// As for [`Association::next`]; `Released` if the peer released instead.
    pub async fn response(&mut self, request: &Request) -> Result<Response> {
        let Some(incoming) = self.next().await? else { return Err(Error::Released) };
        match incoming.command {
            Command::Response(response)
                if response.message_id == request.message_id
                    && response.command_field == request.operation.command_field() | 0x8000 =>
            {
                Ok(response)
            }
            _ => self.settle(Err(ProtocolError::unexpected("a message that is not the awaited response").into())).await,
        }
    }

    /// Releases the association and closes the connection; also when the peer wants to do so at the same moment (PS3.8 9.2.3).
    ///
    /// # Errors
    /// `ReadTimeout` if the peer does not confirm; otherwise as for [`Association::next`].
    pub async fn release(mut self) -> Result<()> {
        if self.ended {
            self.close().await;
            return Ok(());
        }
        let result = self.release_handshake().await;
        self.settle(result).await?;
        Ok(())
    }

    async fn release_handshake(&mut self) -> Result<()> {
        self.sender.pdu(&Pdu::ReleaseRq).await?;
        let mut confirm_later = false;
        loop {
            match self.receiver.event_within(self.artim).await? {
                Event::Pdu(Pdu::ReleaseRp) => break,
                Event::Pdu(Pdu::ReleaseRq) if self.role == Role::Requestor => self.sender.pdu(&Pdu::ReleaseRp).await?,
                Event::Pdu(Pdu::ReleaseRq) => confirm_later = true,
                Event::Pdu(Pdu::Abort(abort)) => return Err(Error::Aborted(abort)),
                other @ Event::Pdu(_) => return Err(out_of_order(&other).into()),
                // Messages that were under way are of no interest any more.
                Event::Command { .. } | Event::Data(_) | Event::EndOfData => {}
            }
        }
        if confirm_later {
            self.sender.pdu(&Pdu::ReleaseRp).await?;
        }
        Ok(())
    }

    /// Waits (at most [`crate::Limits::artim`]) for the peer to close after it released the association.
    pub async fn close(mut self) {
        self.receiver.discard(self.artim).await;
    }

    /// Aborts the association on behalf of the application.
    pub async fn abort(mut self) {
        self.end(Abort::ServiceUser).await;
    }

    /// Ends the association if `result` says that it cannot go on, telling the peer if it may not know.
    async fn settle<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            match error {
                Error::Protocol(violation) => self.end(Abort::ServiceProvider(violation.reason)).await,
                Error::ReadTimeout => self.end(Abort::ServiceProvider(AbortReason::NotSpecified)).await,
                _ => self.ended = true,
            }
        }
        result
    }

    async fn end(&mut self, abort: Abort) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        abort_connection(&mut self.receiver, &mut self.sender, abort).await;
    }
}

/// Sends an A-ABORT and gives the peer a moment to read it.
pub(crate) async fn abort_connection(receiver: &mut Receiver, sender: &mut Sender, abort: Abort) {
    if sender.abort(&Pdu::Abort(abort), ABORT_LINGER).await.is_ok() {
        receiver.discard(ABORT_LINGER).await;
    }
}

/// Ends a connection on which the peer broke the protocol before an association was established.
pub(crate) async fn abort_violation(mut receiver: Receiver, mut sender: Sender, violation: ProtocolError) -> Error {
    abort_connection(&mut receiver, &mut sender, Abort::ServiceProvider(violation.reason)).await;
    violation.into()
}
