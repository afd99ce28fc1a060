//! The section `Housekeeper`.

use super::Settings;
use super::orthanc::Errors;
use engine::housekeeping::{Housekeeper, Schedule, Triggers};
use model::Level;
use std::time::Duration;

/// The housekeeper, if it is enabled.
pub fn housekeeper(settings: &Settings, errors: &mut Errors) -> Option<Housekeeper> {
    let trigger = |name: &str| settings.flag(&format!("Housekeeper.Triggers.{name}"));
    let housekeeper = Housekeeper {
        force: settings.flag("Housekeeper.Force"),
        force_files: settings.flag("Housekeeper.ForceReconstructFiles"),
        throttle: Duration::from_secs(settings.integer("Housekeeper.ThrottleDelay")),
        schedule: schedule(settings, errors),
        triggers: Triggers {
            storage_compression: trigger("StorageCompressionChange"),
            main_tags: trigger("MainDicomTagsChange"),
            dicom_as_json: trigger("UnnecessaryDicomAsJsonFiles"),
        },
        level: Level::parse(settings.text("Housekeeper.LimitMainDicomTagsReconstructLevel")),
    };
    settings.flag("Housekeeper.Enable").then_some(housekeeper)
}

/// What is asked of the housekeeper and does nothing yet.
pub fn warning(settings: &Settings) -> Option<String> {
    let asked = |name: &&str| settings.flag(&format!("Housekeeper.Triggers.{name}"));
    let later: Vec<&str> = ["IngestTranscodingChange", "DicomWebCacheChange"].into_iter().filter(asked).collect();
    (settings.flag("Housekeeper.Enable") && !later.is_empty()).then(|| {
        format!(
            "Housekeeper: this version has nothing to do for the triggers {}; they wait for what they belong to",
            later.join(" and ")
        )
    })
}

/// `Schedule`: arrays of hours, by day.
fn schedule(settings: &Settings, errors: &mut Errors) -> Schedule {
    let mut schedule = Schedule::default();
    for (day, periods) in settings.members("Housekeeper.Schedule") {
        let option = format!("Housekeeper.Schedule.{day}");
        let Some(periods) = errors.take(&option, periods.as_array().ok_or("expected an array, such as [\"0-6\", \"20-24\"]"))
        else {
            continue;
        };
        for hours in periods {
            let text = hours.as_str().map_or_else(|| hours.to_string(), str::to_owned);
            errors.take(&option, schedule.add(day, &text));
        }
    }
    schedule
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, load, orthanc};
    use super::*;

    fn read(text: &str) -> Result<(Option<Housekeeper>, Vec<String>), String> {
        let settings = load(&[], &Environment::from([("ORTHANC_JSON".into(), text.into())])).map_err(|e| e.to_string())?;
        let config = orthanc::config(&settings).map_err(|e| e.to_string())?;
        Ok((config.engine.housekeeper, settings.warnings))
    }

    #[test]
    fn the_defaults_are_those_of_the_plugin() {
        assert!(read("{}").unwrap().0.is_none());
        let (housekeeper, warnings) = read(r#"{"Housekeeper": {"Enable": true}}"#).unwrap();
        let housekeeper = housekeeper.unwrap();
        assert_eq!((housekeeper.force, housekeeper.force_files, housekeeper.level), (false, false, None));
        assert_eq!((housekeeper.throttle, housekeeper.schedule), (Duration::from_secs(5), Schedule::default()));
        let triggers = housekeeper.triggers;
        assert!(triggers.main_tags && triggers.storage_compression && triggers.dicom_as_json);
        let named = |w: &String| w.contains("IngestTranscodingChange and DicomWebCacheChange");
        assert!(warnings.iter().any(named), "{warnings:?}");
    }

    #[test]
    fn each_option_is_read() {
        let (housekeeper, warnings) = read(
            r#"{"Housekeeper": {"Enable": true, "GlobalPropertyId": 1026, "Force": true, "ForceReconstructFiles": true,
                "ThrottleDelay": 0, "LimitMainDicomTagsReconstructLevel": "Study", "Schedule": {"Monday": ["0-6", "20-24"]},
                "Triggers": {"StorageCompressionChange": false, "MainDicomTagsChange": false, "UnnecessaryDicomAsJsonFiles": false,
                    "IngestTranscodingChange": false, "DicomWebCacheChange": false}}}"#,
        )
        .unwrap();
        let housekeeper = housekeeper.unwrap();
        assert_eq!((housekeeper.force, housekeeper.force_files, housekeeper.level), (true, true, Some(Level::Study)));
        let mut schedule = Schedule::default();
        ["0-6", "20-24"].iter().for_each(|hours| schedule.add("Monday", hours).unwrap());
        assert_eq!((housekeeper.throttle, housekeeper.schedule), (Duration::ZERO, schedule));
        let triggers = housekeeper.triggers;
        assert!(!triggers.main_tags && !triggers.storage_compression && !triggers.dicom_as_json);
        assert!(!warnings.iter().any(|w| w.contains("Housekeeper")), "{warnings:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (section, words) in [
            (r#"{"Schedule": {"Someday": ["0-6"]}}"#, ["Housekeeper.Schedule.Someday", "Monday to Sunday"]),
            (r#"{"Schedule": {"Monday": ["6-0"]}}"#, ["Housekeeper.Schedule.Monday", "6-0"]),
            (r#"{"Schedule": {"Monday": [6]}}"#, ["Housekeeper.Schedule.Monday", "hours"]),
            (r#"{"Schedule": {"Monday": "0-6"}}"#, ["Housekeeper.Schedule.Monday", "an array"]),
            (r#"{"LimitMainDicomTagsReconstructLevel": "Frame"}"#, ["LimitMainDicomTagsReconstructLevel", "Patient, Study"]),
            (r#"{"Triggers": {"MainDicomTagsChange": 1}}"#, ["Housekeeper.Triggers.MainDicomTagsChange", "true or false"]),
        ] {
            let error = read(&format!("{{\"Housekeeper\": {section}}}")).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{section}: {error}");
        }
    }
}
