//! `--config=FILE`: a commented configuration with the defaults.

/// The text. Test harnesses of Orthanc edit such a file by regular expression, so the spelling of some lines matters
/// (`"Option" : value,` and the block of `RegisteredUsers`); the tests below name them.
pub const TEXT: &str = include_str!("sample.jsonc");

#[cfg(test)]
mod tests {
    use super::super::options::{Status, table};
    use super::super::{Environment, load};
    use super::TEXT;

    #[test]
    fn the_sample_changes_nothing_and_shows_what_is_implemented() {
        let settings = load(&[], &Environment::from([("ORTHANC_JSON".into(), TEXT.into())])).unwrap();
        assert_eq!(settings.warnings, [""; 0]);
        for (name, value) in &settings.values {
            assert_eq!(table().find(name).unwrap().default.as_ref(), Some(value), "{name}");
        }
        for (name, spec) in table().below("") {
            if spec.status == Status::Now {
                assert!(TEXT.contains(&format!("\"{name}\"")), "{name} is missing");
            }
        }
    }

    #[test]
    fn lines_that_harnesses_edit_have_their_form() {
        for line in [
            "\"StorageDirectory\" : \"",
            "\"DicomAet\" : \"",
            "\"DicomPort\" : 4242,",
            "\"HttpPort\" : 8042,",
            "\"RemoteAccessAllowed\" : false,",
            "\"ExecuteLuaEnabled\" : false,",
            "\"HttpCompressionEnabled\" : false,",
            "\"DicomAssociationCloseDelay\" : 5,",
            "\"DicomModalities\" : {",
            "\"DeidentifyLogsDicomVersion\" : ",
        ] {
            assert_eq!(TEXT.matches(line).count(), 1, "{line}");
        }
        let block: String = TEXT[TEXT.find("/**").unwrap()..].split_whitespace().collect();
        assert!(block.starts_with("/**\"RegisteredUsers\":{//\"alice\":\"alicePassword\"},**/"), "{block}");
    }
}
