//! Requests that an SCU makes: C-ECHO, C-FIND and C-STORE.

use tokio::io::AsyncRead;

use crate::association::Association;
use crate::command::{Command, Operation, Priority, Request, Response};
use crate::error::{Error, Result};
use crate::uids::VERIFICATION;

/// What a C-STORE sends, apart from the data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreItem {
    /// SOP class UID.
    pub sop_class: String,
    /// SOP instance UID.
    pub sop_instance: String,
    /// Transfer syntax UID of the data set as it is; a presentation context with it must have been accepted.
    pub transfer_syntax: String,
    /// The C-MOVE that caused this: AE title of its requestor, and its message ID.
    pub move_originator: Option<(String, u16)>,
}

impl Association {
    /// Number of the accepted presentation context for a SOP class and a transfer syntax (`None`: any).
    pub fn find_context(&self, sop_class: &str, transfer_syntax: Option<&str>) -> Option<u8> {
        self.contexts()
            .iter()
            .find(|c| c.abstract_syntax == sop_class && transfer_syntax.is_none_or(|ts| ts == c.transfer_syntax))
            .map(|context| context.id)
    }

    /// Sends a C-ECHO and waits for the answer.
    ///
    /// # Errors
    /// `NoContext` if Verification was not accepted; otherwise as for [`Association::response`].
    pub async fn echo(&mut self) -> Result<Response> {
        let context_id = self.find_context(VERIFICATION, None).ok_or_else(|| Error::NoContext(VERIFICATION.to_owned()))?;
        let request =
            Request { message_id: self.next_message_id(), sop_class: VERIFICATION.to_owned(), operation: Operation::Echo };
        self.send(context_id, &Command::Request(request.clone())).await?;
        self.response(&request).await
    }

    /// Sends a C-FIND with an identifier in the transfer syntax of the accepted context. To be followed by
    /// [`Association::response`], as long as the status is pending; [`Association::collect`] reads a match.
    ///
    /// # Errors
    /// `NoContext`: nothing was sent. `Io`, `WriteTimeout`, `Broken`.
    pub async fn find(&mut self, sop_class: &str, identifier: &[u8]) -> Result<Request> {
        let context_id = self.find_context(sop_class, None).ok_or_else(|| Error::NoContext(sop_class.to_owned()))?;
        let request = Request {
            message_id: self.next_message_id(),
            sop_class: sop_class.to_owned(),
            operation: Operation::Find { priority: Priority::Medium },
        };
        self.send_with_data(context_id, &Command::Request(request.clone()), identifier).await?;
        Ok(request)
    }

    /// Sends a C-STORE whose data set (without Part 10 preamble and meta header) is read from `source`, and waits for the answer.
    ///
    /// # Errors
    /// `NoContext`: nothing was sent. `Source`: abort the association. Otherwise as for [`Association::response`].
    pub async fn store(&mut self, item: &StoreItem, source: &mut (dyn AsyncRead + Send + Unpin)) -> Result<Response> {
        let context_id = self
            .find_context(&item.sop_class, Some(&item.transfer_syntax))
            .ok_or_else(|| Error::NoContext(format!("{} in {}", item.sop_class, item.transfer_syntax)))?;
        let request = Request {
            message_id: self.next_message_id(),
            sop_class: item.sop_class.clone(),
            operation: Operation::Store {
                sop_instance: item.sop_instance.clone(),
                priority: Priority::Medium,
                move_originator: item.move_originator.clone(),
            },
        };
        self.send_from(context_id, &Command::Request(request.clone()), source).await?;
        self.response(&request).await
    }
}
