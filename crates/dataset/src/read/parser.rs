//! The loop over elements. It keeps its own stack, so that nesting costs no call frames, and copies no value (big endian
//! numbers excepted). Lengths of items and sequences that reach too far are only hints: what bounds them is the source.

use bytes::Bytes;
use dicom_core::{Tag, VR};

use super::encoding::Encoding;
use super::{ReadError, ReadOptions};
use crate::data::{DataSet, Element, Value};
use crate::number;

pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(super) const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
pub(super) const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
const UNDEFINED: u32 = u32::MAX;
/// Elements of a usual image header: room for them is made at once.
const USUAL_ELEMENTS: usize = 96;

/// What to read.
pub(super) struct Input<'a> {
    pub source: &'a Bytes,
    /// Whether nothing follows `source`.
    pub whole: bool,
    pub encoding: Encoding,
    pub stop: Stop,
    pub options: &'a ReadOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Never,
    AtPixelData,
    AfterGroupTwo,
}

/// What was read.
pub(super) struct Parsed {
    pub dataset: DataSet,
    /// The element that stopped the loop, if pixel data did.
    pub pixel: Option<Head>,
    /// Where reading stopped.
    pub end: usize,
}

/// The header of an element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub tag: Tag,
    pub vr: VR,
    pub offset: usize,
    pub value_offset: usize,
    /// In bytes; `None` if undefined.
    pub length: Option<u32>,
}

/// The data set being filled: the object's own or that of the innermost open item.
struct Scope {
    data: DataSet,
    /// `None`: it ends at its delimiter, or with the source.
    end: Option<usize>,
    encoding: Encoding,
    /// Whether values that are US or SS are signed: Pixel Representation (0028,0103) here or further out.
    signed: bool,
}

/// An open sequence.
struct Level {
    head: Head,
    /// `None`: it ends at its delimiter.
    end: Option<usize>,
    /// Of its items.
    encoding: Encoding,
    items: Vec<DataSet>,
    in_item: bool,
    /// The data set that the sequence belongs to.
    outer: Scope,
}

struct Parser<'a> {
    input: &'a Input<'a>,
    at: usize,
    scope: Scope,
    levels: Vec<Level>,
    elements: usize,
    /// Up to here, zeros are known not to be padding at the end.
    not_padding_until: usize,
}

enum Flow {
    Next,
    Done(Option<Head>),
}

/// Reads elements from `start` on.
pub(super) fn read(input: &Input<'_>, start: usize) -> Result<Parsed, ReadError> {
    let mut data = DataSet::with_charset(input.options.default_charset);
    data.reserve(USUAL_ELEMENTS.min(input.source.len() / 8));
    let scope = Scope { data, end: None, encoding: input.encoding, signed: false };
    let mut parser = Parser { input, at: start, scope, levels: Vec::new(), elements: 0, not_padding_until: 0 };
    loop {
        if let Flow::Done(pixel) = parser.step()? {
            let mut dataset = parser.scope.data;
            dataset.settle();
            return Ok(Parsed { dataset, pixel, end: parser.at });
        }
    }
}

/// Reads the items in the value of an element that was stored as `UN`; `input.source` is that value.
pub(super) fn read_items(input: &Input<'_>, tag: Tag) -> Result<Vec<DataSet>, ReadError> {
    let data = DataSet::with_charset(input.options.default_charset);
    let scope = Scope { data, end: None, encoding: input.encoding, signed: false };
    let mut parser = Parser { input, at: 0, scope, levels: Vec::new(), elements: 0, not_padding_until: 0 };
    let length = u32::try_from(input.source.len()).ok();
    parser.open_sequence(Head { tag, vr: VR::UN, offset: 0, value_offset: 0, length }, length)?;
    while !parser.levels.is_empty() {
        parser.step()?;
    }
    match parser.scope.data.remove(tag).map(|e| e.value) {
        Some(Value::Items(items)) => Ok(items),
        _ => Ok(Vec::new()),
    }
}

impl Parser<'_> {
    fn step(&mut self) -> Result<Flow, ReadError> {
        match self.levels.last() {
            Some(level) if !level.in_item => self.next_item()?,
            Some(level) if self.scope.end.is_some_and(|end| self.at >= end) || self.cut_off(level) => self.close_item(),
            Some(_) => return self.next_element(),
            None => return if self.at_end()? { Ok(Flow::Done(None)) } else { self.next_element() },
        }
        Ok(Flow::Next)
    }

    /// Whether the source ends between two elements of an item that should be longer, and its sequence ends there too.
    fn cut_off(&self, level: &Level) -> bool {
        let end = self.input.source.len();
        self.at >= end && self.input.whole && level.end.is_some_and(|e| e <= end) && self.scope.end.is_some()
    }

    /// Whether the top-level data set is over: nothing or only zero padding is left, or the group ends.
    fn at_end(&mut self) -> Result<bool, ReadError> {
        let source = self.input.source;
        let rest = source.get(self.at..).unwrap_or_default();
        // What follows group 0002 may be laid out differently: only its group is looked at.
        if self.input.stop == Stop::AfterGroupTwo && rest.len() >= 2 && rest[..2] != [2, 0] {
            return Ok(true);
        }
        if rest.len() >= 8 && (rest[..4] != [0; 4] || self.at <= self.not_padding_until) {
            return Ok(false);
        }
        if !self.input.whole {
            return if rest.len() < 8 { Err(ReadError::Incomplete(source.len())) } else { Ok(false) };
        }
        match rest.iter().position(|b| *b != 0) {
            None => Ok(true),
            // Remembered, so that many elements of zeros are not looked through again and again.
            Some(i) => {
                self.not_padding_until = self.at + i;
                Ok(false)
            }
        }
    }

    fn next_element(&mut self) -> Result<Flow, ReadError> {
        let top = self.levels.is_empty();
        let head = self.head()?;
        if head.tag.0 == 0xFFFE {
            self.delimiter(head)?;
            return Ok(Flow::Next);
        }
        if top && self.input.stop == Stop::AtPixelData && is_pixel_data(head.tag) {
            return Ok(Flow::Done(Some(head)));
        }
        self.count()?;
        match head.length {
            None if is_fragmented(head) => self.fragments(head)?,
            None => self.open_sequence(head, None)?,
            Some(length) if head.vr == VR::SQ && self.has_items(head) => self.open_sequence(head, Some(length))?,
            // By the dictionary or the label a sequence, by its content none: kept as it is.
            Some(length) if head.vr == VR::SQ => self.value(Head { vr: VR::UN, ..head }, length as usize)?,
            Some(length) => self.value(head, length as usize)?,
        }
        Ok(Flow::Next)
    }

    /// Whether a value begins as a sequence does; empty ones do.
    fn has_items(&self, head: Head) -> bool {
        let begin = self.input.source.get(head.value_offset..).and_then(|b| b.first_chunk());
        let delimiter = |bytes| matches!(self.scope.encoding.tag(bytes), ITEM | ITEM_END | SEQUENCE_END);
        head.length == Some(0) || begin.is_none_or(delimiter)
    }

    fn value(&mut self, head: Head, length: usize) -> Result<(), ReadError> {
        let source = self.input.source;
        let mut end = head.value_offset.saturating_add(length);
        if end > source.len() {
            let cut_pixels = self.input.whole && self.levels.is_empty() && is_pixel_data(head.tag);
            if !cut_pixels {
                return Err(self.short(head.tag, head.offset));
            }
            end = source.len();
        }
        let raw = source.slice(head.value_offset.min(end)..end);
        let raw = if self.scope.encoding.big_endian { number::swapped(head.vr, raw) } else { raw };
        if head.tag == Tag(0x0028, 0x0103) {
            self.scope.signed = raw.first() == Some(&1);
        }
        self.at = end;
        self.scope.data.push(Element { tag: head.tag, vr: head.vr, value: Value::Bytes(raw) });
        Ok(())
    }

    fn open_sequence(&mut self, head: Head, length: Option<u32>) -> Result<(), ReadError> {
        let limit = self.input.options.max_depth;
        if self.levels.len() >= limit {
            return Err(ReadError::TooDeep { limit, tag: head.tag, offset: head.offset as u64 });
        }
        let end = length.map(|l| head.value_offset.saturating_add(l as usize));
        let mut encoding = self.scope.encoding;
        if head.vr == VR::UN || !encoding.explicit {
            // Items of UN are implicit little endian whatever surrounds them (PS3.5 6.2.2, note 2). Or should be.
            let first = self.input.source.get(head.value_offset + 8..).unwrap_or_default();
            encoding = Encoding::of_implicit_items(first, &self.input.options.dictionary);
        }
        let inner = Scope { data: DataSet::new(), end: None, encoding, signed: self.scope.signed };
        let outer = std::mem::replace(&mut self.scope, inner);
        self.levels.push(Level { head, end, encoding, items: Vec::new(), in_item: false, outer });
        self.at = head.value_offset;
        Ok(())
    }

    /// Between the items of the innermost sequence.
    fn next_item(&mut self) -> Result<(), ReadError> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        if level.end.is_some_and(|end| self.at >= end) {
            self.close_sequence();
            return Ok(());
        }
        let (tag, defined) = (level.head.tag, level.end.is_some());
        let Some(bytes) = self.peek() else { return Err(self.short(tag, level.head.offset)) };
        let (charset, encoding) = (level.outer.data.charset(), level.encoding);
        let length = encoding.u32([bytes[4], bytes[5], bytes[6], bytes[7]]);
        match encoding.tag(&bytes) {
            ITEM => {
                self.count()?;
                self.at += 8;
                let end = (length != UNDEFINED).then(|| self.at.saturating_add(length as usize));
                self.scope.data = DataSet::with_charset(charset);
                self.scope.end = end;
                self.scope.encoding = encoding;
                self.levels.last_mut().into_iter().for_each(|l| l.in_item = true);
            }
            SEQUENCE_END => {
                self.at += 8;
                if !defined {
                    self.close_sequence();
                }
            }
            // Left over from an item whose length was wrong.
            ITEM_END => self.at += 8,
            _ => {
                let problem = "a sequence holds something that is no item";
                return Err(ReadError::Malformed { tag, offset: self.at as u64, problem });
            }
        }
        Ok(())
    }

    fn close_item(&mut self) {
        let mut data = std::mem::take(&mut self.scope.data);
        data.settle();
        if let Some(level) = self.levels.last_mut() {
            level.items.push(data);
            level.in_item = false;
            self.scope.signed = level.outer.signed;
        }
    }

    fn close_sequence(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.scope = level.outer;
            self.scope.data.push(Element { tag: level.head.tag, vr: VR::SQ, value: Value::Items(level.items) });
        }
    }

    /// A delimiter where an element could be. Strays are skipped.
    fn delimiter(&mut self, head: Head) -> Result<(), ReadError> {
        if head.tag == ITEM {
            let problem = "an item outside of a sequence";
            return Err(ReadError::Malformed { tag: head.tag, offset: head.offset as u64, problem });
        }
        let open = !self.levels.is_empty() && self.scope.end.is_none();
        // At the end of the sequence, an item without its own delimiter ends too: the sequence takes the delimiter.
        if head.tag != SEQUENCE_END || !open {
            self.at += 8;
        }
        if open {
            self.close_item();
        }
        Ok(())
    }

    /// Encapsulated pixel data (PS3.5 A.4).
    fn fragments(&mut self, head: Head) -> Result<(), ReadError> {
        let source = self.input.source;
        let lenient = self.input.whole && self.levels.is_empty() && is_pixel_data(head.tag);
        let mut fragments = Vec::new();
        self.at = head.value_offset;
        loop {
            let Some(bytes) = self.peek() else {
                if lenient {
                    self.at = source.len();
                    break;
                }
                return Err(self.short(head.tag, head.offset));
            };
            let encoding = self.scope.encoding;
            let length = encoding.u32([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
            match encoding.tag(&bytes) {
                ITEM => {}
                SEQUENCE_END => {
                    self.at += 8;
                    break;
                }
                _ => {
                    let problem = "encapsulated data holds something that is no item";
                    return Err(ReadError::Malformed { tag: head.tag, offset: self.at as u64, problem });
                }
            }
            self.count()?;
            let (start, mut end) = (self.at + 8, (self.at + 8).saturating_add(length));
            if end > source.len() {
                if !lenient {
                    return Err(self.short(head.tag, head.offset));
                }
                end = source.len();
            }
            fragments.push(source.slice(start..end));
            self.at = end;
        }
        self.scope.data.push(Element { tag: head.tag, vr: head.vr, value: Value::Fragments(fragments) });
        Ok(())
    }

    fn count(&mut self) -> Result<(), ReadError> {
        let limit = self.input.options.max_elements;
        self.elements += 1;
        if self.elements > limit { Err(ReadError::TooManyElements { limit }) } else { Ok(()) }
    }

    fn peek(&self) -> Option<[u8; 8]> {
        self.input.source.get(self.at..)?.first_chunk().copied()
    }

    /// The source ends within an element.
    fn short(&self, tag: Tag, offset: usize) -> ReadError {
        if self.input.whole {
            ReadError::Truncated { tag, offset: offset as u64 }
        } else {
            ReadError::Incomplete(self.input.source.len())
        }
    }

    /// Decodes the header of the element at hand (PS3.5 7.1).
    fn head(&self) -> Result<Head, ReadError> {
        let encoding = self.scope.encoding;
        let Some(bytes) = self.peek() else {
            let (tag, offset) = self.levels.last().map_or((self.partial_tag(), self.at), |l| (l.head.tag, l.head.offset));
            return Err(self.short(tag, offset));
        };
        let tag = encoding.tag(&bytes);
        let head = |vr, header_bytes, length| Head {
            tag,
            vr,
            offset: self.at,
            value_offset: self.at + header_bytes,
            length: (length != UNDEFINED).then_some(length),
        };
        let length = encoding.u32([bytes[4], bytes[5], bytes[6], bytes[7]]);
        if tag.0 == 0xFFFE {
            return Ok(head(VR::UN, 8, length));
        }
        let letters = [bytes[4], bytes[5]];
        // Without letters, this element is an implicit one under an explicit label.
        if !encoding.explicit || !letters.iter().all(u8::is_ascii_uppercase) {
            // Encapsulated pixel data is OB, even where the standard allows none (PS3.5 A.4).
            let vr = if length == UNDEFINED && is_pixel_data(tag) { VR::OB } else { self.implicit_vr(tag) };
            return Ok(head(vr, 8, length));
        }
        let short_length = u32::from(encoding.u16([bytes[6], bytes[7]]));
        let long = self.input.source.get(self.at + 8..).and_then(|b| b.first_chunk()).map(|b| encoding.u32(*b));
        match VR::from_binary(letters) {
            Some(vr) if !number::has_long_header(vr) => Ok(head(vr, 8, short_length)),
            Some(vr) => long.map(|length| head(vr, 12, length)).ok_or_else(|| self.short(tag, self.at)),
            // A VR of the future has a long header (PS3.5 7.1.2), one that somebody made up may have a short one.
            None if short_length != 0 => Ok(head(VR::UN, 8, short_length)),
            None => match long {
                Some(length) if is_pixel_data(tag) || !self.follows(tag, length) => Ok(head(VR::UN, 12, length)),
                None if is_pixel_data(tag) || !self.input.whole => Err(self.short(tag, self.at)),
                _ => Ok(head(VR::UN, 8, 0)),
            },
        }
    }

    /// Whether four bytes that may be a length are rather the tag of the element after `tag`.
    fn follows(&self, tag: Tag, length: u32) -> bool {
        let (low, high) = (length as u16, (length >> 16) as u16);
        let next = if self.scope.encoding.big_endian { Tag(high, low) } else { Tag(low, high) };
        next > tag && (next.0 == tag.0 || self.input.options.dictionary.is_known(next) && next.1 != 0)
    }

    fn implicit_vr(&self, tag: Tag) -> VR {
        self.input.options.dictionary.implicit_vr(tag, &self.scope.data, self.scope.signed)
    }

    /// As much of a tag as there is.
    fn partial_tag(&self) -> Tag {
        let mut bytes = [0; 8];
        let rest = self.input.source.get(self.at..).unwrap_or_default();
        bytes.iter_mut().zip(rest).for_each(|(b, r)| *b = *r);
        self.scope.encoding.tag(&bytes)
    }
}

fn is_pixel_data(tag: Tag) -> bool {
    tag.0 == 0x7FE0 && matches!(tag.1, 0x0008 | 0x0009 | 0x0010)
}

/// Whether a value of undefined length holds fragments, not items with elements.
fn is_fragmented(head: Head) -> bool {
    is_pixel_data(head.tag) || matches!(head.vr, VR::OB | VR::OW | VR::OF | VR::OD | VR::OL | VR::OV)
}
