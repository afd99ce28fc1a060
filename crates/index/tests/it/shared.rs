//! Remote servers and settings, which all processes share.

use crate::fixture::*;
use crate::for_each_index;
use model::ports::index::Note;
use model::ports::index::RemoteKind::{Modality, Peer};
use serde_json::json;
use std::collections::BTreeMap;

fn named<T: Clone>(entries: &[(&str, T)]) -> BTreeMap<String, T> {
    entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

async fn remotes_come_and_go(db: &mut Fresh) {
    assert!(db.remotes(Modality).await.unwrap().is_empty());
    assert_eq!(db.remote(Modality, "a").await.unwrap(), None);
    assert!(!db.delete_remote(Modality, "a").await.unwrap());
    let first = json!({"AET": "A", "Port": 104, "Ünï": "\"\\\u{0}"});
    db.put_remote(Modality, "a", &first).await.unwrap();
    db.put_remote(Peer, "a", &json!(["http://x"])).await.unwrap();
    assert_eq!(db.remote(Modality, "a").await.unwrap(), Some(first));
    assert_eq!(db.remote(Modality, "A").await.unwrap(), None, "names are exact");
    db.put_remote(Modality, "a", &json!({"AET": "B"})).await.unwrap();
    db.put_remote(Modality, "Z", &json!({})).await.unwrap();
    db.restart();
    let expected = named(&[("Z", json!({})), ("a", json!({"AET": "B"}))]);
    assert_eq!(db.remotes(Modality).await.unwrap(), expected);
    assert!(db.delete_remote(Modality, "a").await.unwrap());
    assert!(!db.delete_remote(Modality, "a").await.unwrap());
    assert_eq!(db.remote(Modality, "a").await.unwrap(), None);
    assert_eq!(db.remotes(Peer).await.unwrap(), named(&[("a", json!(["http://x"]))]));
}

async fn the_configuration_seeds_what_is_new_or_changed(db: &mut Fresh) {
    let now = async |db: &Fresh| db.remotes(Modality).await.unwrap();
    let file =
        named(&[("kept", json!(1)), ("put", json!(1)), ("deleted", json!(1)), ("changing", json!(1)), ("leaving", json!(1))]);
    db.put_remote(Modality, "own", &json!("own")).await.unwrap();
    db.put_remote(Modality, "kept", &json!("of a client")).await.unwrap();
    db.put_remote(Peer, "leaving", &json!("of another kind")).await.unwrap();
    db.seed_remotes(Modality, &file).await.unwrap();
    let mut expected = file.clone();
    expected.insert("own".into(), json!("own"));
    assert_eq!(now(db).await, expected, "what is new in the configuration wins");
    // The same configuration again: what clients did stays.
    db.put_remote(Modality, "put", &json!(2)).await.unwrap();
    assert!(db.delete_remote(Modality, "deleted").await.unwrap());
    assert!(!db.delete_remote(Modality, "deleted").await.unwrap());
    db.restart();
    db.seed_remotes(Modality, &file).await.unwrap();
    expected.insert("put".into(), json!(2));
    expected.remove("deleted");
    assert_eq!(now(db).await, expected);
    // Another configuration: changed entries win, entries that left go with it, unless a client has changed them.
    let other = named(&[("kept", json!(1)), ("changing", json!(3)), ("deleted", json!(3))]);
    db.seed_remotes(Modality, &other).await.unwrap();
    let expected =
        named(&[("own", json!("own")), ("kept", json!(1)), ("changing", json!(3)), ("deleted", json!(3)), ("put", json!(2))]);
    assert_eq!(now(db).await, expected);
    // What was put over an entry that left is a client's now.
    db.seed_remotes(Modality, &BTreeMap::new()).await.unwrap();
    assert_eq!(now(db).await, named(&[("own", json!("own")), ("put", json!(2))]));
    assert!(db.delete_remote(Modality, "put").await.unwrap());
    db.seed_remotes(Modality, &named(&[("leaving", json!(1))])).await.unwrap();
    assert_eq!(now(db).await, named(&[("own", json!("own")), ("leaving", json!(1))]));
    assert_eq!(db.remotes(Peer).await.unwrap().len(), 1);
}

async fn what_was_deleted_and_left_the_configuration_can_come_back(db: &mut Fresh) {
    let file = named(&[("a", json!(1))]);
    db.seed_remotes(Modality, &file).await.unwrap();
    db.delete_remote(Modality, "a").await.unwrap();
    db.seed_remotes(Modality, &BTreeMap::new()).await.unwrap();
    db.seed_remotes(Modality, &file).await.unwrap();
    assert_eq!(db.remotes(Modality).await.unwrap(), file);
    db.delete_remote(Modality, "a").await.unwrap();
    db.put_remote(Modality, "a", &json!(2)).await.unwrap();
    db.seed_remotes(Modality, &file).await.unwrap();
    assert_eq!(db.remotes(Modality).await.unwrap(), named(&[("a", json!(2))]));
}

async fn sixty_concurrent_puts_survive(db: &mut Fresh) {
    let mut tasks = vec![];
    for n in 0..60 {
        let db = db.shared();
        tasks.push(tokio::spawn(async move {
            db.put_remote(Modality, &format!("m{n}"), &json!({"Port": n})).await.unwrap();
            assert_eq!(db.remote(Modality, &format!("m{n}")).await.unwrap(), Some(json!({"Port": n})));
            if n % 10 == 0 {
                db.seed_remotes(Modality, &named(&[("seeded", json!(0))])).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let all = db.remotes(Modality).await.unwrap();
    assert_eq!(all.len(), 61);
    assert!((0..60).all(|n| all[&format!("m{n}")] == json!({"Port": n})));
}

async fn settings_are_read_as_written(db: &mut Fresh) {
    let before = db.settings().await.unwrap();
    assert!(before.values.is_empty());
    let mut last = before.version;
    for value in ["", "1", "ünï 'code' \"\\"] {
        let version = db.set_setting("k", value).await.unwrap();
        assert!(version > last);
        last = version;
        let now = db.settings().await.unwrap();
        assert_eq!((now.version, now.values), (version, named(&[("k", value.to_owned())])));
    }
    db.restart();
    let now = db.settings().await.unwrap();
    assert_eq!((now.version, now.values.len()), (last, 1));
}

async fn who_knows_a_version_knows_all_writes_up_to_it(db: &mut Fresh) {
    let mut tasks = vec![];
    for n in 0..20 {
        let db = db.shared();
        tasks.push(tokio::spawn(async move {
            let mut seen = vec![];
            for value in 0..5 {
                let value = value.to_string();
                let version = db.set_setting(&format!("k{n}"), &value).await.unwrap();
                let now = db.settings().await.unwrap();
                assert!(now.version >= version && now.values[&format!("k{n}")] == value);
                seen.push(version);
            }
            seen
        }));
    }
    let mut versions = vec![];
    for task in tasks {
        versions.extend(task.await.unwrap());
    }
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), 100, "each write has a version of its own");
    assert_eq!(db.settings().await.unwrap().version, versions[99]);
}

async fn a_changed_configuration_empties_a_setting(db: &mut Fresh) {
    let file = |a: &str| named(&[("a", a.to_owned()), ("b", "1".to_owned())]);
    db.set_setting("a", "before").await.unwrap();
    db.seed_settings(&file("1")).await.unwrap();
    let mut expected = named(&[("a", String::new()), ("b", String::new())]);
    assert_eq!(db.settings().await.unwrap().values, expected);
    db.set_setting("a", "x").await.unwrap();
    db.set_setting("b", "y").await.unwrap();
    let other = db.set_setting("other", "z").await.unwrap();
    db.seed_settings(&file("2")).await.unwrap();
    let now = db.settings().await.unwrap();
    if !db.is_alone() {
        expected.insert("b".into(), "y".into());
    }
    expected.insert("other".into(), "z".into());
    assert_eq!(now.values, expected);
    assert!(now.version > other);
}

async fn notes_are_written_by_whoever_knows_them(db: &mut Fresh) {
    assert_eq!(db.note("a").await.unwrap(), Note::default());
    assert!(!db.put_note("a", 1, &json!(1)).await.unwrap(), "there is none");
    assert!(db.put_note("a", 0, &json!({"x": "Ünï"})).await.unwrap());
    assert!(!db.put_note("a", 0, &json!(2)).await.unwrap(), "there is one");
    assert!(db.put_note("b", 0, &json!("other")).await.unwrap());
    db.restart();
    assert_eq!(db.note("a").await.unwrap(), Note { version: 1, value: json!({"x": "Ünï"}) });
    assert!(db.put_note("a", 1, &json!(null)).await.unwrap());
    assert!(!db.put_note("a", 1, &json!(3)).await.unwrap());
    assert_eq!(db.note("a").await.unwrap(), Note { version: 2, value: json!(null) });
    let index = &**db;
    let writes = (0..8).map(|n| async move { index.put_note("c", 0, &json!(n)).await });
    let written: Vec<bool> = futures_util::future::try_join_all(writes).await.unwrap();
    assert_eq!(written.iter().filter(|w| **w).count(), 1, "one of those that know the same version");
}

for_each_index!(
    notes_are_written_by_whoever_knows_them,
    remotes_come_and_go,
    the_configuration_seeds_what_is_new_or_changed,
    what_was_deleted_and_left_the_configuration_can_come_back,
    sixty_concurrent_puts_survive,
    settings_are_read_as_written,
    who_knows_a_version_knows_all_writes_up_to_it,
    a_changed_configuration_empties_a_setting,
);
