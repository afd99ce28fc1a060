//! Everything that a DICOM peer can send: PDUs, P-DATA fragments and command sets, cut at any place.
//!
//! Checks beside "no panic": what was decoded can be encoded and decodes to the same again, a stream gives the same
//! events however it is cut, and data sets are never longer than what was sent.
#![no_main]

use bytes::{Bytes, BytesMut};
use dimse::{Command, Decoder, Event, Pdu};
use libfuzzer_sys::fuzz_target;

/// How the input is taken; the first byte decides.
const MODES: u8 = 4;

fuzz_target!(|input: &[u8]| {
    let [mode, rest @ ..] = input else { return };
    match mode % MODES {
        0 => pdu(rest),
        1 => command(rest),
        2 => stream(rest, false),
        _ => stream(rest, true),
    }
});

/// One PDU that opens or ends an association: its type, then its body.
fn pdu(input: &[u8]) {
    let [kind, body @ ..] = input else { return };
    let Ok(pdu) = Pdu::decode(kind % 9, body) else { return };
    let mut wire = BytesMut::new();
    if pdu.encode(&mut wire).is_ok() {
        let kind = wire[0];
        assert_eq!(Pdu::decode(kind, &wire[6..]).as_ref(), Ok(&pdu), "a PDU changed on its way");
    }
}

/// One command set.
fn command(input: &[u8]) {
    let Ok((command, has_data)) = Command::decode(input) else { return };
    let mut wire = BytesMut::new();
    command.encode(has_data, &mut wire);
    let (again, data_again) = Command::decode(&wire).expect("our own command set is valid");
    assert_eq!(has_data, data_again);
    let mut rewired = BytesMut::new();
    again.encode(data_again, &mut rewired);
    assert_eq!(wire, rewired, "a command set is not stable");
}

/// Bytes of a connection, once at once and once in pieces of the size that the first byte names.
fn stream(input: &[u8], established: bool) {
    let [size, wire @ ..] = input else { return };
    let whole = events(wire, wire.len().max(1), established);
    let cut = events(wire, usize::from(*size).max(1), established);
    assert_eq!(whole, cut, "cutting changed what was read");
    let data: usize = whole.0.iter().map(|event| if let Event::Data(data) = event { data.len() } else { 0 }).sum();
    assert!(data <= wire.len());
}

/// All events with adjacent data joined, and whether the peer broke the protocol.
fn events(wire: &[u8], size: usize, established: bool) -> (Vec<Event>, bool) {
    let mut decoder = Decoder::new(4096);
    if established {
        decoder.establish([1, 3]);
    }
    let mut events: Vec<Event> = Vec::new();
    let mut buf = BytesMut::new();
    for piece in wire.chunks(size) {
        buf.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buf) {
                Ok(None) => break,
                Err(_) => return (events, true),
                Ok(Some(event)) => match (event, events.last_mut()) {
                    (Event::Data(more), Some(Event::Data(data))) => *data = Bytes::from([&data[..], &more[..]].concat()),
                    (event, _) => events.push(event),
                },
            }
        }
    }
    (events, false)
}
