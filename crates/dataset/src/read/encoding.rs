//! How elements are laid out, as labelled or as seen.

use dicom_core::{Tag, VR};

use crate::dictionary::Dictionary;
use crate::syntax::TransferSyntax;

/// Longest first element that is believed of data without a label.
const PLAUSIBLE_LENGTH: u32 = 1 << 20;

/// The layout of elements. There is no implicit big endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub explicit: bool,
    pub big_endian: bool,
}

impl Encoding {
    pub(super) const IMPLICIT: Self = Self { explicit: false, big_endian: false };
    pub(super) const EXPLICIT: Self = Self { explicit: true, big_endian: false };
    const BIG_ENDIAN: Self = Self { explicit: true, big_endian: true };

    /// The encoding that a transfer syntax promises.
    pub(super) fn of(syntax: &TransferSyntax) -> Self {
        Self { explicit: syntax.is_explicit(), big_endian: syntax.is_big_endian() }
    }

    /// The transfer syntax to name if there is no label.
    pub(super) fn syntax(self) -> TransferSyntax {
        match self {
            Self { explicit: false, .. } => TransferSyntax::IMPLICIT_LITTLE_ENDIAN,
            Self { big_endian: false, .. } => TransferSyntax::EXPLICIT_LITTLE_ENDIAN,
            Self { big_endian: true, .. } => TransferSyntax::EXPLICIT_BIG_ENDIAN,
        }
    }

    /// The encoding of data with a label, which may be wrong: the first element decides whether there are VRs. The byte
    /// order is believed.
    pub(super) fn detect(bytes: &[u8], labelled: Self, dictionary: &Dictionary) -> Self {
        if labelled.big_endian {
            return labelled;
        }
        let seen = [Self::EXPLICIT, Self::IMPLICIT].into_iter().find(|e| e.plausible(bytes, dictionary));
        seen.unwrap_or(labelled)
    }

    /// The encoding of items that should be implicit, by the first element of the first of them: explicit only if its VR is
    /// the one that the dictionary has.
    pub(super) fn of_implicit_items(bytes: &[u8], dictionary: &Dictionary) -> Self {
        let explicit = bytes.first_chunk::<8>().is_some_and(|first| {
            let vr = VR::from_binary([first[4], first[5]]);
            vr.is_some() && vr == dictionary.vr(Self::EXPLICIT.tag(first), None)
        });
        if explicit { Self::EXPLICIT } else { Self::IMPLICIT }
    }

    /// The encoding of data without a label; `None` if the first element is no plausible one.
    ///
    /// Explicit comes first: the letters of a VR are a sure sign, and read as a length they would be a plausible one.
    pub(super) fn guess(bytes: &[u8], dictionary: &Dictionary) -> Option<Self> {
        [Self::EXPLICIT, Self::BIG_ENDIAN, Self::IMPLICIT].into_iter().find(|e| e.plausible(bytes, dictionary))
    }

    /// Whether the first element is one of the standard's, or a group length, with a VR or a length that can be.
    fn plausible(self, bytes: &[u8], dictionary: &Dictionary) -> bool {
        let Some(first) = bytes.first_chunk::<8>() else { return false };
        let tag = self.tag(first);
        let group_length = tag.1 == 0 && (0x0002..=0x0010).contains(&tag.0);
        let standard = tag.0 >= 0x0002 && tag.0.is_multiple_of(2) && tag.1 != 0 && dictionary.is_known(tag);
        if self.explicit {
            return (group_length || standard) && VR::from_binary([first[4], first[5]]).is_some();
        }
        let length = self.u32([first[4], first[5], first[6], first[7]]);
        (group_length && length == 4) || (standard && (length == u32::MAX || length < PLAUSIBLE_LENGTH))
    }

    pub(super) fn tag(self, bytes: &[u8; 8]) -> Tag {
        Tag(self.u16([bytes[0], bytes[1]]), self.u16([bytes[2], bytes[3]]))
    }

    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}
