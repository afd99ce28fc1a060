//! An S3 server that misbehaves: it answers each request from a list.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// What happens to one request.
pub enum Answer {
    /// Status, further headers, body.
    Say(u16, &'static str, &'static str),
    /// Status, further headers, and less of the body than was announced.
    Cut(u16, &'static str, &'static str),
    /// The connection is closed without a word.
    Hang,
    /// Nothing comes, and the connection stays open.
    Silence,
}

pub struct FakeS3 {
    pub address: String,
    /// The head of each request.
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl FakeS3 {
    /// A server that lets the check at the start pass (one PUT, one DELETE), then answers as listed.
    pub fn start(answers: impl IntoIterator<Item = Answer> + Send + 'static) -> Self
    where
        <Vec<Answer> as IntoIterator>::IntoIter: Send,
    {
        let answers: Vec<Answer> =
            [Answer::Say(200, "ETag: \"x\"\r\n", ""), Answer::Say(204, "", "")].into_iter().chain(answers).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(vec![]));
        let seen = requests.clone();
        std::thread::spawn(move || {
            let mut open = vec![];
            for answer in answers {
                let Ok((stream, _)) = listener.accept() else { return };
                let mut reader = BufReader::new(&stream);
                let (mut head, mut size) = (String::new(), 0);
                while !head.ends_with("\r\n\r\n") {
                    let at = head.len();
                    if reader.read_line(&mut head).unwrap_or(0) == 0 {
                        break;
                    }
                    if let Some(n) = head[at..].to_ascii_lowercase().strip_prefix("content-length:") {
                        size = n.trim().parse().unwrap();
                    }
                }
                let _ = reader.read_exact(&mut vec![0; size]);
                seen.lock().unwrap().push(head);
                let (status, headers, body, missing) = match answer {
                    Answer::Say(status, headers, body) => (status, headers, body, 0),
                    Answer::Cut(status, headers, body) => (status, headers, body, 50),
                    Answer::Hang => continue,
                    Answer::Silence => {
                        open.push(stream);
                        continue;
                    }
                };
                let size = body.len() + missing;
                let _ = write!(
                    &stream,
                    "HTTP/1.1 {status} Status\r\n{headers}Content-Length: {size}\r\nConnection: close\r\n\r\n{body}"
                );
            }
        });
        Self { address, requests }
    }
}
