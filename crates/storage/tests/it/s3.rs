//! What only a bucket can get wrong.

use crate::fake_s3::{Answer, FakeS3};
use crate::moto;
use crate::suite::pattern;
use bytes::Bytes;
use futures_util::TryStreamExt;
use model::ports::StorageArea;
use model::{AttachmentId, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use storage::{Credentials, S3, S3Config};

const MIB: usize = 1 << 20;

async fn write(area: &dyn StorageArea, size: usize) -> (AttachmentId, Bytes) {
    let (id, bytes) = (AttachmentId::random(), pattern(size));
    let mut writer = area.create(id).await.unwrap();
    for at in (0..size).step_by(300_000) {
        writer.write(bytes.slice(at..size.min(at + 300_000))).await.unwrap();
    }
    writer.finish().await.unwrap();
    (id, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_is_a_multipart_upload_and_a_small_one_is_not() {
    let config = moto::bucket();
    let area = S3::open(config.clone()).await.unwrap();
    for (size, etag_end) in [(12 * MIB, "-3\""), (10 * MIB, "-2\""), (5 * MIB, "-1\""), (5 * MIB - 1, "\"")] {
        let (id, bytes) = write(&area, size).await;
        assert!(area.read(id, None).await.unwrap() == bytes, "{size}");
        let range = 5 * MIB as u64 - 1000..5 * MIB as u64 + 1000;
        let part = bytes.slice(size.min(range.start as usize)..size.min(range.end as usize));
        assert!(area.read(id, Some(range)).await.unwrap() == part, "{size}");
        let (status, head) = moto::ask("HEAD", &format!("/{}/a/root/{id}", config.bucket));
        let etag = head.lines().find(|l| l.to_ascii_lowercase().starts_with("etag:")).unwrap().trim();
        assert!(status == 200 && etag.ends_with(etag_end) && etag.contains('-') == (size >= 5 * MIB), "{size}: {etag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_from_window_to_window() {
    let area = S3::open(moto::bucket()).await.unwrap();
    let (id, bytes) = write(&area, 33 * MIB).await;
    for (range, expected) in [(0..u64::MAX, 0..33 * MIB), (MIB as u64..33 * MIB as u64 - 5, MIB..33 * MIB - 5)] {
        let pieces: Vec<Bytes> = area.stream(id, range).await.unwrap().try_collect().await.unwrap();
        assert!(pieces.iter().all(|p| !p.is_empty() && p.len() <= 256 << 10));
        assert!(pieces.concat() == bytes.slice(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_given_up_leaves_nothing() {
    let config = moto::bucket();
    let area = S3::open(config.clone()).await.unwrap();
    let uploads = || moto::ask("GET", &format!("/{}?uploads", config.bucket)).1.matches("<Upload>").count();
    let mut writer = area.create(AttachmentId::random()).await.unwrap();
    writer.write(pattern(6 * MIB)).await.unwrap();
    assert_eq!(uploads(), 1);
    writer.discard().await;
    assert_eq!(uploads(), 0);
    let mut writer = area.create(AttachmentId::random()).await.unwrap();
    writer.write(pattern(11 * MIB)).await.unwrap();
    drop(writer); // as a cancelled request does; the removal runs in the background, ten seconds at most
    for _ in 0..1000 {
        if uploads() == 0 {
            let (_, list) = moto::ask("GET", &format!("/{}", config.bucket));
            return assert!(!list.contains("<Key>"), "{list}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the abandoned upload is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_tags_and_class_are_as_configured() {
    let tags = [("site".to_owned(), "north wing".to_owned())].into();
    let config = S3Config { root: "/x/y/".into(), tags, storage_class: Some("STANDARD_IA".into()), ..moto::bucket() };
    let area = S3::open(config.clone()).await.unwrap();
    let small = AttachmentId::random();
    area.put(small, pattern(10)).await.unwrap();
    let (large, _) = write(&area, 6 * MIB).await;
    let (_, list) = moto::ask("GET", &format!("/{}", config.bucket));
    for id in [small, large] {
        assert!(list.contains(&format!("<Key>x/y/{id}</Key>")), "{list}");
        let (_, tagging) = moto::ask("GET", &format!("/{}/x/y/{id}?tagging", config.bucket));
        assert!(tagging.contains("<Key>site</Key>") && tagging.contains("<Value>north wing</Value>"), "{tagging}");
    }
    assert_eq!(list.matches("<StorageClass>STANDARD_IA</StorageClass>").count(), 2, "{list}");
    // Without a root, keys are names.
    let area = S3::open(S3Config { root: String::new(), ..config.clone() }).await.unwrap();
    area.put(small, pattern(10)).await.unwrap();
    assert!(moto::ask("GET", &format!("/{}", config.bucket)).1.contains(&format!("<Key>{small}</Key>")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_passes_through_little_memory() {
    const SIZE: usize = 192 << 20;
    let area = S3::open(moto::bucket()).await.unwrap();
    let before = crate::peak_bytes();
    let id = AttachmentId::random();
    let chunk = pattern(64 << 10);
    let mut writer = area.create(id).await.unwrap();
    for _ in 0..SIZE / chunk.len() {
        writer.write(chunk.to_vec().into()).await.unwrap();
    }
    writer.finish().await.unwrap();
    let mut size = 0;
    let mut stream = area.stream(id, 0..u64::MAX).await.unwrap();
    while let Some(piece) = stream.try_next().await.unwrap() {
        size += piece.len();
    }
    assert_eq!(size, SIZE);
    // The other tests of this program run beside this one: the largest holds a blob of 33 MiB three times.
    let grown = crate::peak_bytes() - before;
    assert!(grown < SIZE * 3 / 4, "{grown} bytes for a blob of {SIZE}");
}

/// A fake server with `answers` after the check at the start, and its area.
async fn faulty(answers: Vec<Answer>, change: impl FnOnce(&mut S3Config)) -> (FakeS3, S3) {
    let fake = FakeS3::start(answers);
    let mut config = moto::config(&fake.address, "scans");
    change(&mut config);
    let area = S3::open(config).await.unwrap();
    (fake, area)
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_their_kind_and_name_bucket_and_key() {
    const DENIED: &str = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    const NO_BUCKET: &str = "<Error><Code>NoSuchBucket</Code></Error>";
    const NO_KEY: &str = "<Error><Code>NoSuchKey</Code></Error>";
    const SLOW: &str = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
    const OLD: &str = "<Error><Code>ExpiredToken</Code></Error>";
    const LATE: &str = "<Error><Code>RequestTimeout</Code></Error>";
    use ErrorKind::{Busy, CannotWrite, Corrupted, InexistentFile, StorageFull};
    for (status, body, reading, writing, word) in [
        (404, NO_KEY, InexistentFile, InexistentFile, "no such object"),
        (404, NO_BUCKET, Corrupted, CannotWrite, "BucketName"),
        (403, DENIED, Corrupted, CannotWrite, "access denied: status 403: AccessDenied: Access Denied"),
        (401, "", Corrupted, CannotWrite, "access denied"),
        (400, OLD, Corrupted, CannotWrite, "ExpiredToken"),
        (400, LATE, Busy, Busy, "RequestTimeout"),
        (301, "", Corrupted, CannotWrite, ""),
        (500, "", Busy, Busy, "status 500"),
        (503, SLOW, Busy, Busy, "SlowDown: Reduce your request rate."),
        (507, "", StorageFull, StorageFull, "status 507"),
    ] {
        let answers = (0..2).map(|_| Answer::Say(status, "", body)).collect();
        let (_fake, area) = faulty(answers, |_| {}).await;
        let id = AttachmentId::random();
        let place = format!("s3://scans/a/root/{id}: ");
        let read = area.read(id, None).await.unwrap_err();
        let put = area.put(id, pattern(3)).await.unwrap_err();
        for (error, kind) in [(read, reading), (put, writing)] {
            assert_eq!(error.kind(), kind, "{status}: {error}");
            assert!(error.message().starts_with(&place) && error.message().contains(word), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_a_reason_to_try_again_later() {
    let short = |config: &mut S3Config| config.request_timeout = Duration::from_millis(300);
    let (_fake, area) = faulty(vec![Answer::Silence, Answer::Silence, Answer::Hang, Answer::Hang], short).await;
    let id = AttachmentId::random();
    for _ in 0..2 {
        assert_eq!(area.read(id, None).await.unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(area.put(id, pattern(3)).await.unwrap_err().kind(), ErrorKind::Busy);
    }
    // Nobody listens any more.
    let error = area.read(id, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.message().starts_with(&format!("s3://scans/a/root/{id}: the storage does not answer")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_it_from_starting_is_named() {
    let fails = async |config: S3Config| S3::open(config).await.err().expect("it must not start");
    let error = fails(S3Config { bucket: "no-such-bucket".into(), ..moto::bucket() }).await;
    assert_eq!(error.kind(), ErrorKind::CannotWrite);
    assert!(error.message().starts_with("s3://no-such-bucket/") && error.message().contains("BucketName"), "{error}");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = fails(moto::config(&format!("127.0.0.1:{port}"), "scans")).await;
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.message().contains("s3://scans/") && error.message().contains("refused"), "{error}");
    let error = fails(S3Config { virtual_addressing: true, ..moto::bucket() }).await;
    assert!(error.message().contains("AwsS3Storage.VirtualAddressing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_whose_acknowledgement_was_lost_is_stored() {
    // The first PUT arrives and its answer does not; the second is refused; what is there is looked at.
    let answers = |found| {
        vec![
            Answer::Hang,
            Answer::Say(412, "", ""),
            Answer::Say(200, "ETag: \"x\"\r\nLast-Modified: Mon, 02 Jan 2006 15:04:05 GMT\r\n", found),
        ]
    };
    let (fake, area) = faulty(answers("abc"), |config| config.max_retries = 1).await;
    area.put(AttachmentId::random(), Bytes::from_static(b"abc")).await.unwrap();
    let requests = fake.requests.lock().unwrap().clone();
    assert_eq!(requests.iter().filter(|r| r.to_ascii_lowercase().contains("if-none-match: *")).count(), 3, "{requests:?}");
    let (_fake, area) = faulty(answers("xyz"), |config| config.max_retries = 1).await;
    let error = area.put(AttachmentId::random(), Bytes::from_static(b"abc")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CannotWrite);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_goes_on_where_it_was() {
    const HEAD: &str = "01234567890123456789012345678901234567890123456789";
    const TAIL: &str = "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghij";
    let answers = vec![
        Answer::Cut(
            206,
            "ETag: \"x\"\r\nLast-Modified: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Range: bytes 0-99/100\r\n",
            HEAD,
        ),
        Answer::Say(
            206,
            "ETag: \"x\"\r\nLast-Modified: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Range: bytes 50-99/100\r\n",
            TAIL,
        ),
    ];
    let (fake, area) = faulty(answers, |config| config.max_retries = 1).await;
    let stream = area.stream(AttachmentId::random(), 0..100).await.unwrap();
    let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), [HEAD, TAIL].concat().as_bytes());
    assert!(fake.requests.lock().unwrap()[3].to_ascii_lowercase().contains("range: bytes=50-99"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_fails_fails_the_blob() {
    const BEGUN: &str =
        "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId></InitiateMultipartUploadResult>";
    let answers = vec![Answer::Say(200, "", BEGUN), Answer::Say(403, "", ""), Answer::Say(204, "", "")];
    let (fake, area) = faulty(answers, |_| {}).await;
    let mut writer = area.create(AttachmentId::random()).await.unwrap();
    writer.write(pattern(5 * MIB)).await.unwrap();
    let error = writer.finish().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CannotWrite);
    let requests = fake.requests.lock().unwrap().clone();
    assert!(requests.last().unwrap().starts_with("DELETE "), "the upload is aborted: {requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ambient_credentials_are_used_when_there_are_no_keys() {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "ambient-key"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_SESSION_TOKEN", "ambient-token"),
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_ENDPOINT", "http://elsewhere"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let (fake, _area) = faulty(vec![], |config| config.credentials = Credentials::Ambient(variables)).await;
    let requests = fake.requests.lock().unwrap().clone();
    assert_eq!(requests.len(), 2, "at the address of the configuration");
    for request in requests {
        assert!(request.contains("Credential=ambient-key/") && request.contains("ambient-token"), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_object_stays_for_those_who_read_it() {
    let area: Arc<dyn StorageArea> = Arc::new(S3::open(moto::bucket()).await.unwrap());
    assert!(area.deletion_grace() >= Duration::from_secs(30));
    let memory = storage::open(storage::StorageConfig::Memory).await.unwrap();
    assert_eq!(memory.deletion_grace(), Duration::ZERO);
}
