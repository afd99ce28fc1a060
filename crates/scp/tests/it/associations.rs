//! Who gets in, with what.

use std::time::Duration;

use dimse::{Error, Rejection, Status};
use engine::EngineConfig;
use scp::{ScpConfig, TransferSyntaxGroup, accepted_transfer_syntaxes};

use crate::support::{CT, EXPLICIT, IMPLICIT, JPEG, PRIVATE, Server, connector, item, modality, object};

/// Connects with these AE titles: how is it refused?
async fn check_refused(server: &Server, calling: &str, called: &str, expected: Option<Rejection>) {
    let mut connector = connector();
    (connector.calling_aet, connector.called_aet) = (calling.to_owned(), called.to_owned());
    match (connector.connect(server.scp.local_addr()).await, expected) {
        (Ok(association), None) => association.release().await.unwrap(),
        (Err(Error::Rejected(rejection)), Some(expected)) => assert_eq!(rejection, expected, "{calling} calls {called}"),
        (Ok(_), Some(_)) => panic!("{calling} calls {called} and gets in"),
        (Err(error), _) => panic!("{calling} calls {called}: {error}"),
    }
}

#[tokio::test]
async fn the_called_aet_is_checked_if_configured() {
    let unchecked = Server::start(ScpConfig::default()).await;
    check_refused(&unchecked, "SCU", "ANY", None).await;
    let checked = Server::start(ScpConfig { check_called_aet: true, ..ScpConfig::default() }).await;
    check_refused(&checked, "SCU", "ANY", Some(Rejection::CALLED_AET_NOT_RECOGNIZED)).await;
    check_refused(&checked, "SCU", "Orthanc", None).await;
    let strict = ScpConfig { check_called_aet: true, strict_aet_comparison: true, ..ScpConfig::default() };
    let strict = Server::start(strict).await;
    check_refused(&strict, "SCU", "Orthanc", Some(Rejection::CALLED_AET_NOT_RECOGNIZED)).await;
    check_refused(&strict, "SCU", "ORTHANC", None).await;
}

fn closed() -> ScpConfig {
    ScpConfig { always_allow_echo: false, always_allow_store: false, ..ScpConfig::default() }
}

#[tokio::test]
async fn only_known_modalities_get_in_if_nothing_is_open_to_all() {
    let modalities = [modality("KNOWN", "127.0.0.1", true, false), modality("AWAY", "192.0.2.1", true, true)];
    let engine = || EngineConfig { modalities: Some(modalities.clone().into()), ..EngineConfig::default() };
    let server = Server::with_engine(closed(), engine()).await;
    check_refused(&server, "STRANGER", "ORTHANC", Some(Rejection::CALLING_AET_NOT_RECOGNIZED)).await;
    check_refused(&server, "AWAY", "ORTHANC", None).await;
    let by_host = Server::with_engine(ScpConfig { check_modality_host: true, ..closed() }, engine()).await;
    check_refused(&by_host, "AWAY", "ORTHANC", Some(Rejection::CALLING_AET_NOT_RECOGNIZED)).await;
    check_refused(&by_host, "KNOWN", "ORTHANC", None).await;

    let mut connector = connector();
    connector.calling_aet = "known".to_owned();
    let mut scu = connector.connect(server.scp.local_addr()).await.unwrap();
    assert_eq!(scu.echo().await.unwrap().status, Status::SUCCESS);
    let sent = object(CT, "1.2.3", 10);
    assert_eq!(scu.store(&item(CT, "1.2.3"), &mut &sent[..]).await.unwrap().status, Status::NOT_AUTHORIZED);
    assert_eq!(server.stored.file("1.2.3").await, None);
    scu.release().await.unwrap();
}

#[tokio::test]
async fn an_open_echo_does_not_open_the_store() {
    let server = Server::start(ScpConfig { always_allow_store: false, ..ScpConfig::default() }).await;
    let mut scu = server.connect().await;
    assert_eq!(scu.echo().await.unwrap().status, Status::SUCCESS);
    let sent = object(CT, "1.2.3", 10);
    assert_eq!(scu.store(&item(CT, "1.2.3"), &mut &sent[..]).await.unwrap().status, Status::NOT_AUTHORIZED);
}

/// The transfer syntax that a proposal ends up with.
async fn negotiated(server: &Server, sop_class: &str, offered: &[&str]) -> Option<String> {
    let connector = connector().propose(sop_class, offered);
    let scu = connector.connect(server.scp.local_addr()).await.unwrap();
    let id = u8::try_from(2 * connector.contexts.len() - 1).unwrap();
    let chosen = scu.context(id).map(|context| context.transfer_syntax.clone());
    scu.release().await.unwrap();
    chosen
}

#[tokio::test]
async fn transfer_syntaxes_and_sop_classes_follow_the_configuration() {
    let all = Server::start(ScpConfig::default()).await;
    assert_eq!(negotiated(&all, CT, &[JPEG, IMPLICIT]).await.as_deref(), Some(JPEG));
    assert_eq!(negotiated(&all, PRIVATE, &[IMPLICIT]).await, None);
    let no_jpeg = accepted_transfer_syntaxes(&["*".to_owned()], &[(TransferSyntaxGroup::Jpeg, false)]);
    let config = ScpConfig { accepted_transfer_syntaxes: no_jpeg, unknown_sop_class_accepted: true, ..ScpConfig::default() };
    let some = Server::start(config).await;
    assert_eq!(negotiated(&some, CT, &[JPEG, IMPLICIT]).await.as_deref(), Some(IMPLICIT));
    assert_eq!(negotiated(&some, CT, &[JPEG]).await, None);
    assert_eq!(negotiated(&some, PRIVATE, &[IMPLICIT]).await.as_deref(), Some(IMPLICIT));
}

#[tokio::test]
async fn settings_change_while_the_server_runs() {
    let server = Server::start(ScpConfig::default()).await;
    server.accept_only(&[EXPLICIT], true).await;
    assert_eq!(negotiated(&server, CT, &[JPEG, IMPLICIT, EXPLICIT]).await.as_deref(), Some(EXPLICIT));
    assert_eq!(negotiated(&server, PRIVATE, &[EXPLICIT]).await.as_deref(), Some(EXPLICIT));
    server.accept_only(&[JPEG, IMPLICIT], false).await;
    assert_eq!(negotiated(&server, CT, &[JPEG, IMPLICIT, EXPLICIT]).await.as_deref(), Some(JPEG));
    assert_eq!(negotiated(&server, PRIVATE, &[IMPLICIT]).await, None);
}

#[tokio::test]
async fn one_association_too_many_is_told_so() {
    let server = Server::start(ScpConfig { max_associations: 2, ..ScpConfig::default() }).await;
    let first = server.connect().await;
    let mut second = server.connect().await;
    check_refused(&server, "SCU", "ORTHANC", Some(Rejection::LOCAL_LIMIT_EXCEEDED)).await;
    assert_eq!(second.echo().await.unwrap().status, Status::SUCCESS);
    // The place is free once the server has seen the end of the connection, which is after the release was confirmed.
    first.release().await.unwrap();
    let again = async {
        loop {
            match connector().connect(server.scp.local_addr()).await {
                Ok(association) => return association,
                Err(Error::Rejected(Rejection::LOCAL_LIMIT_EXCEEDED)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), again).await.unwrap().release().await.unwrap();
    second.release().await.unwrap();
}

#[tokio::test]
async fn a_silent_peer_is_aborted() {
    let server = Server::start(ScpConfig { idle_timeout: Some(Duration::from_millis(100)), ..ScpConfig::default() }).await;
    let mut scu = server.connect().await;
    assert!(matches!(scu.next().await, Err(Error::Aborted(_))));
}

#[tokio::test]
async fn garbage_hurts_nobody() {
    use tokio::io::AsyncWriteExt;
    let server = Server::start(ScpConfig::default()).await;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[1, 0, 0xFF, 0xFF, 0xFF, 0xFF], &[4, 0, 0xFF, 0xFF, 0xFF, 0xFF], &[]] {
        let mut stream = tokio::net::TcpStream::connect(server.scp.local_addr()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
    }
    let mut scu = server.connect().await;
    assert_eq!(scu.echo().await.unwrap().status, Status::SUCCESS);
}
