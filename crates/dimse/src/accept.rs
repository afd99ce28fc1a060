//! The acceptor's side of opening an association.

use std::net::SocketAddr;

use crate::association::{Association, Peer, PresentationContext, Role, abort_violation};
use crate::decoder::Event;
use crate::error::{Error, ProtocolError, Result};
use crate::pdu::{
    AnsweredContext, AssociateAc, AssociateRq, ContextResult, Pdu, ProposedContext, Rejection, RoleSelection, UserInformation,
};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::transport::{Limits, Transport};
use crate::uids::{APPLICATION_CONTEXT, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};

/// An association that a peer asks for and that is not decided yet.
///
/// ```no_run
/// # async fn serve(stream: tokio::net::TcpStream) -> dimse::Result<()> {
/// use dimse::{Choice, Limits, RequestedAssociation, Transport};
/// let requested = RequestedAssociation::receive(Transport::tcp(stream)?, Limits::default()).await?;
/// let mut association = requested.accept(|context| Choice::first_of(context, &["1.2.840.10008.1.2"]), None).await?;
/// while let Some(incoming) = association.next().await? {
///     // read the data with `association.chunk()`, answer with `association.respond()`
/// #   let _ = incoming;
/// }
/// # Ok(()) }
/// ```
pub struct RequestedAssociation {
    request: AssociateRq,
    receiver: Receiver,
    sender: Sender,
    limits: Limits,
    peer_addr: SocketAddr,
}

/// The decision about one proposed presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Accept with this transfer syntax, which must be one of those proposed.
    Accept(String),
    /// Refuse for this reason.
    Refuse(ContextResult),
}

impl Choice {
    /// Accepts the first transfer syntax in the order of `preferred` that is proposed.
    pub fn first_of(context: &ProposedContext, preferred: &[&str]) -> Self {
        let offered = |ts: &&&str| context.transfer_syntaxes.iter().any(|proposed| proposed == **ts);
        match preferred.iter().find(offered) {
            Some(ts) => Self::Accept((*ts).to_owned()),
            None => Self::Refuse(ContextResult::TransferSyntaxesNotSupported),
        }
    }
}

impl RequestedAssociation {
    /// Waits for an A-ASSOCIATE-RQ, at most [`Limits::artim`]. A request for another protocol than DICOM's is refused.
    ///
    /// # Errors
    /// `ReadTimeout`, `Protocol` (a violation was answered with an A-ABORT), `Rejected`, `Aborted`, `Closed`, `Io`.
    pub async fn receive(transport: Transport, limits: Limits) -> Result<Self> {
        let Transport { read, write, peer_addr } = transport;
        let mut receiver = Receiver::new(read, limits.announced_pdu(), limits.idle);
        let sender = Sender::new(write, limits.write);
        let request = match receiver.event_within(limits.artim).await {
            Ok(Event::Pdu(Pdu::AssociateRq(request))) => *request,
            Ok(Event::Pdu(Pdu::Abort(abort))) => return Err(Error::Aborted(abort)),
            Ok(_) => {
                let violation = ProtocolError::unexpected("not an association request");
                return Err(abort_violation(receiver, sender, violation).await);
            }
            Err(Error::Protocol(violation)) => return Err(abort_violation(receiver, sender, violation).await),
            Err(other) => return Err(other),
        };
        let requested = Self { request, receiver, sender, limits, peer_addr };
        let rejection = if requested.request.protocol_version & 1 == 0 {
            Rejection::PROTOCOL_VERSION_NOT_SUPPORTED
        } else if requested.request.application_context != APPLICATION_CONTEXT {
            Rejection::APPLICATION_CONTEXT_NOT_SUPPORTED
        } else {
            return Ok(requested);
        };
        requested.reject(rejection).await?;
        Err(Error::Rejected(rejection))
    }

    /// What the peer asks for.
    pub fn request(&self) -> &AssociateRq {
        &self.request
    }

    /// Address of the peer.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// Refuses the association, and waits for the peer to close (at most [`Limits::artim`]).
    ///
    /// # Errors
    /// `Io`, `WriteTimeout`.
    pub async fn reject(mut self, rejection: Rejection) -> Result<()> {
        self.sender.pdu(&Pdu::AssociateRj(rejection)).await?;
        self.receiver.discard(self.limits.artim).await;
        Ok(())
    }

    /// Accepts the association; `choose` decides each presentation context.
    ///
    /// Role selections are answered as proposed for each SOP class with an accepted context (PS3.7 D.3.3.4), the
    /// asynchronous operations window with 1/1; extended negotiation is not answered, which means the default behaviour.
    /// `identity_response`: sent as the positive answer to a user identity that asks for one; `None` sends none.
    ///
    /// # Errors
    /// `Io`, `WriteTimeout`.
    pub async fn accept(
        mut self,
        mut choose: impl FnMut(&ProposedContext) -> Choice,
        identity_response: Option<Vec<u8>>,
    ) -> Result<Association> {
        let request = self.request;
        let mut contexts = Vec::new();
        let mut answers = Vec::with_capacity(request.contexts.len());
        for proposed in &request.contexts {
            let choice = choose(proposed);
            answers.push(answer(proposed, &choice));
            if let Choice::Accept(transfer_syntax) = choice {
                contexts.push(accepted(proposed, transfer_syntax, &request.user.roles));
            }
        }
        let identity_response =
            identity_response.filter(|_| request.user.identity.as_ref().is_some_and(|i| i.response_requested));
        let ac = AssociateAc {
            protocol_version: 1,
            called_aet: request.called_aet.clone(),
            calling_aet: request.calling_aet.clone(),
            application_context: APPLICATION_CONTEXT.to_owned(),
            contexts: answers,
            user: UserInformation {
                max_pdu: self.limits.announced_pdu(),
                implementation_uid: IMPLEMENTATION_CLASS_UID.to_owned(),
                implementation_version: IMPLEMENTATION_VERSION_NAME.to_owned(),
                async_window: request.user.async_window.map(|_| (1, 1)),
                roles: answered_roles(&request.user.roles, &contexts),
                identity_response,
                ..UserInformation::default()
            },
        };
        self.sender.pdu(&Pdu::AssociateAc(Box::new(ac))).await?;
        let peer = Peer {
            addr: self.peer_addr,
            calling_aet: request.calling_aet,
            called_aet: request.called_aet,
            implementation_uid: request.user.implementation_uid,
            implementation_version: request.user.implementation_version,
            max_pdu: request.user.max_pdu,
            identity: request.user.identity,
            identity_response: None,
        };
        Ok(Association::new(self.receiver, self.sender, peer, contexts, Role::Acceptor, self.limits.artim))
    }
}

fn answer(proposed: &ProposedContext, choice: &Choice) -> AnsweredContext {
    let (result, transfer_syntax) = match choice {
        Choice::Accept(ts) => (ContextResult::Acceptance, ts.clone()),
        // A transfer syntax must be there but means nothing (PS3.8 9.3.3.2).
        Choice::Refuse(reason) => (*reason, proposed.transfer_syntaxes.first().cloned().unwrap_or_default()),
    };
    AnsweredContext { id: proposed.id, result, transfer_syntax }
}

fn accepted(proposed: &ProposedContext, transfer_syntax: String, roles: &[RoleSelection]) -> PresentationContext {
    let role = roles.iter().find(|role| role.sop_class == proposed.abstract_syntax);
    PresentationContext {
        id: proposed.id,
        abstract_syntax: proposed.abstract_syntax.clone(),
        transfer_syntax,
        requestor_is_scu: role.is_none_or(|role| role.scu),
        requestor_is_scp: role.is_some_and(|role| role.scp),
    }
}

fn answered_roles(proposed: &[RoleSelection], contexts: &[PresentationContext]) -> Vec<RoleSelection> {
    let is_accepted = |role: &&RoleSelection| contexts.iter().any(|context| context.abstract_syntax == role.sop_class);
    proposed.iter().filter(is_accepted).cloned().collect()
}
