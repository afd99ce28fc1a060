//! The beginning of a DICOM file (PS3.10 7.1): preamble, prefix and file meta information for what a C-STORE brings.

use bytes::{BufMut, Bytes, BytesMut};

/// The values of the file meta information, as the network gave them.
pub(crate) struct FileMeta<'a> {
    pub sop_class: &'a str,
    pub sop_instance: &'a str,
    pub transfer_syntax: &'a str,
}

/// Longest value that is written; the network allows UIDs of 64 and AE titles of 16 characters.
const MAX_VALUE_BYTES: usize = 64;

impl FileMeta<'_> {
    /// Preamble of zeros, `DICM`, and group 0002 in Explicit VR Little Endian.
    pub(crate) fn encode(&self) -> Bytes {
        let mut group = BytesMut::with_capacity(384);
        group.put_slice(b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01");
        element(&mut group, 0x0002, b"UI", self.sop_class, 0);
        element(&mut group, 0x0003, b"UI", self.sop_instance, 0);
        element(&mut group, 0x0010, b"UI", self.transfer_syntax, 0);
        element(&mut group, 0x0012, b"UI", dimse::IMPLEMENTATION_CLASS_UID, 0);
        // Clients know Orthanc's length of this group: our longer UID leaves no room for a version name (type 3), and the sender
        // stands in the metadata `RemoteAET`, not in (0002,0016).
        element(&mut group, 0x0013, b"SH", "", b' ');
        let mut file = BytesMut::with_capacity(144 + group.len());
        file.put_bytes(0, 128);
        file.put_slice(b"DICM\x02\x00\x00\x00UL\x04\x00");
        file.put_u32_le(u32::try_from(group.len()).unwrap_or(u32::MAX));
        file.put_slice(&group);
        file.freeze()
    }
}

fn element(out: &mut BytesMut, number: u16, vr: &[u8; 2], value: &str, pad: u8) {
    let value: &[u8] = value.as_bytes().get(..MAX_VALUE_BYTES).unwrap_or(value.as_bytes());
    out.put_u16_le(0x0002);
    out.put_u16_le(number);
    out.put_slice(vr);
    let even = value.len().next_multiple_of(2);
    out.put_u16_le(u16::try_from(even).unwrap_or(u16::MAX));
    out.put_slice(value);
    out.put_bytes(pad, even - value.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dataset_room_reads_it() {
        let meta = FileMeta { sop_class: "1.2.3", sop_instance: "1.2.34", transfer_syntax: "1.2.840.10008.1.2" };
        let options = dataset::ReadOptions::default();
        let header = dataset::read_header(meta.encode(), dataset::Completeness::Whole, &options).unwrap();
        assert_eq!(header.transfer_syntax.uid(), "1.2.840.10008.1.2");
        let text = |element| header.meta.text(dataset::Tag(2, element));
        assert_eq!(text(0x0002).as_deref(), Some("1.2.3"));
        assert_eq!(text(0x0003).as_deref(), Some("1.2.34"));
        assert_eq!(text(0x0012).as_deref(), Some(dimse::IMPLEMENTATION_CLASS_UID));
        assert_eq!(dimse::IMPLEMENTATION_CLASS_UID, dataset::IMPLEMENTATION_CLASS_UID, "files and associations name one program");
        assert_eq!(text(0x0013).as_deref(), Some(""));
        assert_eq!(text(0x0016), None);
    }
}
