//! An HTTP connection to the local stack: a bare socket, because the client shares the cores with the server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use memchr::memmem;

use crate::error::Error;

/// Bytes of a response read at once; a page of one member is smaller.
const BUFFER: usize = 16 * 1024;

/// The longest wait for a response. The gateway responds after 30 seconds.
const PATIENCE: Duration = Duration::from_secs(40);

/// A connection with one request at a time.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    head: String,
    /// The body.
    pub body: String,
}

impl Connection {
    /// Connects to a port of this computer.
    ///
    /// # Errors
    /// Returns an error if nothing listens there.
    pub fn open(port: u16) -> Result<Self, Error> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket })
    }

    /// Sends a request and returns its response.
    ///
    /// # Errors
    /// Returns an error if the connection ends, or the response has no length.
    pub fn send(&mut self, request: &[u8]) -> Result<Answer, Error> {
        self.socket.write_all(request)?;
        let mut bytes = Vec::new();
        let mut buffer = [0; BUFFER];
        loop {
            let read = self.socket.read(&mut buffer)?;
            if read == 0 {
                return Err("the connection was closed".into());
            }
            bytes.extend_from_slice(&buffer[..read]);
            if let Some(answer) = Answer::read(&bytes)? {
                return Ok(answer);
            }
        }
    }
}

impl Answer {
    /// Reads a response; returns `None` if it is not complete.
    fn read(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            return Ok(None);
        };
        let mut answer = Self {
            head: std::str::from_utf8(&bytes[..end])?.to_owned(),
            body: String::new(),
        };
        let length = answer.header("content-length");
        let length: usize = length.ok_or("a response without a length")?.parse()?;
        let body = &bytes[end + 4..];
        if body.len() < length {
            return Ok(None);
        }
        std::str::from_utf8(body)?.clone_into(&mut answer.body);
        Ok(Some(answer))
    }

    /// Returns the status.
    pub fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = headers.find(|(one, _)| one.eq_ignore_ascii_case(name))?;
        Some(value.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_when_it_is_complete() {
        let whole = b"HTTP/1.1 201 Created\r\nETag: \"a:b\"\r\nContent-Length: 2\r\n\r\nok";
        for end in 0..whole.len() {
            assert!(Answer::read(&whole[..end]).expect("valid").is_none());
        }
        let answer = Answer::read(whole).expect("valid").expect("complete");
        assert_eq!((answer.status(), answer.body.as_str()), ("201", "ok"));
        assert_eq!(answer.header("etag"), Some("\"a:b\""));
        assert_eq!(answer.header("location"), None);
        assert!(Answer::read(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
