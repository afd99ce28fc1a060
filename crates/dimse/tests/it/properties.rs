//! Values survive the wire, in whatever pieces they arrive; and no bytes make the decoder panic.

use bytes::{Bytes, BytesMut};
use dimse::{
    Abort, AbortReason, AnsweredContext, AssociateAc, AssociateRq, Command, CommonExtended, ContextResult, Decoder, Event,
    ExtendedNegotiation, Operation, Pdu, Priority, ProposedContext, Rejection, Request, Response, RoleSelection, Status,
    SubOperations, UserIdentity, UserInformation,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::support::{pdu, pdv};

fn uid() -> impl Strategy<Value = String> {
    "[0-9]{1,9}(\\.[0-9]{1,9}){1,5}"
}

fn aet() -> impl Strategy<Value = String> {
    "[A-Z0-9_]([A-Z0-9_ ]{0,14}[A-Z0-9_])?"
}

fn user() -> impl Strategy<Value = UserInformation> {
    let role = (uid(), any::<bool>(), any::<bool>()).prop_map(|(sop_class, scu, scp)| RoleSelection { sop_class, scu, scp });
    let extended =
        (uid(), vec(any::<u8>(), 0..20)).prop_map(|(sop_class, information)| ExtendedNegotiation { sop_class, information });
    let common = (uid(), uid(), vec(uid(), 0..4)).prop_map(|(sop_class, service_class, related)| CommonExtended {
        sop_class,
        service_class,
        related,
    });
    let identity = (1..=5_u8, any::<bool>(), vec(any::<u8>(), 0..50), vec(any::<u8>(), 0..50))
        .prop_map(|(kind, response_requested, primary, secondary)| UserIdentity { kind, response_requested, primary, secondary });
    (
        (any::<u32>(), uid(), option::of("[A-Z0-9_]{1,16}"), option::of((any::<u16>(), any::<u16>()))),
        (vec(role, 0..4), vec(extended, 0..4), vec(common, 0..4)),
        (option::of(identity), option::of(vec(any::<u8>(), 0..50))),
    )
        .prop_map(
            |((max_pdu, implementation_uid, version, async_window), (roles, extended, common_extended), (identity, answer))| {
                UserInformation {
                    max_pdu,
                    implementation_uid,
                    implementation_version: version.unwrap_or_default(),
                    async_window,
                    roles,
                    extended,
                    common_extended,
                    identity,
                    identity_response: answer,
                }
            },
        )
}

fn request_pdu() -> impl Strategy<Value = Pdu> {
    (aet(), aet(), uid(), vec((uid(), vec(uid(), 0..5)), 0..=128), user()).prop_map(
        |(called_aet, calling_aet, application_context, contexts, user)| {
            let contexts = contexts
                .into_iter()
                .zip((1..=255).step_by(2))
                .map(|((abstract_syntax, transfer_syntaxes), id)| ProposedContext { id, abstract_syntax, transfer_syntaxes })
                .collect();
            Pdu::AssociateRq(Box::new(AssociateRq {
                protocol_version: 1,
                called_aet,
                calling_aet,
                application_context,
                contexts,
                user,
            }))
        },
    )
}

fn answer_pdu() -> impl Strategy<Value = Pdu> {
    (aet(), aet(), uid(), vec(option::of(uid()), 0..=128), user()).prop_map(
        |(called_aet, calling_aet, application_context, contexts, user)| {
            let contexts = contexts
                .into_iter()
                .zip((1..=255).step_by(2))
                .map(|(chosen, id)| match chosen {
                    Some(transfer_syntax) => AnsweredContext { id, result: ContextResult::Acceptance, transfer_syntax },
                    None => {
                        AnsweredContext { id, result: ContextResult::AbstractSyntaxNotSupported, transfer_syntax: String::new() }
                    }
                })
                .collect();
            Pdu::AssociateAc(Box::new(AssociateAc {
                protocol_version: 1,
                called_aet,
                calling_aet,
                application_context,
                contexts,
                user,
            }))
        },
    )
}

fn opening_pdu() -> impl Strategy<Value = Pdu> {
    prop_oneof![
        request_pdu(),
        answer_pdu(),
        (1..=2_u8, 1..=3_u8, any::<u8>()).prop_map(|(result, source, reason)| Pdu::AssociateRj(Rejection {
            result,
            source,
            reason
        })),
        Just(Pdu::Abort(Abort::ServiceUser)),
        Just(Pdu::Abort(Abort::ServiceProvider(AbortReason::UnexpectedParameter))),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let priority = || prop_oneof![Just(Priority::Low), Just(Priority::Medium), Just(Priority::High)];
    prop_oneof![
        Just(Operation::Echo),
        Just(Operation::Cancel),
        (uid(), priority(), option::of((aet(), any::<u16>()))).prop_map(|(sop_instance, priority, move_originator)| {
            Operation::Store { sop_instance, priority, move_originator }
        }),
        priority().prop_map(|priority| Operation::Find { priority }),
        priority().prop_map(|priority| Operation::Get { priority }),
        (priority(), aet()).prop_map(|(priority, destination)| Operation::Move { priority, destination }),
        (uid(), any::<u16>()).prop_map(|(sop_instance, action_type)| Operation::Action { sop_instance, action_type }),
        (uid(), any::<u16>()).prop_map(|(sop_instance, event_type)| Operation::EventReport { sop_instance, event_type }),
        prop_oneof![Just(0x0110), Just(0x0120), Just(0x0140), Just(0x0150)].prop_map(Operation::Other),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    (any::<u16>(), uid(), operation()).prop_map(|(message_id, sop_class, operation)| Request {
        message_id,
        sop_class: if operation == Operation::Cancel { String::new() } else { sop_class },
        operation,
    })
}

fn response() -> impl Strategy<Value = Response> {
    let counts = (option::of(any::<u16>()), any::<u16>(), any::<u16>(), any::<u16>())
        .prop_map(|(remaining, completed, failed, warning)| SubOperations { remaining, completed, failed, warning });
    (request(), any::<u16>(), "[a-z ]{0,31}[a-z]", vec(any::<(u16, u16)>(), 0..5), option::of(any::<u16>()), option::of(counts))
        .prop_map(|(request, status, comment, offending, error_id, sub_operations)| Response {
            offending,
            error_id,
            sub_operations,
            ..request.response(Status(status)).with_comment(comment.trim())
        })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![request().prop_map(Command::Request), response().prop_map(Command::Response)]
}

/// Feeds `wire` in pieces of the given sizes (cycled) and returns all events, with adjacent data joined.
fn decode(mut decoder: Decoder, wire: &[u8], sizes: &[usize]) -> Vec<Event> {
    let mut buf = BytesMut::new();
    let mut events: Vec<Event> = Vec::new();
    let mut rest = wire;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        buf.extend_from_slice(now);
        rest = later;
        while let Some(event) = decoder.next(&mut buf).unwrap() {
            match (event, events.last_mut()) {
                (Event::Data(more), Some(Event::Data(data))) => *data = Bytes::from([&data[..], &more[..]].concat()),
                (event, _) => events.push(event),
            }
        }
    }
    assert!(buf.is_empty());
    events
}

/// A message as P-DATA-TF PDUs: fragments of at most `fragment` bytes, `per_pdu` of them in each PDU.
fn message_on_wire(context_id: u8, command: &Command, data: Option<&[u8]>, fragment: usize, per_pdu: usize) -> Vec<u8> {
    let mut set = BytesMut::new();
    command.encode(data.is_some(), &mut set);
    let mut fragments = Vec::new();
    for (bytes, flag) in [(Some(&set[..]), 1), (data, 0)] {
        let Some(bytes) = bytes else { continue };
        let count = bytes.len().div_ceil(fragment).max(1);
        for (i, piece) in bytes.chunks(fragment).chain(bytes.is_empty().then_some(&[][..])).enumerate() {
            fragments.push(pdv(context_id, flag | if i + 1 == count { 2 } else { 0 }, piece));
        }
    }
    fragments.chunks(per_pdu).flat_map(|some| pdu(4, &some.concat())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn association_pdus_survive_any_chunking(value in opening_pdu(), sizes in vec(1..200_usize, 1..8)) {
        let mut wire = BytesMut::new();
        value.encode(&mut wire).unwrap();
        let events = decode(Decoder::new(16384), &wire, &sizes);
        prop_assert_eq!(events, vec![Event::Pdu(value)]);
    }

    #[test]
    fn commands_survive(command in command(), has_data: bool) {
        let mut wire = BytesMut::new();
        command.encode(has_data, &mut wire);
        prop_assert_eq!(wire.len() % 2, 0);
        prop_assert_eq!(u32::from_le_bytes(wire[8..12].try_into().unwrap()) as usize, wire.len() - 12);
        prop_assert_eq!(Command::decode(&wire).unwrap(), (command, has_data));
    }

    #[test]
    fn messages_survive_any_fragmentation_and_chunking(
        messages in vec((command(), option::of(vec(any::<u8>(), 0..3000))), 1..4),
        fragment in 1..2000_usize,
        per_pdu in 1..4_usize,
        sizes in vec(1..5000_usize, 1..8),
    ) {
        let mut decoder = Decoder::new(16384);
        decoder.establish([1, 77]);
        let mut wire = Vec::new();
        let mut expected = Vec::new();
        for (command, data) in messages {
            wire.extend(message_on_wire(77, &command, data.as_deref(), fragment, per_pdu));
            expected.push(Event::Command { context_id: 77, command, has_data: data.is_some() });
            if let Some(data) = data {
                expected.extend((!data.is_empty()).then(|| Event::Data(Bytes::from(data))));
                expected.push(Event::EndOfData);
            }
        }
        wire.extend(pdu(5, &[0; 4]));
        expected.push(Event::Pdu(Pdu::ReleaseRq));
        prop_assert_eq!(decode(decoder, &wire, &sizes), expected);
    }

    #[test]
    fn damaged_bytes_never_panic(value in opening_pdu(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut wire = BytesMut::new();
        value.encode(&mut wire).unwrap();
        for (at, byte) in damage {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let mut decoder = Decoder::new(16384);
        while let Ok(Some(_)) = decoder.next(&mut wire) {}
    }

    #[test]
    fn damaged_commands_never_panic(command in command(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut wire = BytesMut::new();
        command.encode(true, &mut wire);
        for (at, byte) in damage {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let _ = Command::decode(&wire);
    }
}

#[test]
fn texts_are_fit_for_logs() {
    let mut body = vec![0, 1, 0, 0];
    body.extend(b"SCP\x1b[31m\n       ");
    body.extend(b"  \xc3\xa9 SCU\0\0\0\0\0\0\0\0");
    body.extend([0; 32]);
    let Pdu::AssociateRq(rq) = Pdu::decode(1, &body).unwrap() else { panic!("not a request") };
    assert_eq!((rq.called_aet.as_str(), rq.calling_aet.as_str()), ("SCP?[31m?", "?? SCU"));
}

#[test]
fn an_ae_title_longer_than_16_is_not_sent() {
    let mut wire = BytesMut::from(&b"before"[..]);
    let rq = AssociateRq {
        protocol_version: 1,
        called_aet: "SEVENTEEN_LETTERS".to_owned(),
        calling_aet: String::new(),
        application_context: String::new(),
        contexts: Vec::new(),
        user: UserInformation::default(),
    };
    assert!(Pdu::AssociateRq(Box::new(rq)).encode(&mut wire).is_err());
    assert_eq!(&wire[..], b"before");
}
