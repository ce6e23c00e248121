//! A small hub on this machine: it answers as huggingface.co does, and misbehaves on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::Result;

/// The model that the hub has.
pub const NAME: &str = "someone/tiny";

/// What the hub has, does wrong, and was asked.
#[derive(Debug, Default)]
pub struct State {
    /// Commit and files of every revision.
    pub revisions: BTreeMap<String, (String, BTreeMap<String, Vec<u8>>)>,
    /// The token that it takes to see a file.
    pub token: Option<String>,
    /// What goes wrong, at the file of that name.
    pub fault: Option<(Fault, String)>,
    /// Paths asked for, each with the token that was shown.
    pub requests: Vec<(String, Option<String>)>,
}

/// Ways in which a download fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends in the middle of the file.
    Cut,
    /// Half of the file comes, as if it were all of it.
    Half,
    /// The right number of bytes comes, one of them wrong.
    Garbled,
    /// The file is listed and not there.
    Gone,
    /// Where a download begins is ignored: all of it comes.
    NoRange,
}

/// The running hub; it ends when this is dropped.
#[derive(Debug)]
pub struct HubServer {
    /// Its address.
    pub endpoint: String,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HubServer {
    /// A hub with no model.
    pub fn new() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (state, stop) = (Arc::new(Mutex::new(State::default())), Arc::new(AtomicBool::new(false)));
        let (shared, stopped) = (Arc::clone(&state), Arc::clone(&stop));
        let address = endpoint.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                // A client that hangs up has what it wanted.
                let _ = stream.map(|stream| answer(stream, &shared, &address));
            }
        });
        Ok(HubServer { endpoint, state, stop, thread: Some(thread) })
    }

    /// What it has and was asked; to be let go of before the next request.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the files of `folder` on the hub, as `revision`. Returns the commit.
    pub fn publish(&self, revision: &str, folder: &Path) -> Result<String> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?);
        }
        let commit = hash(format!("{revision} {files:?}").as_bytes())[..40].to_owned();
        self.state().revisions.insert(revision.into(), (commit.clone(), files));
        Ok(commit)
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.endpoint.trim_start_matches("http://"));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Request {
    path: String,
    start: usize,
    /// One byte only: the client asks for the file's size.
    probe: bool,
    token: Option<String>,
}

fn request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(std::result::Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let mut request = Request { path, start: 0, probe: false, token: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (key, value) = line.split_once(": ")?;
        match &key.to_lowercase()[..] {
            "range" => {
                let (start, end) = value.strip_prefix("bytes=")?.split_once('-')?;
                (request.start, request.probe) = (start.parse().ok()?, end == "0");
            }
            "authorization" => request.token = value.strip_prefix("Bearer ").map(str::to_owned),
            _ => {}
        }
    }
    Some(request)
}

fn respond(mut stream: &TcpStream, status: &str, headers: &[(&str, String)], length: usize, body: &[u8]) {
    let headers: String = headers.iter().map(|(key, value)| format!("{key}: {value}\r\n")).collect();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn answer(stream: TcpStream, state: &Mutex<State>, endpoint: &str) {
    let Some(request) = request(&stream) else { return };
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.requests.push((request.path.clone(), request.token.clone()));
    let refuse = |status: &str| respond(&stream, status, &[], 0, b"");
    let found = |revision: &str| {
        state.revisions.iter().find(|(name, (commit, _))| *name == revision || commit == revision)
    };
    // The place where the large files really are knows no tokens.
    if let Some((sha, file)) = request.path.strip_prefix("/far/").and_then(|path| path.split_once('/')) {
        let bytes = state.revisions.values().filter_map(|(_, files)| files.get(file));
        return match bytes.clone().find(|bytes| hash(bytes) == sha) {
            Some(bytes) => send(&stream, &request, state.fault.as_ref(), file, bytes, &[]),
            None => refuse("404 Not Found"),
        };
    }
    if let Some(path) = request.path.strip_prefix(&format!("/api/models/{NAME}/revision/")) {
        let Some((_, (commit, files))) = found(&path.replace("%2F", "/")) else {
            return refuse("404 Not Found");
        };
        let siblings: Vec<_> = files.keys().map(|file| json!({"rfilename": file})).collect();
        let body = json!({"sha": commit, "siblings": siblings}).to_string();
        return respond(&stream, "200 OK", &[], body.len(), body.as_bytes());
    }
    let path = request.path.strip_prefix(&format!("/{NAME}/resolve/"));
    let Some((revision, file)) = path.and_then(|path| path.split_once('/')) else {
        return refuse("404 Not Found");
    };
    let gone = state.fault.as_ref().is_some_and(|(fault, at)| *fault == Fault::Gone && at == file);
    let Some((_, (commit, files))) = found(revision).filter(|_| !gone) else {
        return refuse("404 Not Found");
    };
    if state.token.is_some() && request.token != state.token {
        return refuse(if request.token.is_some() { "403 Forbidden" } else { "401 Unauthorized" });
    }
    let Some(bytes) = files.get(file) else { return refuse("404 Not Found") };
    let mut headers = vec![("X-Repo-Commit", commit.clone())];
    if file.ends_with(".safetensors") {
        let sha = hash(bytes);
        headers.extend([
            ("X-Linked-Etag", format!("\"{sha}\"")),
            ("X-Linked-Size", bytes.len().to_string()),
            ("Location", format!("{endpoint}/far/{sha}/{file}")),
        ]);
        respond(&stream, "302 Found", &headers, 0, b"");
    } else {
        headers.push(("ETag", format!("\"{}\"", &hash(bytes)[..40])));
        send(&stream, &request, state.fault.as_ref(), file, bytes, &headers);
    }
}

/// The file, or what the fault makes of it.
fn send(
    stream: &TcpStream,
    request: &Request,
    fault: Option<&(Fault, String)>,
    file: &str,
    bytes: &[u8],
    headers: &[(&str, String)],
) {
    let total = bytes.len();
    let mut headers = headers.to_vec();
    let fault = fault.filter(|(_, at)| at == file && !request.probe).map(|(fault, _)| *fault);
    if fault == Some(Fault::NoRange) {
        return respond(stream, "200 OK", &headers, total, bytes);
    }
    if request.start >= total {
        return respond(stream, "416 Range Not Satisfiable", &[], 0, b"");
    }
    let end = if request.probe { request.start + 1 } else { total };
    headers.push(("Content-Range", format!("bytes {}-{}/{total}", request.start, end - 1)));
    let mut body = bytes[request.start..end].to_vec();
    let mut length = body.len();
    match fault {
        Some(Fault::Cut) => body.truncate(length / 2),
        Some(Fault::Half) => {
            length /= 2;
            body.truncate(length);
        }
        Some(Fault::Garbled) => body[length - 1] ^= 1,
        _ => {}
    }
    respond(stream, "206 Partial Content", &headers, length, &body);
}
