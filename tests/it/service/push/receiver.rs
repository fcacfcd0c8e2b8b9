//! A receiver of remote write that does as it is told: takes a body, refuses it, says nothing, or closes.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlierd::base::proto::prometheus::WriteRequest;
use prost::Message as _;
use tokio::sync::mpsc;

/// How long a test waits for what must come before it says that it doesn't.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A status, and headers that end with the end of a line.
    Status(u16, &'static str),
    /// Nothing, until the sender goes away.
    Hang,
    /// The connection is closed without a word.
    Close,
}

pub const TAKEN: Answer = Answer::Status(204, "");

/// Answers, soonest first, and what is answered when they are used up.
#[derive(Debug)]
struct Script(VecDeque<Answer>, Answer);

/// One request.
#[derive(Debug)]
pub struct Request {
    /// Of the head, in lower case.
    pub head: String,
    pub body: WriteRequest,
    pub answer: Answer,
}

/// A running receiver.
pub struct Receiver {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    requests: mpsc::Receiver<Request>,
}

impl Receiver {
    /// Answers `first`, then `usual`.
    pub fn start(first: &[Answer], usual: Answer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script(first.iter().copied().collect(), usual)));
        let (seen, requests) = mpsc::channel(100_000);
        let told = Arc::clone(&script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (told, seen) = (Arc::clone(&told), seen.clone());
                // Who goes away while it is answered is no failure of the test.
                std::thread::spawn(move || stream.and_then(|stream| respond(stream, &told, &seen)));
            }
        });
        Self { address, script, requests }
    }

    /// From now on everything is answered so.
    pub fn answer(&self, usual: Answer) {
        *self.script.lock().unwrap() = Script(VecDeque::new(), usual);
    }

    /// The next request.
    pub async fn next(&mut self) -> Request {
        tokio::time::timeout(PATIENCE, self.requests.recv()).await.unwrap().unwrap()
    }

    /// Requests that came and were not looked at.
    pub fn rest(&mut self) -> Vec<Request> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).collect()
    }
}

fn respond(mut stream: TcpStream, script: &Mutex<Script>, seen: &mpsc::Sender<Request>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? > 0 {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let message = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    let body = WriteRequest::decode(message.as_slice()).unwrap();
    let answer = {
        let Script(first, usual) = &mut *script.lock().unwrap();
        first.pop_front().unwrap_or(*usual)
    };
    // Before the answer, so that what the sender knows to be taken is here.
    let _ = seen.try_send(Request { head, body, answer });
    match answer {
        Answer::Status(status, headers) => {
            write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}Content-Length: 0\r\n\r\n")
        }
        Answer::Hang => stream.read(&mut byte).map(drop),
        Answer::Close => Ok(()),
    }
}
