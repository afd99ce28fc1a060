//! Where things are in and after the pixel data, found while its bytes stream by.

use dicom_core::Tag;

use crate::read::Header;

/// Most fragments that are remembered.
const MAX_FRAGMENTS: usize = 1 << 20;
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// Follows the value of a pixel data element that is fed in pieces of any size, in constant memory beside a bounded table
/// of fragments.
#[derive(Debug)]
pub struct PixelScanner {
    /// Of the next byte, in the file.
    offset: u64,
    state: State,
    big_endian: bool,
    fragments: Vec<(u64, u32)>,
    complete_table: bool,
    tail_offset: Option<u64>,
}

#[derive(Debug)]
enum State {
    /// Bytes of the value or of a fragment to skip; whether another item follows.
    Skip { left: u64, in_fragments: bool },
    /// The header of an item, as far as it is known.
    ItemHeader { bytes: [u8; 8], filled: usize },
    /// The pixel data is over.
    After,
    /// What should be an item is none.
    Broken,
}

/// What a [`PixelScanner`] found. Offsets count from the start of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PixelLayout {
    /// Where the elements after the pixel data begin, if there are any bytes.
    pub tail_offset: Option<u64>,
    /// Offset and length in bytes of each item's value in encapsulated pixel data; the first one is the basic offset table.
    /// Empty for native pixel data, and if there are more than 1,048,576.
    pub fragments: Vec<(u64, u32)>,
    /// Whether the pixel data ended early, or is damaged.
    pub truncated: bool,
}

impl PixelScanner {
    /// A scanner to feed with the bytes from `value_offset` on; `None` if there is no pixel data or it is deflated.
    pub fn new(header: &Header) -> Option<Self> {
        let pixel = header.pixel.as_ref()?;
        let state = match pixel.length {
            Some(length) => State::Skip { left: u64::from(length), in_fragments: false },
            None => State::ItemHeader { bytes: [0; 8], filled: 0 },
        };
        let big_endian = header.transfer_syntax.is_big_endian();
        let offset = pixel.value_offset?;
        Some(Self { offset, state, big_endian, fragments: Vec::new(), complete_table: true, tail_offset: None })
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        loop {
            self.settle();
            if bytes.is_empty() {
                return;
            }
            let taken = match &mut self.state {
                State::Skip { left, .. } => {
                    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= n as u64;
                    n
                }
                State::ItemHeader { bytes: header, filled } => {
                    let n = (header.len() - *filled).min(bytes.len());
                    header[*filled..*filled + n].copy_from_slice(&bytes[..n]);
                    *filled += n;
                    n
                }
                State::After => {
                    self.tail_offset.get_or_insert(self.offset);
                    bytes.len()
                }
                State::Broken => bytes.len(),
            };
            self.offset += taken as u64;
            bytes = &bytes[taken..];
        }
    }

    /// Leaves a state of which all bytes are there.
    fn settle(&mut self) {
        self.state = match &self.state {
            State::Skip { left: 0, in_fragments: false } => State::After,
            State::Skip { left: 0, in_fragments: true } => State::ItemHeader { bytes: [0; 8], filled: 0 },
            State::ItemHeader { bytes, filled: 8 } => {
                let bytes = *bytes;
                self.item(bytes)
            }
            _ => return,
        };
        // An empty fragment is over at once.
        if matches!(self.state, State::Skip { left: 0, .. }) {
            self.settle();
        }
    }

    fn item(&mut self, bytes: [u8; 8]) -> State {
        let u16_at = |i: usize| {
            let pair = [bytes[i], bytes[i + 1]];
            if self.big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let quad = [bytes[4], bytes[5], bytes[6], bytes[7]];
        let length = if self.big_endian { u32::from_be_bytes(quad) } else { u32::from_le_bytes(quad) };
        match Tag(u16_at(0), u16_at(2)) {
            SEQUENCE_END => State::After,
            ITEM if length != u32::MAX => {
                if self.fragments.len() < MAX_FRAGMENTS {
                    self.fragments.push((self.offset, length));
                } else {
                    self.complete_table = false;
                }
                State::Skip { left: u64::from(length), in_fragments: true }
            }
            _ => State::Broken,
        }
    }

    /// What was found in all that was fed.
    pub fn finish(mut self) -> PixelLayout {
        self.settle();
        PixelLayout {
            tail_offset: self.tail_offset,
            fragments: if self.complete_table { self.fragments } else { Vec::new() },
            truncated: !matches!(self.state, State::After),
        }
    }
}
