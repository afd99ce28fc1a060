//! The transfer syntaxes in which objects can be received, and which of them are accepted.

use dicom_dictionary_std::uids;

use crate::wildcard;

/// A group of transfer syntaxes that one option of Orthanc switches (`JpegTransferSyntaxAccepted` and so on).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferSyntaxGroup {
    Deflated,
    /// All processes of ISO 10918, lossless ones too.
    Jpeg,
    Jpeg2000,
    /// JPEG-LS, in spite of the option's name.
    JpegLossless,
    Jpip,
    Mpeg2,
    Mpeg4,
    H265,
    Rle,
}

impl TransferSyntaxGroup {
    /// All groups.
    pub const ALL: [Self; 9] = [
        Self::Deflated,
        Self::Jpeg,
        Self::Jpeg2000,
        Self::JpegLossless,
        Self::Jpip,
        Self::Mpeg2,
        Self::Mpeg4,
        Self::H265,
        Self::Rle,
    ];

    /// Orthanc's option for this group.
    pub fn option(self) -> &'static str {
        match self {
            Self::Deflated => "DeflatedTransferSyntaxAccepted",
            Self::Jpeg => "JpegTransferSyntaxAccepted",
            Self::Jpeg2000 => "Jpeg2000TransferSyntaxAccepted",
            Self::JpegLossless => "JpegLosslessTransferSyntaxAccepted",
            Self::Jpip => "JpipTransferSyntaxAccepted",
            Self::Mpeg2 => "Mpeg2TransferSyntaxAccepted",
            Self::Mpeg4 => "Mpeg4TransferSyntaxAccepted",
            Self::H265 => "H265TransferSyntaxAccepted",
            Self::Rle => "RleTransferSyntaxAccepted",
        }
    }
}

use TransferSyntaxGroup as G;

/// All transfer syntaxes of PS3.6 A in which objects are stored, and the group of each. Not among them: real-time video
/// (1.2.840.10008.1.2.7.*), which is not stored, and the retired MIME and XML encodings.
#[expect(deprecated, reason = "retired transfer syntaxes are received all the same")]
pub const TRANSFER_SYNTAXES: &[(&str, Option<TransferSyntaxGroup>)] = &[
    (uids::IMPLICIT_VR_LITTLE_ENDIAN, None),
    (uids::EXPLICIT_VR_LITTLE_ENDIAN, None),
    (uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN, None),
    (uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, Some(G::Deflated)),
    (uids::EXPLICIT_VR_BIG_ENDIAN, None),
    (uids::JPEG_BASELINE8_BIT, Some(G::Jpeg)),
    (uids::JPEG_EXTENDED12_BIT, Some(G::Jpeg)),
    (uids::JPEG_EXTENDED35, Some(G::Jpeg)),
    (uids::JPEG_SPECTRAL_SELECTION_NON_HIERARCHICAL68, Some(G::Jpeg)),
    (uids::JPEG_SPECTRAL_SELECTION_NON_HIERARCHICAL79, Some(G::Jpeg)),
    (uids::JPEG_FULL_PROGRESSION_NON_HIERARCHICAL1012, Some(G::Jpeg)),
    (uids::JPEG_FULL_PROGRESSION_NON_HIERARCHICAL1113, Some(G::Jpeg)),
    (uids::JPEG_LOSSLESS, Some(G::Jpeg)),
    (uids::JPEG_LOSSLESS_NON_HIERARCHICAL15, Some(G::Jpeg)),
    (uids::JPEG_EXTENDED_HIERARCHICAL1618, Some(G::Jpeg)),
    (uids::JPEG_EXTENDED_HIERARCHICAL1719, Some(G::Jpeg)),
    (uids::JPEG_SPECTRAL_SELECTION_HIERARCHICAL2022, Some(G::Jpeg)),
    (uids::JPEG_SPECTRAL_SELECTION_HIERARCHICAL2123, Some(G::Jpeg)),
    (uids::JPEG_FULL_PROGRESSION_HIERARCHICAL2426, Some(G::Jpeg)),
    (uids::JPEG_FULL_PROGRESSION_HIERARCHICAL2527, Some(G::Jpeg)),
    (uids::JPEG_LOSSLESS_HIERARCHICAL28, Some(G::Jpeg)),
    (uids::JPEG_LOSSLESS_HIERARCHICAL29, Some(G::Jpeg)),
    (uids::JPEG_LOSSLESS_SV1, Some(G::Jpeg)),
    (uids::JPEGLS_LOSSLESS, Some(G::JpegLossless)),
    (uids::JPEGLS_NEAR_LOSSLESS, Some(G::JpegLossless)),
    (uids::JPEG2000_LOSSLESS, Some(G::Jpeg2000)),
    (uids::JPEG2000, Some(G::Jpeg2000)),
    (uids::JPEG2000MC_LOSSLESS, Some(G::Jpeg2000)),
    (uids::JPEG2000MC, Some(G::Jpeg2000)),
    (uids::JPIP_REFERENCED, Some(G::Jpip)),
    (uids::JPIP_REFERENCED_DEFLATE, Some(G::Jpip)),
    (uids::MPEG2MPML, Some(G::Mpeg2)),
    (uids::MPEG2MPMLF, Some(G::Mpeg2)),
    (uids::MPEG2MPHL, Some(G::Mpeg2)),
    (uids::MPEG2MPHLF, Some(G::Mpeg2)),
    (uids::MPEG4HP41, Some(G::Mpeg4)),
    (uids::MPEG4HP41F, Some(G::Mpeg4)),
    (uids::MPEG4HP41BD, Some(G::Mpeg4)),
    (uids::MPEG4HP41BDF, Some(G::Mpeg4)),
    (uids::MPEG4HP422D, Some(G::Mpeg4)),
    (uids::MPEG4HP422DF, Some(G::Mpeg4)),
    (uids::MPEG4HP423D, Some(G::Mpeg4)),
    (uids::MPEG4HP423DF, Some(G::Mpeg4)),
    (uids::MPEG4HP42STEREO, Some(G::Mpeg4)),
    (uids::MPEG4HP42STEREOF, Some(G::Mpeg4)),
    (uids::HEVCMP51, Some(G::H265)),
    (uids::HEVCM10P51, Some(G::H265)),
    (uids::JPEGXL_LOSSLESS, None),
    (uids::JPEGXLJPEG_RECOMPRESSION, None),
    (uids::JPEGXL, None),
    (uids::HTJ2K_LOSSLESS, None),
    (uids::HTJ2K_LOSSLESS_RPCL, None),
    (uids::HTJ2K, None),
    (uids::JPIPHTJ2K_REFERENCED, None),
    (uids::JPIPHTJ2K_REFERENCED_DEFLATE, None),
    (uids::RLE_LOSSLESS, Some(G::Rle)),
    (uids::DEFLATED_IMAGE_FRAME_COMPRESSION, None),
    (uids::PAPYRUS3_IMPLICIT_VR_LITTLE_ENDIAN, None),
];

/// Expands Orthanc's `AcceptedTransferSyntaxes`, in which `*` and `?` are wildcards; then each switch adds or removes its group.
pub fn accepted_transfer_syntaxes(patterns: &[String], switches: &[(TransferSyntaxGroup, bool)]) -> Vec<String> {
    let mut found = wildcard::expand(patterns, TRANSFER_SYNTAXES.iter().map(|(uid, _)| *uid));
    for (group, accepted) in switches {
        let members = TRANSFER_SYNTAXES.iter().filter(|(_, of)| *of == Some(*group)).map(|(uid, _)| *uid);
        for uid in members {
            found.retain(|known| known != uid);
            if *accepted {
                found.push(uid.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(patterns: &[&str], switches: &[(TransferSyntaxGroup, bool)]) -> Vec<String> {
        accepted_transfer_syntaxes(&patterns.iter().map(|&p| p.to_owned()).collect::<Vec<_>>(), switches)
    }

    #[test]
    fn wildcards_and_switches() {
        let all = expanded(&["1.2.840.10008.1.*"], &[]);
        assert_eq!(all.len(), TRANSFER_SYNTAXES.len());
        assert_eq!(expanded(&["*"], &[]), all);
        let no_jpeg = expanded(&["*"], &[(G::Jpeg, false)]);
        assert!(!no_jpeg.iter().any(|ts| ts == uids::JPEG_LOSSLESS_SV1));
        assert!(no_jpeg.iter().any(|ts| ts == uids::JPEGLS_LOSSLESS));
        let explicit = uids::EXPLICIT_VR_LITTLE_ENDIAN;
        assert_eq!(expanded(&[explicit], &[(G::Rle, true), (G::Rle, true)]), [explicit, uids::RLE_LOSSLESS]);
        assert_eq!(expanded(&["1.2.840.113619.5.2", "9.9*"], &[]), ["1.2.840.113619.5.2"]);
        assert_eq!(expanded(&[], &[]), Vec::<String>::new());
    }

    #[test]
    fn every_group_has_members() {
        for group in TransferSyntaxGroup::ALL {
            assert!(TRANSFER_SYNTAXES.iter().any(|(_, of)| *of == Some(group)), "{}", group.option());
        }
    }
}
