//! What the reader fills: elements in tag order, values as raw bytes.

use bytes::Bytes;
use dicom_core::{Tag, VR};

use crate::charset::CharacterSet;
use crate::text;

const SPECIFIC_CHARACTER_SET: Tag = Tag(0x0008, 0x0005);
/// Longer ones (64 characters are allowed) are no private creators. It is looked at for each private element.
const MAX_CREATOR_BYTES: usize = 512;

/// Elements by tag, each tag once, in ascending order.
///
/// A data set knows the character set in effect for its text: its own Specific Character Set, or what it inherited from the
/// data set around it, or the reader's default (PS3.5 6.1.2.5.4).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataSet {
    elements: Vec<Element>,
    charset: CharacterSet,
}

/// One data element.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    pub tag: Tag,
    /// As stored, or by the dictionary if the encoding is implicit. Unknown ones are `UN`.
    pub vr: VR,
    pub value: Value,
}

/// The value of an element.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// As stored, padding included, but always little endian: a slice of the source unless the source is big endian.
    Bytes(Bytes),
    /// The items of a sequence.
    Items(Vec<DataSet>),
    /// Encapsulated pixel data: the basic offset table (often empty), then the fragments (PS3.5 A.4).
    Fragments(Vec<Bytes>),
}

impl DataSet {
    /// An empty data set whose text is in the default repertoire.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty data set whose text is in `charset` unless it says otherwise.
    pub fn with_charset(charset: CharacterSet) -> Self {
        Self { elements: Vec::new(), charset }
    }

    pub fn get(&self, tag: Tag) -> Option<&Element> {
        self.position(tag).ok().map(|i| &self.elements[i])
    }

    /// The elements in tag order.
    pub fn iter(&self) -> std::slice::Iter<'_, Element> {
        self.elements.iter()
    }

    pub fn len(&self) -> usize {
        self.elements.len()
    }

    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Inserts or replaces an element. Items inherit the character set; putting (0008,0005) changes it for what is here.
    pub fn put(&mut self, mut element: Element) {
        let tag = element.tag;
        if let Value::Items(items) = &mut element.value {
            items.iter_mut().for_each(|item| item.inherit(self.charset));
        }
        match self.position(tag) {
            Ok(i) => self.elements[i] = element,
            Err(i) => self.elements.insert(i, element),
        }
        if tag == SPECIFIC_CHARACTER_SET {
            let charset = self.declared_charset().unwrap_or(self.charset);
            self.set_charset(charset);
        }
    }

    pub fn remove(&mut self, tag: Tag) -> Option<Element> {
        self.position(tag).ok().map(|i| self.elements.remove(i))
    }

    /// The text of an element as Orthanc shows it: decoded, without trailing padding, all values joined by `\`; numbers in
    /// decimal. `None` if it is absent, a sequence or binary.
    pub fn text(&self, tag: Tag) -> Option<String> {
        text::of(self, self.get(tag)?, None)
    }

    /// The character set in effect for text in this data set.
    pub fn charset(&self) -> CharacterSet {
        self.charset
    }

    /// The private creator that reserved the block of a private element (PS3.5 7.8.1).
    pub fn private_creator_of(&self, tag: Tag) -> Option<String> {
        let block = tag.1 >> 8;
        if tag.0.is_multiple_of(2) || block < 0x10 {
            return None;
        }
        let creator = self.get(Tag(tag.0, block))?;
        if matches!(&creator.value, Value::Bytes(raw) if raw.len() > MAX_CREATOR_BYTES) {
            return None;
        }
        text::string(self, creator).map(|t| t.trim_matches(' ').to_owned()).filter(|t| !t.is_empty())
    }

    /// Appends an element as read; [`DataSet::settle`] must follow.
    pub(crate) fn push(&mut self, element: Element) {
        let is_charset = element.tag == SPECIFIC_CHARACTER_SET;
        self.elements.push(element);
        if is_charset {
            self.charset = self.elements.last().and_then(declared).unwrap_or(self.charset);
        }
    }

    pub(crate) fn reserve(&mut self, n: usize) {
        self.elements.reserve(n);
    }

    /// Brings pushed elements in order; of several with one tag the last one stays.
    pub(crate) fn settle(&mut self) {
        if self.elements.windows(2).all(|w| w[0].tag < w[1].tag) {
            return;
        }
        self.elements.sort_by_key(|e| e.tag);
        self.elements.reverse();
        self.elements.dedup_by_key(|e| e.tag);
        self.elements.reverse();
    }

    fn position(&self, tag: Tag) -> Result<usize, usize> {
        self.elements.binary_search_by_key(&tag, |e| e.tag)
    }

    fn declared_charset(&self) -> Option<CharacterSet> {
        self.get(SPECIFIC_CHARACTER_SET).and_then(declared)
    }

    fn inherit(&mut self, charset: CharacterSet) {
        let own = self.declared_charset().unwrap_or(charset);
        self.set_charset(own);
    }

    fn set_charset(&mut self, charset: CharacterSet) {
        self.charset = charset;
        for element in &mut self.elements {
            if let Value::Items(items) = &mut element.value {
                items.iter_mut().for_each(|item| item.inherit(charset));
            }
        }
    }
}

fn declared(element: &Element) -> Option<CharacterSet> {
    match &element.value {
        Value::Bytes(bytes) => CharacterSet::from_specific(bytes),
        _ => None,
    }
}

impl<'a> IntoIterator for &'a DataSet {
    type Item = &'a Element;
    type IntoIter = std::slice::Iter<'a, Element>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Element> for DataSet {
    fn from_iter<T: IntoIterator<Item = Element>>(elements: T) -> Self {
        let mut data = Self::new();
        elements.into_iter().for_each(|e| data.put(e));
        data
    }
}

impl Element {
    /// An element with raw bytes (little endian) as its value.
    pub fn bytes(tag: Tag, vr: VR, value: impl Into<Bytes>) -> Self {
        Self { tag, vr, value: Value::Bytes(value.into()) }
    }

    /// A sequence.
    pub fn items(tag: Tag, items: Vec<DataSet>) -> Self {
        Self { tag, vr: VR::SQ, value: Value::Items(items) }
    }
}
