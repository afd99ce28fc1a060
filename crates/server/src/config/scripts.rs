//! Options of scripts.

use super::Settings;
use super::orthanc::Errors;
use dataset::Dictionary;
use scripting::{Limits, Setup};
use serde_json::Value;
use sha1::{Digest, Sha1};
use std::sync::{Arc, OnceLock};

/// What scripts are made from, if there are any (`LuaScripts`), or may be (`ExecuteLuaEnabled`).
pub(super) fn setup(settings: &Settings, dictionary: &Arc<Dictionary>, errors: &mut Errors) -> Option<Setup> {
    let files = settings.list("LuaScripts");
    if files.is_empty() && !settings.flag("ExecuteLuaEnabled") {
        return None;
    }
    let scripts = files.iter().filter_map(|file| {
        let path = settings.folder.join(file);
        let script = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()));
        Some((file.clone(), errors.take("LuaScripts", script)?))
    });
    Some(Setup {
        scripts: scripts.collect(),
        configuration: Value::Object(settings.values.clone()),
        limits: Limits::default(),
        dictionary: dictionary.clone(),
        http: None,
        engine: OnceLock::new(),
        rest: OnceLock::new(),
    })
}

/// Differs if the scripts differ.
pub(super) fn digest(setup: Option<&Setup>) -> String {
    let mut hash = Sha1::new();
    for (name, script) in setup.map(|s| s.scripts.as_slice()).unwrap_or_default() {
        hash.update(format!("{}:{name}{}:{script}", name.len(), script.len()));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, load};
    use super::*;

    fn read(text: &str) -> (Option<Setup>, Vec<String>) {
        let settings = load(&[], &Environment::from([("ORTHANC_JSON".into(), text.into())])).unwrap();
        let mut errors = Errors(vec![]);
        let setup = setup(&settings, &Arc::default(), &mut errors);
        (setup, errors.0)
    }

    #[test]
    fn scripts_are_files_in_order() {
        assert!(read("{}").0.is_none());
        assert!(read(r#"{"ExecuteLuaEnabled": true}"#).0.unwrap().scripts.is_empty());
        let folder = tempfile::tempdir().unwrap();
        let (b, a) = (folder.path().join("b.lua"), folder.path().join("a.lua"));
        std::fs::write(&b, "x = 1").unwrap();
        std::fs::write(&a, "x = 2").unwrap();
        let (setup, errors) = read(&serde_json::json!({"LuaScripts": [b, a], "Name": "n"}).to_string());
        let setup = setup.unwrap();
        let scripts: Vec<_> = setup.scripts.iter().map(|(_, script)| script.as_str()).collect();
        assert_eq!((scripts, errors), (vec!["x = 1", "x = 2"], vec![]));
        assert_eq!(setup.configuration["Name"], "n");
        assert_ne!(digest(Some(&setup)), digest(None));
        std::fs::remove_file(&a).unwrap();
        let (_, errors) = read(&serde_json::json!({"LuaScripts": [b, a]}).to_string());
        assert!(errors.len() == 1 && errors[0].contains("LuaScripts") && errors[0].contains("a.lua"), "{errors:?}");
    }
}
