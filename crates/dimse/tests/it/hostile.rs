//! Peers that break the protocol, stall, or announce more than they may.

use std::time::Duration;

use dimse::{Error, Limits, RequestedAssociation, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{CT, associate_rq, connector, limits, pair, pdu, pdv, raw_peer, read_pdu, tcp_pair};

const ECHO: &[u8] = &[
    0, 0, 0, 1, 2, 0, 0, 0, 0x30, 0, // command field
    0, 0, 0x10, 1, 2, 0, 0, 0, 1, 0, // message ID
    0, 0, 0, 8, 2, 0, 0, 0, 1, 1, // no data set
];
const ECHO_WITH_DATA: &[u8] = &[
    0, 0, 0, 1, 2, 0, 0, 0, 0x30, 0, //
    0, 0, 0x10, 1, 2, 0, 0, 0, 1, 0, //
    0, 0, 0, 8, 2, 0, 0, 0, 0, 0,
];

/// Sends `bytes` on an established association: it must end with an A-ABORT of the upper layer for this reason.
async fn check_abort(bytes: Vec<u8>, reason: u8) {
    let (mut client, mut scp) = raw_peer(limits()).await;
    client.write_all(&bytes).await.unwrap();
    let scp = async {
        loop {
            match scp.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("not noticed"),
                Err(Error::Protocol(_)) => return,
                Err(other) => panic!("{other}"),
            }
        }
    };
    let client = async {
        let (kind, body) = read_pdu(&mut client).await;
        drop(client);
        assert_eq!((kind, body), (7, vec![0, 0, 2, reason]));
    };
    tokio::join!(scp, client);
}

#[tokio::test]
async fn violations_are_aborted_with_their_reason() {
    for (bytes, reason) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 1),
        (pdu(4, &pdv(1, 2, b"data")), 2), // data without command
        (pdu(4, &pdv(5, 3, ECHO)), 6),    // context that was not accepted
        ([pdu(4, &pdv(1, 3, ECHO_WITH_DATA)), pdu(4, &pdv(3, 2, b"x"))].concat(), 2), // context changed
        ([pdu(4, &pdv(1, 3, ECHO_WITH_DATA)), pdu(4, &pdv(1, 3, ECHO))].concat(), 2), // command within data
        ([pdu(4, &pdv(1, 1, &ECHO[..10])), pdu(4, &pdv(1, 2, b"x"))].concat(), 2), // data within command
        (pdu(4, &pdv(1, 3, &ECHO[..25])), 6), // cut command
        (pdu(4, &pdv(1, 3, &ECHO[..20])), 6), // no data set type
        (pdu(4, &[0, 0, 0, 1, 1]), 6),    // fragment header cut
        (pdu(4, &[0, 0, 0, 1, 1, 3]), 6), // fragment of one byte
        (pdu(4, &[0xFF, 0xFF, 0xFF, 0xFF, 1, 3]), 6), // fragment of 4 GiB
        (vec![4, 0, 0xFF, 0xFF, 0xFF, 0xFF], 6), // PDU of 4 GiB
        (vec![5, 0, 0xFF, 0xFF, 0xFF, 0xFF], 6), // release of 4 GiB
        (pdu(6, &[0; 4]), 2),             // release confirmed, not asked
        (associate_rq(&[(1, CT)]), 2),    // second request
        (pdu(4, &[pdv(1, 1, &[0; 16000])].concat()).repeat(5), 6), // endless command
    ] {
        check_abort(bytes, reason).await;
    }
}

/// Sends `bytes` in place of a request: it must be answered with an A-ABORT for this reason.
async fn check_bad_request(bytes: Vec<u8>, reason: u8) {
    let (mut client, server) = tcp_pair().await;
    client.write_all(&bytes).await.unwrap();
    let client = async {
        let (kind, body) = read_pdu(&mut client).await;
        drop(client);
        assert_eq!((kind, body), (7, vec![0, 0, 2, reason]));
    };
    let (requested, ()) = tokio::join!(RequestedAssociation::receive(Transport::tcp(server).unwrap(), limits()), client);
    assert!(matches!(requested.err(), Some(Error::Protocol(_))));
}

#[tokio::test]
async fn bad_requests_are_aborted() {
    let all: Vec<(u8, &str)> = (1..=255).step_by(2).map(|id| (id, CT)).collect();
    let too_many = [&all[..], &[(1, CT)]].concat();
    for (bytes, reason) in [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01".to_vec(), 1), // TLS
        (vec![1, 0, 0xFF, 0xFF, 0xFF, 0xFF], 6),
        (associate_rq(&too_many), 6),
        (associate_rq(&[(2, CT)]), 6),
        (associate_rq(&[(3, CT), (3, CT)]), 6),
        (pdu(1, &[0, 1, 0, 0]), 6),
        (pdu(4, &pdv(1, 3, ECHO)), 2),
        (pdu(5, &[0; 4]), 2),
    ] {
        check_bad_request(bytes, reason).await;
    }
}

#[tokio::test]
async fn all_128_contexts_are_accepted() {
    let mut connector = connector();
    connector.contexts = (0..128).map(|n| (format!("1.2.{n}"), vec!["1.2.840.10008.1.2".to_owned()])).collect();
    let (scu, scp) = pair(connector.clone(), limits()).await;
    assert_eq!((scu.contexts().len(), scp.contexts().len()), (128, 128));
    connector.contexts.push(("1.2.3".to_owned(), Vec::new()));
    let (client, _server) = tcp_pair().await;
    let refused = connector.negotiate(Transport::tcp(client).unwrap()).await;
    assert!(matches!(refused.err(), Some(Error::Unencodable(_))));
}

#[tokio::test]
async fn other_protocols_are_refused() {
    let with = |at: usize, byte: u8| {
        let mut rq = associate_rq(&[(1, CT)]);
        rq[at] = byte;
        rq
    };
    // Protocol version 2 only; another application context.
    for (bytes, rejection) in [(with(7, 2), [0, 1, 2, 2]), (with(78, b'9'), [0, 1, 1, 2])] {
        let (mut client, server) = tcp_pair().await;
        client.write_all(&bytes).await.unwrap();
        let client = async {
            let (kind, body) = read_pdu(&mut client).await;
            drop(client);
            assert_eq!((kind, body), (3, rejection.to_vec()));
        };
        let (requested, ()) = tokio::join!(RequestedAssociation::receive(Transport::tcp(server).unwrap(), limits()), client);
        assert!(matches!(requested.err(), Some(Error::Rejected(_))));
    }
}

#[tokio::test]
async fn a_request_that_trickles_in_is_cut_off_by_artim() {
    let (mut client, server) = tcp_pair().await;
    let limits = Limits { artim: Duration::from_millis(300), ..limits() };
    let trickle = async {
        for byte in associate_rq(&[(1, CT)]) {
            if client.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the whole request was taken");
    };
    tokio::select! {
        result = RequestedAssociation::receive(Transport::tcp(server).unwrap(), limits) => {
            assert!(matches!(result.err(), Some(Error::ReadTimeout)));
        }
        () = trickle => {}
    }
}

#[tokio::test]
async fn half_a_pdu_and_then_silence_ends_with_an_abort() {
    let idle = Some(Duration::from_millis(200));
    let (mut client, mut scp) = raw_peer(Limits { idle, ..limits() }).await;
    let message = [pdu(4, &pdv(1, 3, ECHO_WITH_DATA)), pdu(4, &pdv(1, 2, &[0; 1000]))].concat();
    client.write_all(&message[..message.len() / 2]).await.unwrap();
    scp.next().await.unwrap().unwrap();
    let client = async {
        let (kind, body) = read_pdu(&mut client).await;
        drop(client);
        assert_eq!((kind, body), (7, vec![0, 0, 2, 0]));
    };
    let (end, ()) = tokio::join!(scp.drain(), client);
    assert!(matches!(end, Err(Error::ReadTimeout)));
}

#[tokio::test]
async fn a_connection_that_just_ends_is_an_error() {
    let (client, mut scp) = raw_peer(limits()).await;
    drop(client);
    assert!(matches!(scp.next().await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_peer_that_stops_reading_does_not_hold_us() {
    let write = Some(Duration::from_millis(200));
    let (client, mut scp) = raw_peer(Limits { write, ..limits() }).await;
    let endless = &mut tokio::io::repeat(0).take(1 << 40);
    let request = dimse::Request { message_id: 1, sop_class: CT.to_owned(), operation: dimse::Operation::Echo };
    let end = scp.send_from(3, &dimse::Command::Request(request), endless).await;
    assert!(matches!(end, Err(Error::WriteTimeout)));
    assert!(matches!(scp.send(3, &dimse::Command::Response(dimse::Response::default())).await, Err(Error::Broken)));
    drop(client);
}

/// A command set that is valid but empty of fields must not be taken for a message.
#[tokio::test]
async fn an_empty_command_is_a_violation() {
    check_abort(pdu(4, &pdv(1, 3, b"")), 6).await;
}
