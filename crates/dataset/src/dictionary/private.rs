//! Private attributes of known makers, by private creator (PS3.5 7.8).

use std::sync::LazyLock;

use dicom_core::{Tag, VR};

/// A private attribute.
pub(super) struct Private {
    key: (u16, u8, &'static str),
    pub vr: VR,
    pub name: &'static str,
}

static TABLE: LazyLock<Vec<Private>> = LazyLock::new(|| {
    let mut table: Vec<Private> = include_str!("../../data/private.tsv").lines().filter_map(parse).collect();
    table.sort_by_key(|entry| entry.key);
    table
});

/// The attribute in whatever block its creator has reserved.
pub(super) fn find(tag: Tag, creator: &str) -> Option<&'static Private> {
    let key = (tag.0, tag.1.to_be_bytes()[1], creator);
    TABLE.binary_search_by(|entry| entry.key.cmp(&key)).ok().map(|i| &TABLE[i])
}

fn parse(line: &'static str) -> Option<Private> {
    let mut fields = line.split('\t');
    let group = u16::from_str_radix(fields.next()?, 16).ok()?;
    let element = u8::from_str_radix(fields.next()?, 16).ok()?;
    let creator = fields.next()?;
    Some(Private { key: (group, element, creator), vr: fields.next()?.parse().ok()?, name: fields.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_an_entry() {
        let lines = include_str!("../../data/private.tsv").lines().filter(|l| !l.starts_with('#')).count();
        assert_eq!(TABLE.len(), lines);
        assert!(TABLE.windows(2).all(|w| w[0].key < w[1].key), "a key is there twice");
    }
}
