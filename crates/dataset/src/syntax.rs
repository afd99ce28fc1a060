//! Transfer syntaxes (PS3.5 10, PS3.6 A): how the bytes of a data set are laid out.

use std::borrow::Cow;

const IMPLICIT: &str = "1.2.840.10008.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const DEFLATED: [&str; 3] = ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"];
const GE_PRIVATE: &str = "1.2.840.113619.5.2";
const PAPYRUS: &str = "1.2.840.10008.1.20";

/// A transfer syntax by its UID. Unknown ones are kept as they are and read as Explicit VR Little Endian.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransferSyntax(Cow<'static, str>);

impl TransferSyntax {
    /// Implicit VR Little Endian, the default (PS3.5 10.1).
    pub const IMPLICIT_LITTLE_ENDIAN: Self = Self(Cow::Borrowed(IMPLICIT));
    /// Explicit VR Little Endian.
    pub const EXPLICIT_LITTLE_ENDIAN: Self = Self(Cow::Borrowed(EXPLICIT));
    /// Explicit VR Big Endian (retired).
    pub const EXPLICIT_BIG_ENDIAN: Self = Self(Cow::Borrowed(BIG_ENDIAN));

    /// The transfer syntax with a UID; blanks and NULs around it do not count.
    pub fn new(uid: &str) -> Self {
        match uid.trim_matches([' ', '\0']) {
            IMPLICIT => Self::IMPLICIT_LITTLE_ENDIAN,
            EXPLICIT => Self::EXPLICIT_LITTLE_ENDIAN,
            BIG_ENDIAN => Self::EXPLICIT_BIG_ENDIAN,
            other => Self(Cow::Owned(other.to_owned())),
        }
    }

    pub fn uid(&self) -> &str {
        &self.0
    }

    /// Whether elements carry their VR.
    pub fn is_explicit(&self) -> bool {
        !matches!(self.uid(), IMPLICIT | PAPYRUS | GE_PRIVATE)
    }

    pub fn is_big_endian(&self) -> bool {
        self.uid() == BIG_ENDIAN
    }

    /// Whether the data set is a raw deflate stream (PS3.5 A.5).
    pub fn is_deflated(&self) -> bool {
        DEFLATED.contains(&self.uid())
    }

    /// Whether pixel data is encapsulated (PS3.5 A.4); unknown syntaxes are taken to be.
    pub fn is_encapsulated(&self) -> bool {
        !matches!(self.uid(), IMPLICIT | EXPLICIT | BIG_ENDIAN | PAPYRUS | GE_PRIVATE) && !self.is_deflated()
    }
}

impl Default for TransferSyntax {
    fn default() -> Self {
        Self::IMPLICIT_LITTLE_ENDIAN
    }
}
