//! What scripts keep.

use crate::fixture::*;
use crate::for_each_index;

async fn values_are_any_bytes_under_any_names(db: &mut Fresh) {
    let long = vec![0xFF; 2000];
    let names: [(&[u8], &[u8]); 5] = [(b"a", b"b"), (b"", b""), (b"a\0", b"\xff'"), (b"ab", b""), (&long, b"")];
    for (n, (store, key)) in names.iter().enumerate() {
        assert_eq!(db.value(store, key).await.unwrap(), None);
        db.put_value(store, key, &[n as u8, 0, 0xFF]).await.unwrap();
    }
    db.put_value(b"a", b"b", b"").await.unwrap();
    db.restart();
    assert_eq!(db.value(b"a", b"b").await.unwrap(), Some(vec![]));
    for (n, (store, key)) in names.iter().enumerate().skip(1) {
        assert_eq!(db.value(store, key).await.unwrap(), Some(vec![n as u8, 0, 0xFF]));
    }
    db.delete_value(b"a", b"b").await.unwrap();
    db.delete_value(b"a", b"b").await.unwrap();
    assert_eq!(db.value(b"a", b"b").await.unwrap(), None);
    assert!(db.value(b"ab", b"").await.unwrap().is_some());
}

for_each_index!(values_are_any_bytes_under_any_names);
