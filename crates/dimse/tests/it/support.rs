//! Connections and raw peers for the tests.

use std::time::Duration;

use dimse::{Association, Choice, Connector, Limits, RequestedAssociation, Transport, VERIFICATION};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub const IMPLICIT: &str = "1.2.840.10008.1.2";
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const JPEG: &str = "1.2.840.10008.1.2.4.50";

pub fn limits() -> Limits {
    Limits { artim: Duration::from_secs(5), idle: Some(Duration::from_secs(5)), ..Limits::default() }
}

/// Two ends of one TCP connection on the loopback interface.
pub async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, server) = tokio::join!(client, listener.accept());
    (client.unwrap(), server.unwrap().0)
}

pub fn connector() -> Connector {
    let mut connector = Connector::new("SCU", "SCP").propose(VERIFICATION, &[IMPLICIT]).propose(CT, &[EXPLICIT, IMPLICIT]);
    connector.limits = limits();
    connector
}

/// An established association over TCP: requestor and acceptor.
pub async fn pair(connector: Connector, acceptor: Limits) -> (Association, Association) {
    let (client, server) = tcp_pair().await;
    pair_over(Transport::tcp(client).unwrap(), Transport::tcp(server).unwrap(), connector, acceptor).await
}

/// An established association over any two ends of a connection.
pub async fn pair_over(
    client: Transport,
    server: Transport,
    connector: Connector,
    acceptor: Limits,
) -> (Association, Association) {
    let accept = async {
        let requested = RequestedAssociation::receive(server, acceptor).await.unwrap();
        requested.accept(|context| Choice::first_of(context, &[EXPLICIT, IMPLICIT]), None).await.unwrap()
    };
    let (scu, scp) = tokio::join!(connector.negotiate(client), accept);
    (scu.unwrap(), scp)
}

/// A PDU with this type and body.
pub fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0];
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// The body of a P-DATA-TF PDU with one fragment.
pub fn pdv(context_id: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 + 2).to_be_bytes().to_vec();
    bytes.extend([context_id, flags]);
    bytes.extend(payload);
    bytes
}

/// A whole A-ASSOCIATE-RQ with these contexts: `(id, abstract syntax)`.
pub fn associate_rq(contexts: &[(u8, &str)]) -> Vec<u8> {
    let item = |kind: u8, content: &[u8]| {
        let mut bytes = vec![kind, 0];
        bytes.extend((content.len() as u16).to_be_bytes());
        bytes.extend(content);
        bytes
    };
    let mut body = vec![0, 1, 0, 0];
    body.extend(b"SCP             SCU             ");
    body.extend([0; 32]);
    body.extend(item(0x10, b"1.2.840.10008.3.1.1.1"));
    for (id, sop_class) in contexts {
        let mut context = vec![*id, 0, 0, 0];
        context.extend(item(0x30, sop_class.as_bytes()));
        context.extend(item(0x40, IMPLICIT.as_bytes()));
        body.extend(item(0x20, &context));
    }
    body.extend(item(0x50, &item(0x51, &16384_u32.to_be_bytes())));
    pdu(1, &body)
}

/// Reads one PDU: its type and body.
pub async fn read_pdu(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 6];
    stream.read_exact(&mut header).await.unwrap();
    let mut body = vec![0; u32::from_be_bytes([header[2], header[3], header[4], header[5]]) as usize];
    stream.read_exact(&mut body).await.unwrap();
    (header[0], body)
}

/// A raw peer with an established association (context 1: Verification, 3: CT), and the acceptor it talks to.
pub async fn raw_peer(acceptor: Limits) -> (TcpStream, Association) {
    let (mut client, server) = tcp_pair().await;
    client.write_all(&associate_rq(&[(1, VERIFICATION), (3, CT)])).await.unwrap();
    let requested = RequestedAssociation::receive(Transport::tcp(server).unwrap(), acceptor).await.unwrap();
    let scp = requested.accept(|context| Choice::first_of(context, &[IMPLICIT]), None).await.unwrap();
    let (kind, _) = read_pdu(&mut client).await;
    assert_eq!(kind, 2);
    (client, scp)
}
