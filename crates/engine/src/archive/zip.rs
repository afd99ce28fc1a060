//! The ZIP format (APPNOTE.TXT 6.3.10), written from front to back: what is written is never looked at again.
//!
//! An entry whose bytes are all there carries its sizes in front of them. One that is too large for that is followed by
//! them (4.3.9); it is always deflated, because a reader of a stream finds the end of a stored entry only by its size.
//! ZIP64 fields (4.5.3) appear where the numbers need them.

use bytes::{BufMut, Bytes, BytesMut};
use model::time;
use std::time::{SystemTime, UNIX_EPOCH};

const LOCAL_HEADER: u32 = 0x0403_4B50;
const DESCRIPTOR: u32 = 0x0807_4B50;
const DIRECTORY_HEADER: u32 = 0x0201_4B50;
const END: u32 = 0x0605_4B50;
const END_64: u32 = 0x0606_4B50;
const LOCATOR_64: u32 = 0x0706_4B50;

/// "See the ZIP64 field" (4.4.1.4).
const IN_ZIP64: u32 = u32::MAX;
const EXTRA_ZIP64: u16 = 1;
/// Info-ZIP's extended timestamp: the time in UTC, because that of the header has no time zone.
const EXTRA_TIME: u16 = 0x5455;
const SIZES_FOLLOW: u16 = 1 << 3;
const UTF8: u16 = 1 << 11;
/// Larger entries get 64-bit sizes at once: packed bytes may be a little more than the bytes themselves.
const LARGE_BYTES: u64 = 0xFF00_0000;
/// Directory entries in one piece of the output.
const RECORDS_PER_PIECE: usize = 256;

/// How the bytes of an entry are packed (4.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored = 0,
    Deflated = 8,
}

/// What an entry turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) crc: u32,
    pub(super) bytes: u64,
    /// In the archive.
    pub(super) packed: u64,
}

/// A line of the directory.
struct Record {
    name: Box<str>,
    method: Method,
    sizes: Sizes,
    header_at: u64,
    follows: bool,
    large: bool,
}

/// Makes everything of an archive but the packed bytes, and counts those.
pub(super) struct ZipWriter {
    at: u64,
    records: Vec<Record>,
    /// Seconds since 1970, and the same as MS-DOS time and date (4.4.6).
    seconds: u32,
    dos: (u16, u16),
}

impl ZipWriter {
    /// An archive whose entries were all modified at `time`.
    pub(super) fn new(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { at: 0, records: vec![], seconds: u32::try_from(seconds).unwrap_or(u32::MAX), dos: dos_time(time) }
    }

    /// The header of an entry whose packed bytes come next, all of them.
    pub(super) fn whole(&mut self, name: &str, method: Method, crc: u32, bytes: u32, packed: u32) -> Bytes {
        let sizes = Sizes { crc, bytes: bytes.into(), packed: packed.into() };
        let record = Record { name: name.into(), method, sizes, header_at: self.at, follows: false, large: false };
        let header = self.local_header(&record);
        self.at += header.len() as u64 + u64::from(packed);
        self.records.push(record);
        header
    }

    /// The header of a deflated entry of `bytes` bytes, whose packed bytes come next, and then [`Self::end_entry`].
    pub(super) fn begin_entry(&mut self, name: &str, bytes: u64) -> Bytes {
        let sizes = Sizes { bytes, ..Sizes::default() };
        let large = bytes >= LARGE_BYTES;
        let record = Record { name: name.into(), method: Method::Deflated, sizes, header_at: self.at, follows: true, large };
        let header = self.local_header(&record);
        self.at += header.len() as u64;
        self.records.push(record);
        header
    }

    /// What follows the packed bytes of an entry that was begun.
    pub(super) fn end_entry(&mut self, sizes: Sizes) -> Bytes {
        let mut out = BytesMut::with_capacity(24);
        let Some(record) = self.records.last_mut() else { return out.freeze() };
        record.sizes = sizes;
        out.put_u32_le(DESCRIPTOR);
        out.put_u32_le(sizes.crc);
        if record.large {
            out.put_u64_le(sizes.packed);
            out.put_u64_le(sizes.bytes);
        } else {
            out.put_u32_le(short(sizes.packed));
            out.put_u32_le(short(sizes.bytes));
        }
        self.at += sizes.packed + out.len() as u64;
        out.freeze()
    }

    fn local_header(&self, record: &Record) -> Bytes {
        let mut extra = self.time_field();
        let (mut packed, mut bytes, mut crc) = (short(record.sizes.packed), short(record.sizes.bytes), record.sizes.crc);
        if record.follows {
            (packed, bytes, crc) = (0, 0, 0);
        }
        if record.large {
            (packed, bytes) = (IN_ZIP64, IN_ZIP64);
            put_zip64(&mut extra, &[0, 0]);
        }
        let mut out = BytesMut::with_capacity(64 + record.name.len());
        out.put_u32_le(LOCAL_HEADER);
        self.put_common(&mut out, record, [crc, packed, bytes], extra.len());
        out.put_slice(record.name.as_bytes());
        out.put_slice(&extra);
        out.freeze()
    }

    /// The fields that the local header and the directory share (4.3.7, 4.3.12), up to the length of the extra field.
    fn put_common(&self, out: &mut BytesMut, record: &Record, [crc, packed, bytes]: [u32; 3], extra: usize) {
        let needs_64 = [packed, bytes].contains(&IN_ZIP64) || record.header_at >= IN_ZIP64.into();
        let mut flags = if record.follows { SIZES_FOLLOW } else { 0 };
        if !record.name.is_ascii() {
            flags |= UTF8;
        }
        out.put_u16_le(if needs_64 { 45 } else { 20 });
        out.put_u16_le(flags);
        out.put_u16_le(record.method as u16);
        out.put_u16_le(self.dos.0);
        out.put_u16_le(self.dos.1);
        out.put_u32_le(crc);
        out.put_u32_le(packed);
        out.put_u32_le(bytes);
        out.put_u16_le(record.name.len() as u16);
        out.put_u16_le(extra as u16);
    }

    fn time_field(&self) -> BytesMut {
        let mut extra = BytesMut::with_capacity(40);
        extra.put_u16_le(EXTRA_TIME);
        extra.put_u16_le(5);
        extra.put_u8(1); // the time of modification, and no other
        extra.put_u32_le(self.seconds);
        extra
    }

    fn directory_header(&self, record: &Record, out: &mut BytesMut) {
        let Sizes { crc, bytes, packed } = record.sizes;
        let mut fields = [short(packed), short(bytes), short(record.header_at)];
        let mut extra = self.time_field();
        if record.large || fields.contains(&IN_ZIP64) {
            // In this order, and only those whose short form says so (4.5.3). The sizes of a large entry go together.
            let mut long = vec![];
            if record.large || fields[0] == IN_ZIP64 || fields[1] == IN_ZIP64 {
                (fields[0], fields[1]) = (IN_ZIP64, IN_ZIP64);
                long.extend([bytes, packed]);
            }
            if fields[2] == IN_ZIP64 {
                long.push(record.header_at);
            }
            put_zip64(&mut extra, &long);
        }
        out.put_u32_le(DIRECTORY_HEADER);
        // Made by version 4.5 on MS-DOS: no attributes of files.
        out.put_u16_le(45);
        self.put_common(out, record, [crc, fields[0], fields[1]], extra.len());
        out.put_bytes(0, 2 + 2 + 2 + 4); // comment, disk, internal and external attributes
        out.put_u32_le(fields[2]);
        out.put_slice(record.name.as_bytes());
        out.put_slice(&extra);
    }

    /// The directory and the end of the archive, in pieces.
    pub(super) fn finish(self) -> impl Iterator<Item = Bytes> + Send {
        let (mut next, mut size) = (0, 0);
        std::iter::from_fn(move || {
            let mut out = BytesMut::new();
            let count = self.records.len();
            if next < count {
                let until = count.min(next + RECORDS_PER_PIECE);
                self.records[next..until].iter().for_each(|record| self.directory_header(record, &mut out));
                next = until;
                size += out.len() as u64;
            } else if next == count {
                put_end(&mut out, count as u64, size, self.at);
                next = count + 1;
            } else {
                return None;
            }
            Some(out.freeze())
        })
    }
}

/// The number, or the mark that it is in the ZIP64 field.
fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(IN_ZIP64)
}

fn put_zip64(extra: &mut BytesMut, numbers: &[u64]) {
    extra.put_u16_le(EXTRA_ZIP64);
    extra.put_u16_le(numbers.len() as u16 * 8);
    numbers.iter().for_each(|n| extra.put_u64_le(*n));
}

/// The end records (4.3.14 to 4.3.16).
fn put_end(out: &mut BytesMut, count: u64, size: u64, at: u64) {
    let short_count = u16::try_from(count).unwrap_or(u16::MAX);
    let (short_size, short_at) = (short(size), short(at));
    if short_count == u16::MAX || short_size == IN_ZIP64 || short_at == IN_ZIP64 {
        out.put_u32_le(END_64);
        out.put_u64_le(44); // bytes that follow
        out.put_u16_le(45);
        out.put_u16_le(45);
        out.put_bytes(0, 8); // disks
        out.put_u64_le(count);
        out.put_u64_le(count);
        out.put_u64_le(size);
        out.put_u64_le(at);
        out.put_u32_le(LOCATOR_64);
        out.put_u32_le(0);
        out.put_u64_le(at + size);
        out.put_u32_le(1);
    }
    out.put_u32_le(END);
    out.put_bytes(0, 4);
    out.put_u16_le(short_count);
    out.put_u16_le(short_count);
    out.put_u32_le(short_size);
    out.put_u32_le(short_at);
    out.put_u16_le(0);
}

/// MS-DOS time and date in UTC; 1980 is its beginning and 2107 its end.
fn dos_time(time: SystemTime) -> (u16, u16) {
    let text = time::iso(time);
    let number = |from: usize, to: usize| text.get(from..to).and_then(|t| t.parse::<u16>().ok()).unwrap_or_default();
    let year = number(0, 4).clamp(1980, 2107);
    let date = (year - 1980) << 9 | number(4, 6) << 5 | number(6, 8);
    (number(9, 11) << 11 | number(11, 13) << 5 | (number(13, 15) / 2), date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, SeekFrom, Write};
    use std::time::Duration;

    fn writer() -> ZipWriter {
        // 2026-11-24 10:15:31 UTC
        ZipWriter::new(UNIX_EPOCH + Duration::from_secs(1_795_515_331))
    }

    /// More than 65,534 entries need the long end record, and one of them more does not.
    #[test]
    fn many_entries() {
        for count in [0xFFFE_usize, 0xFFFF, 0x1_0001] {
            let mut zip = writer();
            let mut bytes = vec![];
            for n in 0..count {
                let content = n.to_le_bytes();
                let name = format!("folder/{n}");
                bytes.extend_from_slice(&zip.whole(&name, Method::Stored, crc(&content), 8, 8));
                bytes.extend_from_slice(&content);
            }
            zip.finish().for_each(|piece| bytes.extend_from_slice(&piece));
            let has_long_end = bytes[bytes.len() - 42..].starts_with(&LOCATOR_64.to_le_bytes());
            assert_eq!(has_long_end, count >= 0xFFFF);
            let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
            assert_eq!(archive.len(), count);
            for n in [0, 1, count / 2, count - 1] {
                let mut content = vec![];
                archive.by_name(&format!("folder/{n}")).unwrap().read_to_end(&mut content).unwrap();
                assert_eq!(content, n.to_le_bytes());
            }
        }
    }

    /// Sizes and places beyond 4 GiB, in a file with a hole where the bytes would be.
    #[test]
    fn large_entries() {
        for size in [LARGE_BYTES - 1, LARGE_BYTES, u64::from(u32::MAX), 5 << 30] {
            let mut file = tempfile::tempfile().unwrap();
            let mut zip = writer();
            let skip = |file: &mut File, bytes: u64| file.seek(SeekFrom::Current(bytes as i64)).unwrap();
            for name in ["first", "second"] {
                file.write_all(&zip.begin_entry(name, size)).unwrap();
                skip(&mut file, size + 100);
                file.write_all(&zip.end_entry(Sizes { crc: 7, bytes: size, packed: size + 100 })).unwrap();
            }
            file.write_all(&zip.whole("last", Method::Stored, crc(b"end"), 3, 3)).unwrap();
            file.write_all(b"end").unwrap();
            zip.finish().for_each(|piece| file.write_all(&piece).unwrap());
            let mut archive = zip::ZipArchive::new(file).unwrap();
            assert_eq!(archive.len(), 3);
            for n in 0..2 {
                let entry = archive.by_index_raw(n).unwrap();
                assert_eq!((entry.size(), entry.compressed_size(), entry.crc32()), (size, size + 100, 7));
            }
            assert!(archive.by_index_raw(1).unwrap().header_start() > size);
            let mut content = vec![];
            archive.by_name("last").unwrap().read_to_end(&mut content).unwrap();
            assert_eq!(content, b"end");
        }
    }

    #[test]
    fn entries_have_their_time_and_mark_names_that_are_not_ascii() {
        let mut zip = writer();
        let mut bytes = vec![];
        for name in ["plain", "M\u{fc}ller"] {
            bytes.extend_from_slice(&zip.whole(name, Method::Stored, 0, 0, 0));
        }
        zip.finish().for_each(|piece| bytes.extend_from_slice(&piece));
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        for (n, name) in ["plain", "M\u{fc}ller"].into_iter().enumerate() {
            let entry = archive.by_index(n).unwrap();
            assert_eq!(entry.name().unwrap(), name);
            let time = entry.last_modified().unwrap();
            assert_eq!((time.year(), time.month(), time.day()), (2026, 11, 24));
            assert_eq!((time.hour(), time.minute(), time.second()), (10, 15, 30));
        }
    }

    #[test]
    fn times_outside_of_the_format_are_its_ends() {
        assert_eq!(dos_time(UNIX_EPOCH).1 >> 9, 0);
        assert_eq!(dos_time(UNIX_EPOCH + Duration::from_secs(1 << 36)).1 >> 9, 127);
    }

    fn crc(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }
}
