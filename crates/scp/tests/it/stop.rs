//! The graceful stop.

use std::time::Duration;

use dimse::{AssociateRq, Command, Error, Operation, Pdu, Priority, Request, Status, UserInformation};
use scp::ScpConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{CT, Server, object};

/// Longest wait for what should happen at once.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_running_store_is_finished_and_idle_associations_end() {
    let server = Server::start(ScpConfig::default()).await;
    let addr = server.scp.local_addr();
    let mut idle = server.connect().await;
    let mut busy = server.connect().await;
    let Server { scp, stored, .. } = server;
    let operation = Operation::Store { sop_instance: "1.2.3".to_owned(), priority: Priority::Medium, move_originator: None };
    let request = Request { message_id: 1, sop_class: CT.to_owned(), operation };
    // More than all buffers between the two hold: once the first part is written, the server is at work.
    let sent = object(CT, "1.2.3", 32_000_000);
    let mut body = busy.begin_data(3, &Command::Request(request.clone())).unwrap();
    body.write(&sent[..31_000_000]).await.unwrap();

    let stop = tokio::spawn(async move { scp.stop(SOON).await });
    assert!(matches!(idle.next().await, Err(Error::Aborted(_))), "an idle association is aborted");
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
    body.write(&sent[31_000_000..]).await.unwrap();
    body.finish().await.unwrap();
    assert_eq!(busy.response(&request).await.unwrap().status, Status::SUCCESS);
    assert!(matches!(busy.next().await, Err(Error::Aborted(_))));
    drop((idle, busy));
    tokio::time::timeout(SOON, stop).await.expect("stops within the grace time").unwrap();
    assert!(stored.file("1.2.3").await.is_some());
}

#[tokio::test]
async fn an_operation_that_does_not_end_is_cut_off() {
    let server = Server::start(ScpConfig::default()).await;
    let mut scu = server.connect().await;
    let operation = Operation::Store { sop_instance: "1.2.3".to_owned(), priority: Priority::Medium, move_originator: None };
    let request = Request { message_id: 1, sop_class: CT.to_owned(), operation };
    let mut body = scu.begin_data(3, &Command::Request(request)).unwrap();
    body.write(&object(CT, "1.2.3", 32_000_000)[..31_000_000]).await.unwrap();
    drop(body);
    let Server { scp, stored, .. } = server;
    let stop = tokio::spawn(async move { scp.stop(Duration::from_millis(100)).await });
    assert!(matches!(scu.next().await, Err(Error::Aborted(_))));
    drop(scu);
    tokio::time::timeout(SOON, stop).await.expect("stops soon after the grace time").unwrap();
    assert_eq!(stored.file("1.2.3").await, None);
}

#[tokio::test]
async fn peers_that_do_not_hang_up_are_not_waited_for() {
    let server = Server::start(ScpConfig { check_called_aet: true, ..ScpConfig::default() }).await;
    let request = |called_aet: &str| AssociateRq {
        protocol_version: 1,
        called_aet: called_aet.to_owned(),
        calling_aet: "SCU".to_owned(),
        application_context: dimse::APPLICATION_CONTEXT.to_owned(),
        contexts: Vec::new(),
        user: UserInformation::default(),
    };
    // One is rejected, one has released its association, one has asked for nothing yet; none closes the connection.
    let mut peers = Vec::new();
    for (pdus, answers) in [
        (vec![Pdu::AssociateRq(Box::new(request("OTHER")))], vec![3]),
        (vec![Pdu::AssociateRq(Box::new(request("ORTHANC"))), Pdu::ReleaseRq], vec![2, 6]),
        (vec![], vec![]),
    ] {
        let mut stream = TcpStream::connect(server.scp.local_addr()).await.unwrap();
        for (pdu, answer) in pdus.iter().zip(answers) {
            let mut bytes = bytes::BytesMut::new();
            pdu.encode(&mut bytes).unwrap();
            stream.write_all(&bytes).await.unwrap();
            let mut header = [0; 6];
            stream.read_exact(&mut header).await.unwrap();
            assert_eq!(header[0], answer);
            let mut body = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]]))];
            stream.read_exact(&mut body).await.unwrap();
        }
        peers.push(stream);
    }
    let Server { scp, .. } = server;
    tokio::time::timeout(SOON / 2, scp.stop(SOON)).await.expect("nothing is left to finish");
}
