//! What becomes of the objects that arrive.

use dimse::{Command, Operation, Priority, Request, Status};
use model::{ErrorKind, RequestOrigin};
use scp::ScpConfig;

use crate::support::{CT, EXPLICIT, FILTERED, PANICS, REFUSED, Server, connector, item, object};

#[tokio::test]
async fn objects_come_back_byte_by_byte() {
    let server = Server::start(ScpConfig::default()).await;
    let mut scu = server.connect().await;
    assert_eq!(scu.echo().await.unwrap().status, Status::SUCCESS);
    // Within one PDU, over many PDUs, and larger than what the engine keeps in memory.
    for (uid, pixels) in [("1.2.3.1", 100), ("1.2.3.2", 100_000), ("1.2.3.3", 3_000_000)] {
        let sent = object(CT, uid, pixels);
        let response = scu.store(&item(CT, uid), &mut &sent[..]).await.unwrap();
        assert_eq!((response.status, response.sop_instance.as_str()), (Status::SUCCESS, uid));
        let file = server.stored.file(uid).await.expect("stored");
        let data_set = file.len() - sent.len();
        assert!(file[data_set..] == sent[..], "{uid} changed on its way");
        assert_eq!(&file[..132], [&[0; 128][..], b"DICM"].concat());
        for value in [CT, uid, EXPLICIT, dimse::IMPLEMENTATION_CLASS_UID] {
            assert!(file[132..data_set].windows(value.len()).any(|w| w == value.as_bytes()), "{value} is not in the meta header");
        }
    }
    scu.release().await.unwrap();
    let origin = server.stored.instance("1.2.3.1").unwrap().origin;
    assert_eq!(origin.door, RequestOrigin::DicomProtocol);
    assert_eq!(
        (origin.remote_aet.as_str(), origin.called_aet.as_str(), origin.remote_ip.as_str()),
        ("SCU", "ORTHANC", "127.0.0.1")
    );
}

#[tokio::test]
async fn one_bad_object_does_not_hurt_its_neighbours() {
    let server = Server::start(ScpConfig::default()).await;
    let mut scu = server.connect().await;
    let garbage = vec![0xFF; 2_000_000];
    for (uid, data, expected) in [
        ("1.2.3.1", &b"this is not DICOM, not at all"[..], Status::CANNOT_UNDERSTAND),
        ("1.2.3.2", &garbage[..], Status::CANNOT_UNDERSTAND),
        ("1.2.3.3", &[][..], Status::CANNOT_UNDERSTAND),
        ("1.2.3.4", &object(CT, "1.2.3.4", 5000)[..20], Status::CANNOT_UNDERSTAND),
        ("1.2.3.5", &object(CT, "1.2.3.99", 10)[..], Status::DATA_SET_DOES_NOT_MATCH_SOP_CLASS),
        ("1.2.3.6", &object("1.2.840.10008.5.1.4.1.1.4", "1.2.3.6", 10)[..], Status::DATA_SET_DOES_NOT_MATCH_SOP_CLASS),
        ("", &object(CT, "1.2.3.7", 10)[..], Status::INVALID_SOP_INSTANCE),
        ("1.2.3.8", &object(CT, "1.2.3.8", 10)[..], Status::SUCCESS),
    ] {
        let response = scu.store(&item(CT, uid), &mut &data[..]).await.unwrap();
        assert_eq!(response.status, expected, "{uid}");
    }
    for uid in ["1.2.3.99", "1.2.3.6", "1.2.3.7"] {
        assert_eq!(server.stored.file(uid).await, None, "{uid}");
    }
    assert!(server.stored.file("1.2.3.8").await.is_some());
    scu.release().await.unwrap();
}

#[tokio::test]
async fn failures_of_the_engine_are_statuses() {
    let server = Server::start(ScpConfig::default()).await;
    let mut scu = server.connect().await;
    for (uid, failure, expected) in [
        ("1.2.3.1", Some(ErrorKind::StorageFull), Status::OUT_OF_RESOURCES),
        ("1.2.3.2", Some(ErrorKind::DatabaseUnavailable), Status::OUT_OF_RESOURCES),
        ("1.2.3.3", Some(ErrorKind::Database), Status::PROCESSING_FAILURE),
        (PANICS, None, Status::PROCESSING_FAILURE),
        (FILTERED, None, Status::SUCCESS),
        (REFUSED, None, Status::OUT_OF_RESOURCES),
        ("1.2.3.4", None, Status::SUCCESS),
        ("1.2.3.4", None, Status::SUCCESS), // stored before
    ] {
        *server.stored.index.failure.lock().unwrap() = failure;
        let sent = object(CT, uid, 1000);
        let response = scu.store(&item(CT, uid), &mut &sent[..]).await.unwrap();
        assert_eq!(response.status, expected, "{uid}");
    }
    assert_eq!(server.stored.index.instances.lock().unwrap().len(), 1);
    scu.release().await.unwrap();
}

#[tokio::test]
async fn a_connection_lost_within_an_object_stores_nothing() {
    let server = Server::start(ScpConfig::default()).await;
    let mut scu = server.connect().await;
    let request = store_request(&mut scu, CT, "1.2.3.1");
    let sent = object(CT, "1.2.3.1", 3_000_000);
    let mut body = scu.begin_data(3, &request).unwrap();
    body.write(&sent[..2_000_000]).await.unwrap();
    drop(body);
    drop(scu);
    let mut other = server.connect().await;
    let sent = object(CT, "1.2.3.2", 10);
    assert_eq!(other.store(&item(CT, "1.2.3.2"), &mut &sent[..]).await.unwrap().status, Status::SUCCESS);
    other.release().await.unwrap();
    let Server { scp, stored, .. } = server;
    scp.stop(std::time::Duration::from_secs(5)).await;
    assert_eq!(stored.file("1.2.3.1").await, None);
}

#[tokio::test]
async fn what_is_not_a_store_gets_its_status() {
    let server = Server::start(ScpConfig::default()).await;
    let mut scu = server.connect().await;
    let request = |message_id, operation| Request { message_id, sop_class: CT.to_owned(), operation };
    // A C-FIND with identifier, a C-ECHO and a C-STORE of another class on the context of CT, a C-STORE without data set.
    let find = request(1, Operation::Find { priority: Priority::Medium });
    scu.send_with_data(3, &Command::Request(find.clone()), b"identifier").await.unwrap();
    assert_eq!(scu.response(&find).await.unwrap().status, Status::UNRECOGNIZED_OPERATION);
    let echo = request(2, Operation::Echo);
    scu.send(3, &Command::Request(echo.clone())).await.unwrap();
    assert_eq!(scu.response(&echo).await.unwrap().status, Status::SOP_CLASS_NOT_SUPPORTED);
    let store = |uid: &str| Operation::Store { sop_instance: uid.to_owned(), priority: Priority::Medium, move_originator: None };
    let other = Request { sop_class: "1.2.840.10008.5.1.4.1.1.4".to_owned(), ..request(3, store("1.2.3")) };
    scu.send_with_data(3, &Command::Request(other.clone()), b"data").await.unwrap();
    assert_eq!(scu.response(&other).await.unwrap().status, Status::SOP_CLASS_NOT_SUPPORTED);
    let empty = request(4, store("1.2.3"));
    scu.send(3, &Command::Request(empty.clone())).await.unwrap();
    assert_eq!(scu.response(&empty).await.unwrap().status, Status::CANNOT_UNDERSTAND);
    assert_eq!(scu.echo().await.unwrap().status, Status::SUCCESS);
}

#[tokio::test]
async fn eight_associations_store_at_once() {
    let server = Server::start(ScpConfig::default()).await;
    let sender = |n: usize| {
        let (connector, addr) = (connector(), server.scp.local_addr());
        async move {
            let mut scu = connector.connect(addr).await.unwrap();
            for i in 0..20 {
                let uid = format!("1.2.3.{n}.{i}");
                let sent = object(CT, &uid, 2000);
                assert_eq!(scu.store(&item(CT, &uid), &mut &sent[..]).await.unwrap().status, Status::SUCCESS);
            }
            scu.release().await.unwrap();
        }
    };
    let tasks: Vec<_> = (1..=8).map(|n| tokio::spawn(sender(n))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    for (n, i) in (1..=8).flat_map(|n| (0..20).map(move |i| (n, i))) {
        assert!(server.stored.file(&format!("1.2.3.{n}.{i}")).await.is_some());
    }
}

fn store_request(scu: &mut dimse::Association, sop_class: &str, uid: &str) -> Command {
    let operation = Operation::Store { sop_instance: uid.to_owned(), priority: Priority::Medium, move_originator: None };
    Command::Request(Request { message_id: scu.next_message_id(), sop_class: sop_class.to_owned(), operation })
}
