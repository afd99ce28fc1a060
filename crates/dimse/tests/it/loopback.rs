//! Our requestor against our acceptor, over TCP.

use bytes::Bytes;
use dimse::{
    Association, Choice, Command, ContextResult, Error, Limits, Operation, Priority, Rejection, Request, RequestedAssociation,
    RoleSelection, Status, StoreItem, Transport, UserIdentity, VERIFICATION,
};
use proptest::prelude::*;

use crate::support::{CT, EXPLICIT, IMPLICIT, JPEG, connector, limits, pair, pair_over, tcp_pair};

fn item() -> StoreItem {
    StoreItem {
        sop_class: CT.to_owned(),
        sop_instance: "1.2.3".to_owned(),
        transfer_syntax: EXPLICIT.to_owned(),
        move_originator: None,
    }
}

/// Takes one request with its data, answers it with success, and returns what came.
async fn serve_one(scp: &mut Association) -> Option<(Request, Vec<u8>)> {
    let incoming = scp.next().await.unwrap()?;
    let Command::Request(request) = incoming.command else { panic!("not a request") };
    let mut data = Vec::new();
    while let Some(piece) = scp.chunk().await.unwrap() {
        data.extend_from_slice(&piece);
    }
    scp.respond(incoming.context_id, request.response(Status::SUCCESS)).await.unwrap();
    Some((request, data))
}

#[tokio::test]
async fn echo_then_store_then_release() {
    let (mut scu, mut scp) = pair(connector(), limits()).await;
    let sent: Vec<u8> = (0..100_000_u32).map(|n| (n / 7) as u8).collect();
    let scu = async {
        assert_eq!(scu.echo().await.unwrap().status, Status::SUCCESS);
        let response = scu.store(&item(), &mut &sent[..]).await.unwrap();
        assert_eq!((response.status, response.sop_instance.as_str()), (Status::SUCCESS, "1.2.3"));
        scu.release().await.unwrap();
    };
    let scp = async {
        let (echo, none) = serve_one(&mut scp).await.unwrap();
        assert_eq!((echo.operation, none.len()), (Operation::Echo, 0));
        let (store, data) = serve_one(&mut scp).await.unwrap();
        assert!(matches!(store.operation, Operation::Store { .. }));
        assert_eq!(serve_one(&mut scp).await, None);
        scp.close().await;
        data
    };
    let ((), data) = tokio::join!(scu, scp);
    assert!(data == sent);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Data sets of every size around the PDU borders arrive as they were sent.
    #[test]
    fn data_sets_of_any_size(sizes in proptest::collection::vec(0..70_000_usize, 1..5), ours in 0..140_000_u32, theirs in 0..140_000_u32) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connector = connector();
            connector.limits.max_pdu = ours;
            let (mut scu, mut scp) = pair(connector, Limits { max_pdu: theirs, ..limits() }).await;
            for size in sizes {
                let sent: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
                let (item, mut source) = (item(), &sent[..]);
                let (response, got) = tokio::join!(scu.store(&item, &mut source), serve_one(&mut scp));
                assert_eq!(response.unwrap().status, Status::SUCCESS);
                assert!(got.unwrap().1 == sent);
            }
        });
    }
}

#[tokio::test]
async fn what_was_negotiated_is_known_on_both_sides() {
    let mut connector = connector().propose(JPEG, &[JPEG]);
    connector.roles = vec![RoleSelection { sop_class: CT.to_owned(), scu: true, scp: true }];
    connector.limits.max_pdu = 32_768;
    let (scu, scp) = pair(connector, Limits { max_pdu: 65_536, ..limits() }).await;
    assert_eq!((scu.peer().max_pdu, scp.peer().max_pdu), (65_536, 32_768));
    assert_eq!((scp.peer().calling_aet.as_str(), scp.peer().called_aet.as_str()), ("SCU", "SCP"));
    assert_eq!(scp.peer().implementation_uid, dimse::IMPLEMENTATION_CLASS_UID);
    assert_eq!(scu.peer().implementation_version, dimse::IMPLEMENTATION_VERSION_NAME);
    assert_eq!(scu.contexts(), scp.contexts());
    let (verification, ct) = (scp.context(1).unwrap(), scp.context(3).unwrap());
    assert_eq!((verification.requestor_is_scu, verification.requestor_is_scp), (true, false));
    assert_eq!((ct.requestor_is_scu, ct.requestor_is_scp, ct.transfer_syntax.as_str()), (true, true, EXPLICIT));
    assert_eq!(scp.context(5), None);
    assert_eq!(scu.find_context(CT, Some(IMPLICIT)), None);
}

#[tokio::test]
async fn a_refused_association_says_why() {
    let (client, server) = tcp_pair().await;
    let reject = async {
        let requested = RequestedAssociation::receive(Transport::tcp(server).unwrap(), limits()).await.unwrap();
        requested.reject(Rejection::CALLED_AET_NOT_RECOGNIZED).await.unwrap();
    };
    let connector = connector();
    let (refused, ()) = tokio::join!(connector.negotiate(Transport::tcp(client).unwrap()), reject);
    assert!(matches!(refused, Err(Error::Rejected(Rejection::CALLED_AET_NOT_RECOGNIZED))));
}

#[tokio::test]
async fn contexts_are_refused_one_by_one() {
    let (client, server) = tcp_pair().await;
    let accept = async {
        let requested = RequestedAssociation::receive(Transport::tcp(server).unwrap(), limits()).await.unwrap();
        let choose = |context: &dimse::ProposedContext| match context.abstract_syntax.as_str() {
            VERIFICATION => Choice::Refuse(ContextResult::AbstractSyntaxNotSupported),
            _ => Choice::first_of(context, &[IMPLICIT]),
        };
        requested.accept(choose, None).await.unwrap()
    };
    let connector = connector();
    let (scu, scp) = tokio::join!(connector.negotiate(Transport::tcp(client).unwrap()), accept);
    let mut scu = scu.unwrap();
    assert_eq!(scu.contexts().iter().map(|c| (c.id, c.transfer_syntax.as_str())).collect::<Vec<_>>(), [(3, IMPLICIT)]);
    assert_eq!(scu.contexts(), scp.contexts());
    assert!(matches!(scu.echo().await, Err(Error::NoContext(_))));
}

#[tokio::test]
async fn a_user_identity_is_answered_if_asked_for() {
    for (asked, expected) in [(true, Some(b"ticket".to_vec())), (false, None)] {
        let (client, server) = tcp_pair().await;
        let mut request = connector();
        let identity = UserIdentity { kind: 1, response_requested: asked, primary: b"user".to_vec(), secondary: Vec::new() };
        request.identity = Some(identity.clone());
        let accept = async {
            let requested = RequestedAssociation::receive(Transport::tcp(server).unwrap(), limits()).await.unwrap();
            requested.accept(|context| Choice::first_of(context, &[IMPLICIT]), Some(b"ticket".to_vec())).await.unwrap()
        };
        let (scu, scp) = tokio::join!(request.negotiate(Transport::tcp(client).unwrap()), accept);
        assert_eq!(scp.peer().identity, Some(identity));
        assert_eq!(scu.unwrap().peer().identity_response, expected);
    }
}

#[tokio::test]
async fn a_cancel_is_seen_between_responses() {
    let (mut scu, mut scp) = pair(connector(), limits()).await;
    let find = Request { message_id: 9, sop_class: CT.to_owned(), operation: Operation::Find { priority: Priority::High } };
    scu.send_with_data(3, &Command::Request(find.clone()), b"identifier").await.unwrap();
    let incoming = scp.next().await.unwrap().unwrap();
    assert!(!scp.cancel_requested(9).await.unwrap(), "its own identifier is not a cancel");
    assert_eq!(scp.collect(100).await.unwrap(), Some(Bytes::from_static(b"identifier")));
    assert_eq!(incoming.command, Command::Request(find.clone()));
    assert!(!scp.cancel_requested(9).await.unwrap());

    let cancel = Request { message_id: 9, sop_class: String::new(), operation: Operation::Cancel };
    scu.send(3, &Command::Request(cancel)).await.unwrap();
    let mut pending = 0;
    while !scp.cancel_requested(9).await.unwrap() {
        scp.send_with_data(3, &Command::Response(find.response(Status::PENDING)), b"match").await.unwrap();
        pending += 1;
        tokio::task::yield_now().await;
    }
    scp.respond(3, find.response(Status::CANCEL)).await.unwrap();
    for _ in 0..pending {
        assert_eq!(scu.response(&find).await.unwrap().status, Status::PENDING);
        assert_eq!(scu.collect(100).await.unwrap(), Some(Bytes::from_static(b"match")));
    }
    assert_eq!(scu.response(&find).await.unwrap().status, Status::CANCEL);
}

#[tokio::test]
async fn what_comes_instead_of_a_cancel_is_not_lost() {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let nowhere = "127.0.0.1:0".parse().unwrap();
    let (mut scu, mut scp) =
        pair_over(Transport::stream(client, nowhere), Transport::stream(server, nowhere), connector(), limits()).await;
    let store = Request {
        message_id: 1,
        sop_class: CT.to_owned(),
        operation: Operation::Store { sop_instance: "1.2".to_owned(), priority: Priority::Low, move_originator: None },
    };
    scu.send_with_data(3, &Command::Request(store.clone()), b"pixels").await.unwrap();
    // The pipe holds the whole message by now, so this is where it is read.
    assert!(!scp.cancel_requested(7).await.unwrap());
    assert_eq!(scp.chunk().await.unwrap(), None);
    assert!(!scp.cancel_requested(7).await.unwrap());
    assert_eq!(scp.next().await.unwrap().unwrap().command, Command::Request(store));
    assert_eq!(scp.collect(100).await.unwrap(), Some(Bytes::from_static(b"pixels")));
}

#[tokio::test]
async fn both_sides_may_release_at_once() {
    let (scu, scp) = pair(connector(), limits()).await;
    let (scu, scp) = tokio::join!(scu.release(), scp.release());
    scu.unwrap();
    scp.unwrap();
}

#[tokio::test]
async fn an_abort_reaches_the_other_side() {
    let (scu, mut scp) = pair(connector(), limits()).await;
    let ((), end) = tokio::join!(scu.abort(), scp.next());
    assert!(matches!(end, Err(Error::Aborted(dimse::Abort::ServiceUser))));
    assert_eq!(scp.next().await.unwrap(), None);
}

#[tokio::test]
async fn an_unfinished_data_set_makes_the_association_unusable() {
    let (mut scu, _scp) = pair(connector(), limits()).await;
    let request = Request { message_id: 1, sop_class: CT.to_owned(), operation: Operation::Find { priority: Priority::Low } };
    let mut body = scu.begin_data(3, &Command::Request(request)).unwrap();
    body.write(b"half").await.unwrap();
    drop(body);
    assert!(matches!(scu.echo().await, Err(Error::Broken)));
}

#[tokio::test]
async fn unread_data_is_skipped_and_the_association_lives() {
    let (mut scu, mut scp) = pair(connector(), limits()).await;
    let sent = vec![7; 5_000_000];
    let item = item();
    let scu = async {
        let status = scu.store(&item, &mut &sent[..]).await.unwrap().status;
        assert_eq!(status, Status::CANNOT_UNDERSTAND);
        assert_eq!(scu.echo().await.unwrap().status, Status::SUCCESS);
    };
    let scp = async {
        let incoming = scp.next().await.unwrap().unwrap();
        let Command::Request(request) = incoming.command else { panic!("not a request") };
        assert!(scp.chunk().await.unwrap().is_some());
        scp.respond(incoming.context_id, request.response(Status::CANNOT_UNDERSTAND)).await.unwrap();
        serve_one(&mut scp).await.unwrap();
    };
    tokio::join!(scu, scp);
}
