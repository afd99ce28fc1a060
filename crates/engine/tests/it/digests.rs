//! Checksums that are kept, MD5s that are computed when somebody asks.

use crate::support::{File, Lab, noise};
use bytes::Bytes;
use engine::{Ctx, EngineConfig, digests, zlib};
use md5::{Digest, Md5};
use model::{Attachment, Compression, ContentType, ErrorKind, Level, OrthancId, Result};

fn md5(bytes: &[u8]) -> Option<String> {
    Some(Md5::digest(bytes).iter().map(|b| format!("{b:02x}")).collect())
}

impl Lab {
    async fn file(&self, id: OrthancId) -> Attachment {
        self.instance(id).await.attachments.remove(0)
    }

    async fn md5s(&self, id: OrthancId, file: &Attachment) -> Result<Attachment> {
        digests::with_md5s(&self.eng, &Ctx::default(), (Level::Instance, id), file.clone()).await
    }

    async fn stored_bytes(&self, file: &Attachment) -> Bytes {
        use model::ports::StorageArea;
        self.storage.read(file.id, None).await.unwrap()
    }
}

#[tokio::test]
async fn an_md5_is_computed_once() {
    for size in [1000, 2_500_000] {
        for storage_compression in [false, true] {
            let lab = Lab::with(EngineConfig { storage_compression, ..EngineConfig::default() }).await;
            let file = File::new("1.2").pixels(vec![7; size]);
            let id = lab.store(file.clone()).await.instance;
            let unknown = lab.file(id).await;
            assert_eq!((&unknown.md5, &unknown.stored_md5), (&None, &None));
            let read_only = lab.other(EngineConfig { read_only: true, ..EngineConfig::default() });
            let of = (Level::Instance, id);
            let answer = digests::with_md5s(&read_only, &Ctx::default(), of, unknown.clone()).await.unwrap();
            let stored_md5 = md5(&lab.stored_bytes(&unknown).await);
            assert_eq!(answer, Attachment { md5: md5(&file.bytes()), stored_md5, ..unknown.clone() });
            assert_eq!(lab.file(id).await, unknown, "a read-only process writes nothing");
            assert_eq!(lab.md5s(id, &unknown).await.unwrap(), answer);
            assert_eq!(lab.file(id).await, answer);
            lab.damage(id, None).await;
            assert_eq!(lab.md5s(id, &answer).await.unwrap(), answer, "nothing is read again");
        }
    }
}

#[tokio::test]
async fn damaged_files_have_no_md5() {
    for size in [1000, 2_500_000] {
        for (store_md5, asked_before) in [(true, false), (true, true), (false, false)] {
            let lab = Lab::with(EngineConfig { store_md5, ..EngineConfig::default() }).await;
            let file = File::new("1.2").pixels(noise(size, 1));
            let id = lab.store(file.clone()).await.instance;
            if asked_before {
                lab.md5s(id, &lab.file(id).await).await.unwrap();
            }
            let row = lab.file(id).await;
            digests::verify(&lab.eng, &row).await.unwrap();
            let good = file.bytes();
            let mut flipped = good.to_vec();
            flipped[size / 2] ^= 1;
            for (damage, kind) in [
                (None, ErrorKind::InexistentFile),
                (Some(good.slice(..size / 2)), ErrorKind::Corrupted),
                (Some([&good[..], b"more"].concat().into()), ErrorKind::Corrupted),
                (Some(flipped.into()), ErrorKind::Corrupted),
            ] {
                lab.damage(id, damage).await;
                assert_eq!(digests::verify(&lab.eng, &row).await.unwrap_err().kind(), kind);
                if row.md5.is_none() {
                    assert_eq!(lab.md5s(id, &row).await.unwrap_err().kind(), kind);
                }
                let of = (Level::Instance, id);
                let told = digests::with_md5s_if_readable(&lab.eng, &Ctx::default(), of, row.clone()).await.unwrap();
                assert_eq!((&told, &lab.file(id).await), (&row, &row), "what is not known stays so");
            }
        }
    }
}

#[tokio::test]
async fn what_was_replaced_meanwhile_has_its_own_md5s() {
    let lab = Lab::new().await;
    let file = File::new("1.2").pixels(vec![7; 5000]);
    let id = lab.store(file.clone()).await.instance;
    let stale = lab.file(id).await;
    let of = (Level::Instance, id);
    zlib::store_as(&lab.eng, &Ctx::default(), of, ContentType::DICOM, Compression::Zlib).await.unwrap();
    let packed = lab.md5s(id, &stale).await.unwrap();
    assert_eq!((packed.compression, packed.checksum), (Compression::Zlib, stale.checksum));
    assert_eq!((&packed.md5, &packed.stored_md5), (&md5(&file.bytes()), &md5(&lab.stored_bytes(&packed).await)));
    assert_eq!(lab.file(id).await, packed);
    // What is known of the content stays known.
    zlib::store_as(&lab.eng, &Ctx::default(), of, ContentType::DICOM, Compression::None).await.unwrap();
    let plain = lab.file(id).await;
    assert_eq!((&plain.md5, &plain.stored_md5), (&packed.md5, &packed.md5));
    engine::delete::delete(&lab.eng, &Ctx::default(), Level::Instance, id).await.unwrap();
    assert_eq!(lab.md5s(id, &stale).await.unwrap_err().kind(), ErrorKind::UnknownResource);
}

#[tokio::test]
async fn attachments_of_clients_have_their_md5_at_once() {
    for (store_md5, storage_compression) in [(true, false), (true, true), (false, true)] {
        let lab = Lab::with(EngineConfig { store_md5, storage_compression, ..EngineConfig::default() }).await;
        let id = lab.store(File::new("1.2")).await.instance;
        let (ctx, of, kind) = (Ctx::default(), (Level::Instance, id), ContentType(1024));
        let body = futures_util::stream::iter(["hel", "lo"].map(|piece| Ok(Bytes::from(piece))));
        engine::annotations::set_attachment(&lab.eng, &ctx, of, kind, Box::pin(body), None).await.unwrap();
        let row = lab.instance(id).await.attachments.remove(1);
        let stored = lab.stored_bytes(&row).await;
        let (content_md5, stored_md5) = match store_md5 {
            true => (md5(b"hello"), md5(&stored)),
            false => (Some(String::new()), Some(String::new())),
        };
        assert_eq!(row.md5, content_md5);
        let complete = lab.md5s(id, &row).await.unwrap();
        assert_eq!((complete.md5, complete.stored_md5), (content_md5, stored_md5));
        digests::verify(&lab.eng, &row).await.unwrap();
    }
}
