//! The requestor's side of opening an association.

use std::time::Duration;

use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

use crate::association::{Association, Peer, PresentationContext, Role, abort_violation};
use crate::decoder::Event;
use crate::error::{Error, ProtocolError, Result};
use crate::pdu::{
    AssociateAc, AssociateRq, ContextResult, MAX_CONTEXTS, Pdu, ProposedContext, RoleSelection, UserIdentity, UserInformation,
};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::transport::{Limits, Transport};
use crate::uids::{APPLICATION_CONTEXT, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};

/// How to open an association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// Our AE title.
    pub calling_aet: String,
    /// AE title of the peer.
    pub called_aet: String,
    /// SOP class UIDs and for each the transfer syntax UIDs to propose; each becomes one presentation context.
    pub contexts: Vec<(String, Vec<String>)>,
    /// Roles other than the default, as for C-GET.
    pub roles: Vec<RoleSelection>,
    /// Who we are, for peers that want to know.
    pub identity: Option<UserIdentity>,
    /// Longest wait for the TCP connection.
    pub connect_timeout: Duration,
    /// Sizes and times.
    pub limits: Limits,
}

impl Connector {
    /// A connector between two AE titles that proposes nothing yet.
    pub fn new(calling_aet: impl Into<String>, called_aet: impl Into<String>) -> Self {
        Self {
            calling_aet: calling_aet.into(),
            called_aet: called_aet.into(),
            contexts: Vec::new(),
            roles: Vec::new(),
            identity: None,
            connect_timeout: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }

    /// The same connector with one more presentation context.
    #[must_use]
    pub fn propose(mut self, sop_class: &str, transfer_syntaxes: &[&str]) -> Self {
        self.contexts.push((sop_class.to_owned(), transfer_syntaxes.iter().map(|&ts| ts.to_owned()).collect()));
        self
    }

    /// Connects over TCP and negotiates.
    ///
    /// # Errors
    /// `Rejected` if the peer refuses; `ReadTimeout`, `Io`, `Protocol`, `Aborted`, `Closed`; `Unencodable`.
    pub async fn connect(&self, addr: impl ToSocketAddrs) -> Result<Association> {
        let stream = timeout(self.connect_timeout, TcpStream::connect(addr)).await.map_err(|_| Error::ReadTimeout)??;
        self.negotiate(Transport::tcp(stream)?).await
    }

    /// Negotiates on a connection that is open already.
    ///
    /// # Errors
    /// As for [`Connector::connect`].
    pub async fn negotiate(&self, transport: Transport) -> Result<Association> {
        let request = self.request()?;
        let Transport { read, write, peer_addr: addr } = transport;
        let mut receiver = Receiver::new(read, self.limits.announced_pdu(), self.limits.idle);
        let mut sender = Sender::new(write, self.limits.write);
        let proposed = request.contexts.clone();
        sender.pdu(&Pdu::AssociateRq(Box::new(request))).await?;
        let ac = match receiver.event_within(self.limits.artim).await {
            Ok(Event::Pdu(Pdu::AssociateAc(ac))) => *ac,
            Ok(Event::Pdu(Pdu::AssociateRj(rejection))) => return Err(Error::Rejected(rejection)),
            Ok(Event::Pdu(Pdu::Abort(abort))) => return Err(Error::Aborted(abort)),
            Ok(_) => {
                let violation = ProtocolError::unexpected("not an answer to an association request");
                return Err(abort_violation(receiver, sender, violation).await);
            }
            Err(Error::Protocol(violation)) => return Err(abort_violation(receiver, sender, violation).await),
            Err(other) => return Err(other),
        };
        let contexts = match accepted(&proposed, &ac) {
            Ok(contexts) => contexts,
            Err(violation) => return Err(abort_violation(receiver, sender, violation).await),
        };
        let peer = Peer {
            addr,
            calling_aet: self.calling_aet.clone(),
            called_aet: self.called_aet.clone(),
            implementation_uid: ac.user.implementation_uid,
            implementation_version: ac.user.implementation_version,
            max_pdu: ac.user.max_pdu,
            identity: None,
            identity_response: ac.user.identity_response,
        };
        Ok(Association::new(receiver, sender, peer, contexts, Role::Requestor, self.limits.artim))
    }

    fn request(&self) -> Result<AssociateRq> {
        if self.contexts.len() > MAX_CONTEXTS {
            return Err(Error::Unencodable("at most 128 presentation contexts"));
        }
        let ids = (1..=u8::MAX).step_by(2);
        let contexts = ids.zip(&self.contexts).map(|(id, (sop_class, transfer_syntaxes))| ProposedContext {
            id,
            abstract_syntax: sop_class.clone(),
            transfer_syntaxes: transfer_syntaxes.clone(),
        });
        Ok(AssociateRq {
            protocol_version: 1,
            called_aet: self.called_aet.clone(),
            calling_aet: self.calling_aet.clone(),
            application_context: APPLICATION_CONTEXT.to_owned(),
            contexts: contexts.collect(),
            user: UserInformation {
                max_pdu: self.limits.announced_pdu(),
                implementation_uid: IMPLEMENTATION_CLASS_UID.to_owned(),
                implementation_version: IMPLEMENTATION_VERSION_NAME.to_owned(),
                roles: self.roles.clone(),
                identity: self.identity.clone(),
                ..UserInformation::default()
            },
        })
    }
}

/// Matches the answers with the proposals. A peer may only choose what was proposed.
fn accepted(proposed: &[ProposedContext], ac: &AssociateAc) -> std::result::Result<Vec<PresentationContext>, ProtocolError> {
    let mut contexts = Vec::new();
    for answer in ac.contexts.iter().filter(|answer| answer.result == ContextResult::Acceptance) {
        let context = proposed
            .iter()
            .find(|context| context.id == answer.id)
            .ok_or(ProtocolError::invalid("an accepted presentation context that was not proposed"))?;
        if !context.transfer_syntaxes.contains(&answer.transfer_syntax) {
            return Err(ProtocolError::invalid("an accepted transfer syntax that was not proposed"));
        }
        let role = ac.user.roles.iter().find(|role| role.sop_class == context.abstract_syntax);
        contexts.push(PresentationContext {
            id: context.id,
            abstract_syntax: context.abstract_syntax.clone(),
            transfer_syntax: answer.transfer_syntax.clone(),
            requestor_is_scu: role.is_none_or(|role| role.scu),
            requestor_is_scp: role.is_some_and(|role| role.scp),
        });
    }
    Ok(contexts)
}
