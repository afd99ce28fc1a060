//! C-STORE SCU towards nodes that take, refuse, abort, vanish, stop reading, or never answer.

use crate::node::{Answer, Node};
use crate::support::{CT, EXPLICIT, File, Lab, noise};
use bytes::Bytes;
use dimse::Status;
use engine::send::{Outgoing, SendOptions, Sending, instances, load};
use engine::{Ctx, Modality};
use model::instance::InstanceIds;
use model::{Error, ErrorKind, Level, OrthancId, Result, tags};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const JPEG: &str = "1.2.840.10008.1.2.4.50";
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";

fn file(n: usize) -> File {
    File::new(&format!("1.2.{n}")).number(&n.to_string()).pixels(noise(1000, n as u64))
}

impl Lab {
    async fn outgoing(&self, ids: &[InstanceIds]) -> Vec<Outgoing> {
        let ids: Vec<OrthancId> = ids.iter().map(|i| i.instance).collect();
        load(&self.eng, &ids).await.unwrap().into_iter().map(Option::unwrap).collect()
    }

    /// `count` instances, ready to be sent.
    async fn filled(count: usize) -> (Self, Vec<Outgoing>) {
        let lab = Self::new().await;
        let mut ids = vec![];
        for n in 1..=count {
            ids.push(lab.store(file(n)).await);
        }
        let list = lab.outgoing(&ids).await;
        (lab, list)
    }

    fn sending(&self, remote: &Modality, list: &[Outgoing], cancel: &CancellationToken) -> Sending {
        let options = SendOptions { timeout: Some(Duration::from_secs(2)), ..SendOptions::default() };
        Sending::begin(&self.eng, remote, &options, list, cancel.clone()).unwrap()
    }

    /// Sends the whole list, whatever fails.
    async fn send(&self, remote: &Modality, list: &[Outgoing]) -> Vec<Result<Status>> {
        let mut sending = self.sending(remote, list, &CancellationToken::new());
        let mut results = vec![];
        for item in list {
            results.push(sending.store(item).await);
        }
        sending.release().await;
        results
    }
}

fn sops(list: &[Outgoing]) -> Vec<String> {
    list.iter().map(|i| i.sop_instance.clone()).collect()
}

fn names_the_node(error: &Error) -> bool {
    error.message().contains("\"SINK\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_arrive_as_they_are_over_one_association() {
    let lab = Lab::new().await;
    let files = [
        file(1),
        file(2).syntax(JPEG),
        file(3).with(tags::SOP_CLASS_UID, b"UI", MR),
        // More than a piece of the storage area, and more than the sender gathers.
        file(4).pixels(noise(3 << 20, 4)),
    ];
    let mut ids = vec![];
    for file in &files {
        ids.push(lab.store(file.clone()).await);
    }
    let list = lab.outgoing(&ids).await;
    let node = Node::start(&[], &[Answer::Status(0)]).await;
    assert!(lab.send(&node.remote, &list).await.into_iter().all(|r| r.unwrap() == Status::SUCCESS));
    assert_eq!(node.endings(1).await, ["released"]);
    // Exactly what is needed was proposed, each for itself.
    let pair = |class: &str, syntax: &str| (class.to_owned(), vec![syntax.to_owned()]);
    assert_eq!(node.proposed(), [[pair(CT, EXPLICIT), pair(CT, JPEG), pair(MR, EXPLICIT)]]);
    let received = node.received();
    assert_eq!(received.len(), files.len());
    for ((received, file), item) in received.iter().zip(&files).zip(&list) {
        let bytes = file.bytes();
        let meta = 132 + 12 + u32::from_le_bytes(bytes[140..144].try_into().unwrap()) as usize;
        assert!(received.data == bytes[meta..], "{}", received.sop_instance);
        assert_eq!((&received.sop_instance, &received.transfer_syntax), (&item.sop_instance, &item.transfer_syntax));
        assert_eq!((received.calling_aet.as_str(), received.called_aet.as_str()), ("ORTHANC", "SINK"));
        assert_eq!(received.move_originator, None);
    }
}

#[tokio::test]
async fn clients_say_who_calls_whom() {
    let (lab, list) = Lab::filled(1).await;
    let node = Node::start(&[], &[Answer::Status(0)]).await;
    let nowhere = Modality { host: "192.0.2.1".into(), port: 1, local_aet: "LOCAL".into(), ..node.remote.clone() };
    let options = SendOptions {
        local_aet: Some("ME".into()),
        called_aet: Some("YOU".into()),
        host: Some("127.0.0.1".into()),
        port: Some(node.remote.port),
        timeout: None,
        move_originator: Some(("MOVER".into(), 42)),
    };
    let addressed = engine::send::addressed(&lab.eng, &nowhere, &options);
    assert_eq!((addressed.aet.as_str(), addressed.local_aet.as_str()), ("YOU", "ME"));
    assert_eq!(engine::send::addressed(&lab.eng, &nowhere, &SendOptions::default()).local_aet, "LOCAL");
    let mut sending = Sending::begin(&lab.eng, &nowhere, &options, &list, CancellationToken::new()).unwrap();
    sending.store(&list[0]).await.unwrap();
    let received = node.received().remove(0);
    assert_eq!((received.calling_aet.as_str(), received.called_aet.as_str()), ("ME", "YOU"));
    assert_eq!(received.move_originator, Some(("MOVER".into(), 42)));
    let tls = Modality { use_dicom_tls: true, ..node.remote.clone() };
    let begun = Sending::begin(&lab.eng, &tls, &options, &list, CancellationToken::new());
    assert_eq!(begun.err().unwrap().kind(), ErrorKind::NotImplemented);
}

#[tokio::test]
async fn some_statuses_are_success_and_others_have_a_payload() {
    let statuses = [0x0000, 0xB000, 0xB006, 0xB007, 0x0111, 0xA700, 0xA900, 0xC000, 0xB001, 0x0110, 0x0122];
    let (lab, list) = Lab::filled(statuses.len()).await;
    let node = Node::start(&[], &statuses.map(Answer::Status)).await;
    let results = lab.send(&node.remote, &list).await;
    for (n, (result, status)) in results.into_iter().zip(statuses).enumerate() {
        if n < 5 {
            assert_eq!(result.unwrap(), Status(status));
            continue;
        }
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkProtocol);
        assert_eq!(error.message(), format!("C-STORE SCU to AET \"SINK\" has failed with DIMSE status 0x{status:04X}"));
        assert_eq!(error.payload(), Some(&json!({"Type": "Dimse", "Content": {"DimseErrorStatus": status}})));
    }
    assert_eq!(node.instances(), sops(&list), "a failure ends neither the list nor the association");
    assert_eq!(node.endings(1).await, ["released"]);
}

#[tokio::test]
async fn what_the_node_does_not_take_is_said_and_the_rest_is_sent() {
    let lab = Lab::new().await;
    let ids = [lab.store(file(1).syntax(JPEG)).await, lab.store(file(2)).await];
    let list = lab.outgoing(&ids).await;
    let node = Node::start(&[EXPLICIT], &[Answer::Status(0)]).await;
    let mut results = lab.send(&node.remote, &list).await;
    assert_eq!(results.pop().unwrap().unwrap(), Status::SUCCESS);
    let error = results.pop().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.kind().code()), (ErrorKind::NoPresentationContext, 2015));
    let words = ["Unable to negotiate a presentation context with AET \"SINK\"", JPEG, CT, EXPLICIT];
    assert!(words.iter().all(|word| error.message().contains(word)), "{error}");
    assert!(error.message().contains(&ids[0].instance.to_string()));
    assert_eq!(node.instances(), sops(&list[1..]));
}

#[tokio::test]
async fn more_kinds_of_files_than_one_association_can_have() {
    let lab = Lab::new().await;
    let mut ids = vec![];
    for n in 0..150 {
        ids.push(lab.store(file(n).with(tags::SOP_CLASS_UID, b"UI", &format!("1.2.840.10008.5.1.4.1.1.{n}"))).await);
    }
    let list = lab.outgoing(&ids).await;
    let node = Node::start(&[], &[Answer::Status(0)]).await;
    assert!(lab.send(&node.remote, &list).await.iter().all(Result::is_ok));
    assert_eq!(node.proposed().iter().map(Vec::len).collect::<Vec<_>>(), [128, 22]);
    assert_eq!(node.endings(2).await, ["released", "released"]);
    // What was not in the list is sent as well.
    let node = Node::start(&[], &[Answer::Status(0)]).await;
    let mut sending = lab.sending(&node.remote, &list[..1], &CancellationToken::new());
    for item in &list[..3] {
        sending.store(item).await.unwrap();
    }
    assert_eq!(node.instances(), sops(&list[..3]));
}

#[tokio::test]
async fn a_broken_association_is_opened_again() {
    use Answer::{Abort, Status as Ok, StatusThenAbort};
    let (lab, list) = Lab::filled(3).await;
    // It broke while it waited: the next instance does not notice.
    let node = Node::start(&[], &[StatusThenAbort(0), Ok(0)]).await;
    assert!(lab.send(&node.remote, &list).await.iter().all(Result::is_ok));
    assert_eq!(node.received().iter().map(|r| r.association).collect::<Vec<_>>(), [1, 2, 2]);
    // The node aborts about one instance, also on a new association: that fails, the others do not.
    let node = Node::start(&[], &[Ok(0), Abort, Abort, Ok(0)]).await;
    let results = lab.send(&node.remote, &list).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    let error = results.into_iter().nth(1).unwrap().unwrap_err();
    assert!(
        error.kind() == ErrorKind::NetworkProtocol && names_the_node(&error) && error.message().contains("aborted"),
        "{error}"
    );
    assert_eq!(node.proposed().len(), 3);
}

#[tokio::test]
async fn nodes_that_cannot_be_reached_or_refuse() {
    let (lab, list) = Lab::filled(2).await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut node = Node::start(&[], &[Answer::Status(0)]).await;
    let dead = Modality { port: closed, ..node.remote.clone() };
    for result in lab.send(&dead, &list).await {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkProtocol);
        assert!(names_the_node(&error) && error.message().contains(&format!("127.0.0.1:{closed}")), "{error}");
    }
    // Whoever listens and says nothing costs the timeout, not more.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    node.remote.port = silent.local_addr().unwrap().port();
    let started = Instant::now();
    let error = lab.send(&node.remote, &list[..1]).await.remove(0).unwrap_err();
    assert!(error.kind() == ErrorKind::NetworkProtocol && names_the_node(&error), "{error}");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[tokio::test]
async fn nodes_that_stop_reading_or_answering_cost_the_timeout() {
    let lab = Lab::new().await;
    let large = lab.store(file(1).pixels(noise(64 << 20, 1))).await;
    let list = lab.outgoing(&[large]).await;
    for answer in [Answer::StopReading, Answer::Silence] {
        let node = Node::start(&[], &[answer]).await;
        let started = Instant::now();
        let error = lab.send(&node.remote, &list).await.remove(0).unwrap_err();
        assert!(error.kind() == ErrorKind::NetworkProtocol && names_the_node(&error), "{error}");
        assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_a_send_at_once() {
    let lab = Lab::new().await;
    let ids = [lab.store(file(1).pixels(noise(64 << 20, 1))).await, lab.store(file(2)).await];
    let list = lab.outgoing(&ids).await;
    for answer in [Answer::StopReading, Answer::Silence] {
        let node = Node::start(&[], &[answer]).await;
        let cancel = CancellationToken::new();
        let options = SendOptions { timeout: Some(Duration::ZERO), ..SendOptions::default() };
        let mut sending = Sending::begin(&lab.eng, &node.remote, &options, &list, cancel.clone()).unwrap();
        let later = cancel.clone();
        let canceller = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            later.cancel();
            Instant::now()
        });
        assert_eq!(sending.store(&list[0]).await.unwrap_err().kind(), ErrorKind::Canceled);
        let waited = canceller.await.unwrap().elapsed();
        assert!(waited < Duration::from_secs(1), "{answer:?}: {waited:?}");
        if matches!(answer, Answer::Silence) {
            assert!(node.endings(1).await[0].contains("aborted"), "{:?}", node.endings(1).await);
        }
        // And nothing is sent any more.
        assert_eq!(sending.store(&list[1]).await.unwrap_err().kind(), ErrorKind::Canceled);
        sending.release().await;
    }
}

#[tokio::test]
async fn damaged_files_are_named_and_never_sent_as_whole() {
    for size in [1000, 3 << 20] {
        let lab = Lab::new().await;
        let good = file(1).pixels(noise(size, 1));
        let ids = [lab.store(good.clone()).await, lab.store(file(2)).await];
        let list = lab.outgoing(&ids).await;
        let mut flipped = good.bytes().to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        for (damage, kind) in [
            (None, ErrorKind::InexistentFile),
            (Some(flipped.into()), ErrorKind::Corrupted),
            (Some(good.bytes().slice(..good.bytes().len() - 100)), ErrorKind::Corrupted),
            (Some(Bytes::from_static(b"no DICOM at all, but long enough to be looked at")), ErrorKind::Corrupted),
        ] {
            lab.damage(ids[0].instance, damage).await;
            let node = Node::start(&[], &[Answer::Status(0)]).await;
            let mut results = lab.send(&node.remote, &list).await;
            assert!(results.pop().unwrap().is_ok());
            let error = results.pop().unwrap().unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(&ids[0].instance.to_string()), "{error}");
            assert_eq!(node.instances(), sops(&list[1..]));
        }
    }
}

#[tokio::test]
async fn instances_are_sent_series_by_series_in_the_order_of_their_numbers() {
    let lab = Lab::new().await;
    let mut ids = vec![];
    for (n, (series, number)) in [("a", "2"), ("b", "1"), ("a", "10"), ("a", "1"), ("b", "2")].into_iter().enumerate() {
        let series = if series == "a" { "1.7.1" } else { "1.7.2" };
        ids.push(lab.store(file(n).series("P", "1.7", series).number(number)).await);
    }
    let ctx = Ctx::default();
    let sent = async |resources: &[(Level, OrthancId)]| {
        let found = instances(&lab.eng, &ctx, resources).await.unwrap();
        found.into_iter().map(|id| ids.iter().position(|i| i.instance == id).unwrap()).collect::<Vec<_>>()
    };
    let (a, b) = ([3, 0, 2], [1, 4]);
    let study = if ids[0].series < ids[1].series { [&a[..], &b[..]].concat() } else { [&b[..], &a[..]].concat() };
    assert_eq!(sent(&[(Level::Study, ids[0].study)]).await, study);
    assert_eq!(sent(&[(Level::Series, ids[1].series), (Level::Patient, ids[0].patient)]).await, [&b[..], &a[..]].concat());
    let named = [(Level::Instance, ids[2].instance), (Level::Instance, ids[4].instance), (Level::Instance, ids[2].instance)];
    assert_eq!(sent(&named).await, [2, 4]);
    let nobody = [(Level::Study, OrthancId::patient("nobody"))];
    assert_eq!(instances(&lab.eng, &ctx, &nobody).await.unwrap_err().kind(), ErrorKind::UnknownResource);
    let loaded = load(&lab.eng, &[ids[1].instance, OrthancId::patient("nobody"), ids[1].instance]).await.unwrap();
    let found: Vec<_> = loaded.iter().map(|o| o.as_ref().map(|o| o.instance)).collect();
    assert_eq!(found, [Some(ids[1].instance), None, Some(ids[1].instance)]);
}
