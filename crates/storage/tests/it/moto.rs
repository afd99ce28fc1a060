//! An S3 server for the tests: moto, started once, gone when this program ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;
use storage::{Credentials, S3Config};
use uuid::Uuid;

struct Moto {
    address: String,
    /// Its standard input is ours: the server ends when this program does.
    _server: Child,
}

static MOTO: LazyLock<Moto> = LazyLock::new(|| {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = std::env::var_os("PYTHON").map_or_else(|| root.join(".venv/bin/python"), PathBuf::from);
    let mut server = Command::new(&python)
        .arg(root.join("tests/moto"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}; `make test-tools` installs what the tests of S3 need", python.display()));
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("http://").expect("moto is installed and prints its address").to_owned();
    Moto { address, _server: server }
});

/// The options for the S3 server at `address`, with little patience.
pub fn config(address: &str, bucket: &str) -> S3Config {
    S3Config {
        bucket: bucket.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(format!("http://{address}")),
        virtual_addressing: false,
        root: "a/root".to_owned(),
        credentials: Credentials::Keys { access: "an-access-key".into(), secret: "a-secret".into() },
        connection_timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(60),
        max_retries: 0,
        max_connections: 25,
        part_bytes: 5 << 20,
        storage_class: None,
        tags: [].into(),
        ca_certificates: None,
    }
}

/// A bucket of its own for each test.
pub fn bucket() -> S3Config {
    let name = format!("bucket-{}", Uuid::new_v4());
    assert_eq!(ask("PUT", &format!("/{name}")).0, 200);
    config(&MOTO.address, &name)
}

/// What moto answers: status, and headers with body. It asks for a signature and does not check it.
pub fn ask(method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(&MOTO.address).unwrap();
    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    let headers = format!("Host: {}\r\nAuthorization: {SIGNED}\r\nContent-Length: 0", MOTO.address);
    write!(stream, "{method} {path} HTTP/1.0\r\n{headers}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}
