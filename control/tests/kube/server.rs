//! An API server as small as these tests need: lists in pages, watches, and whatever can go wrong with them.
//! HTTP/1.1 by hand, since most tests are about what happens below HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// What the server does instead of its work.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Answers so.
    Status(u16),
    /// Takes the request and never answers; watches go silent.
    Hang,
    /// Ends the connection.
    Close,
    /// Answers a watch with this, then closes.
    Garbage(&'static str),
    /// Ends a watch as soon as it is open.
    EndAtOnce,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub token: String,
    pub body: Value,
}

impl Request {
    pub fn is_watch(&self) -> bool {
        self.query.contains_key("watch")
    }

    /// The first page of one.
    pub fn is_list(&self) -> bool {
        self.method == "GET" && !self.is_watch() && !self.query.contains_key("continue")
    }
}

/// Answers what is neither a list nor a watch.
pub type Handler = Box<dyn FnMut(&Request) -> (u16, Value) + Send>;

struct State {
    revision: u64,
    /// Watches from before this version have expired.
    compacted: u64,
    uid: String,
    /// By collection, then namespace and name.
    objects: BTreeMap<(String, String), Value>,
    /// Version, collection, type, object.
    log: Vec<(u64, String, &'static str, Value)>,
    /// By the begin of the path.
    faults: BTreeMap<String, Fault>,
    token: Option<String>,
    handler: Handler,
    requests: Vec<Request>,
}

/// Grows with every change; connections of an older epoch are cut.
#[derive(Clone, Copy, Default)]
struct Signal {
    changes: u64,
    epoch: u64,
}

#[derive(Clone)]
pub struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    signal: Arc<watch::Sender<Signal>>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Server {
    pub async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new(State {
                revision: 1000,
                compacted: 0,
                uid: "first".to_owned(),
                objects: BTreeMap::new(),
                log: vec![],
                faults: BTreeMap::new(),
                token: None,
                handler: Box::new(|_| (404, Value::Null)),
                requests: vec![],
            })),
            signal: Arc::new(watch::Sender::new(Signal::default())),
            tasks: Arc::default(),
        };
        server.listen(listener);
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn listen(&self, listener: TcpListener) {
        let server = self.clone();
        self.tasks.lock().unwrap().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(server.clone().connection(stream));
            }
        });
    }

    /// Nobody listens any more, and every connection is cut.
    pub async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        tasks.shutdown().await;
        self.cut();
    }

    /// On the same port; whoever watched must list.
    pub async fn restart(&self) {
        self.compact();
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.listen(listener);
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.signal.send_modify(|signal| signal.epoch += 1);
    }

    pub fn put(&self, collection: &str, mut object: Value) {
        self.change(|state| {
            state.revision += 1;
            object["metadata"]["resourceVersion"] = json!(state.revision.to_string());
            let key = key(collection, &object);
            let before = state.objects.insert(key, object.clone());
            let what = if before.is_some() { "MODIFIED" } else { "ADDED" };
            let entry = (state.revision, collection.to_owned(), what, object);
            state.log.push(entry);
        });
    }

    pub fn delete(&self, collection: &str, name: &str) {
        self.change(|state| {
            state.revision += 1;
            let key = (collection.to_owned(), format!("default/{name}"));
            let mut object = state.objects.remove(&key).unwrap();
            object["metadata"]["resourceVersion"] = json!(state.revision.to_string());
            let entry = (state.revision, collection.to_owned(), "DELETED", object);
            state.log.push(entry);
        });
    }

    /// Deletes without telling those who watch: as while they are away, or by a restore.
    pub fn delete_silently(&self, collection: &str, name: &str) {
        self.delete(collection, name);
        self.state.lock().unwrap().log.pop();
    }

    /// etcd starts from nothing: versions begin anew, and nobody who watches hears of it.
    pub fn wipe(&self) {
        let mut state = self.state.lock().unwrap();
        state.revision = 1;
        state.objects.clear();
        state.log.clear();
        state.uid = "second".to_owned();
    }

    /// Watches from before now are told so.
    pub fn compact(&self) {
        self.change(|state| {
            state.revision += 1;
            state.compacted = state.revision;
        });
    }

    pub fn fault(&self, path: &str, fault: Fault) {
        self.change(|state| {
            state.faults.insert(path.to_owned(), fault);
        });
    }

    pub fn heal(&self) {
        self.change(|state| state.faults.clear());
    }

    pub fn demand_token(&self, token: &str) {
        self.change(|state| state.token = Some(token.to_owned()));
    }

    pub fn handle(&self, handler: impl FnMut(&Request) -> (u16, Value) + Send + 'static) {
        self.state.lock().unwrap().handler = Box::new(handler);
    }

    pub fn requests(&self, wanted: impl Fn(&Request) -> bool) -> Vec<Request> {
        let state = self.state.lock().unwrap();
        state
            .requests
            .iter()
            .filter(|request| wanted(request))
            .cloned()
            .collect()
    }

    /// Returns when so many such requests have come.
    pub async fn asked(&self, count: usize, wanted: impl Fn(&Request) -> bool) {
        let mut signal = self.signal.subscribe();
        while self.requests(&wanted).len() < count {
            signal.changed().await.unwrap();
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.signal.send_modify(|signal| signal.changes += 1);
    }

    async fn connection(self, stream: TcpStream) {
        let mut signal = self.signal.subscribe();
        let epoch = signal.borrow_and_update().epoch;
        let cut = async move {
            let _ = signal.wait_for(|signal| signal.epoch != epoch).await;
        };
        tokio::select! {
            // Whatever is wrong with a connection ends it.
            _ = self.serve(stream) => {}
            () = cut => {}
        }
    }

    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        while let Some(request) = read_request(&mut read).await? {
            self.change(|state| state.requests.push(request.clone()));
            if !self.answer(&request, &mut write).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn fault_of(&self, request: &Request) -> Option<Fault> {
        let state = self.state.lock().unwrap();
        if state.token.as_ref().is_some_and(|token| *token != request.token) {
            return Some(Fault::Status(401));
        }
        let mut faults = state.faults.iter();
        let (_, fault) = faults.find(|(path, _)| request.path.starts_with(*path))?;
        Some(fault.clone())
    }

    /// Says whether the connection goes on.
    async fn answer(&self, request: &Request, write: &mut OwnedWriteHalf) -> std::io::Result<bool> {
        match self.fault_of(request) {
            Some(Fault::Status(code)) => {
                whole(write, code, &status(code)).await?;
                return Ok(true);
            }
            Some(Fault::Hang) => self.thaw(request).await,
            Some(Fault::Close) => return Ok(false),
            Some(Fault::Garbage(text)) if request.is_watch() => {
                begin(write).await?;
                chunk(write, text.as_bytes()).await?;
                return Ok(false);
            }
            Some(Fault::EndAtOnce) if request.is_watch() => {
                begin(write).await?;
                chunk(write, b"").await?;
                return Ok(true);
            }
            Some(Fault::Garbage(_) | Fault::EndAtOnce) | None => {}
        }
        if request.is_watch() {
            self.watch(request, write).await?;
            return Ok(true);
        }
        let (code, body) = match self.list(request) {
            Some(list) => (200, list),
            None => (self.state.lock().unwrap().handler)(request),
        };
        whole(write, code, &body).await?;
        Ok(true)
    }

    /// Returns when the server does not hang any more.
    async fn thaw(&self, request: &Request) {
        let mut signal = self.signal.subscribe();
        while self.fault_of(request) == Some(Fault::Hang) {
            signal.changed().await.unwrap();
        }
    }

    fn list(&self, request: &Request) -> Option<Value> {
        if request.method != "GET" {
            return None;
        }
        let state = self.state.lock().unwrap();
        let at = json!({"resourceVersion": state.revision.to_string()});
        if request.path == "/api/v1/namespaces" {
            let system = json!({"metadata": {"name": "kube-system", "uid": state.uid}});
            return Some(json!({"metadata": at, "items": [system]}));
        }
        const COLLECTIONS: [&str; 4] = [
            super::streams::SERVICES,
            super::streams::SLICES,
            super::streams::NODES,
            super::streams::IMPORTS,
        ];
        if !COLLECTIONS.contains(&request.path.as_str()) {
            return None;
        }
        let from: usize = request.query.get("continue").map_or(0, |at| at.parse().unwrap());
        let limit: usize = request.query["limit"].parse().unwrap();
        let of_kind = state
            .objects
            .iter()
            .filter(|((path, _), _)| *path == request.path);
        let all: Vec<&Value> = of_kind.map(|(_, object)| object).collect();
        let mut metadata = at;
        if from + limit < all.len() {
            metadata["continue"] = json!((from + limit).to_string());
        }
        let page: Vec<&Value> = all.into_iter().skip(from).take(limit).collect();
        Some(json!({"metadata": metadata, "items": page}))
    }

    async fn watch(&self, request: &Request, write: &mut OwnedWriteHalf) -> std::io::Result<()> {
        let seconds = request.query["timeoutSeconds"].parse().unwrap();
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut from: u64 = request.query["resourceVersion"].parse().unwrap();
        let mut signal = self.signal.subscribe();
        begin(write).await?;
        loop {
            self.thaw(request).await;
            for line in self.news(&request.path, &mut from) {
                chunk(write, format!("{line}\n").as_bytes()).await?;
            }
            if self.state.lock().unwrap().compacted > from {
                let line = json!({"type": "ERROR", "object": status(410)});
                chunk(write, format!("{line}\n").as_bytes()).await?;
                break;
            }
            if timeout_at(end, signal.changed()).await.is_err() {
                break;
            }
        }
        let at = json!({"metadata": {"resourceVersion": from.to_string()}});
        let bookmark = json!({"type": "BOOKMARK", "object": at});
        chunk(write, format!("{bookmark}\n").as_bytes()).await?;
        chunk(write, b"").await
    }

    fn news(&self, path: &str, from: &mut u64) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        let news = state.log.iter().filter(|(at, of, _, _)| at > from && of == path);
        let lines: Vec<Value> = news
            .map(|(_, _, what, object)| json!({"type": what, "object": object}))
            .collect();
        if state.compacted <= *from {
            *from = (*from).max(state.revision);
        }
        lines
    }
}

fn key(collection: &str, object: &Value) -> (String, String) {
    let metadata = &object["metadata"];
    let part = |name: &str| metadata[name].as_str().unwrap_or_default();
    (
        collection.to_owned(),
        format!("{}/{}", part("namespace"), part("name")),
    )
}

pub fn status(code: u16) -> Value {
    let details = if code == 429 {
        json!({"retryAfterSeconds": 1})
    } else {
        json!({})
    };
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no", "details": details})
}

async fn read_request(read: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if read.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let method = words.next().unwrap().to_owned();
    let (path, query) = words
        .next()
        .unwrap()
        .split_once('?')
        .unwrap_or((line.split(' ').nth(1).unwrap(), ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let (path, mut token, mut length) = (path.to_owned(), String::new(), 0);
    loop {
        let mut line = String::new();
        read.read_line(&mut line).await?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => token = value.trim_start_matches("Bearer ").to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    read.read_exact(&mut body).await?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Some(Request {
        method,
        path,
        query,
        token,
        body,
    }))
}

async fn whole(write: &mut OwnedWriteHalf, code: u16, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    write.write_all(head.as_bytes()).await?;
    write.write_all(body.as_bytes()).await
}

async fn begin(write: &mut OwnedWriteHalf) -> std::io::Result<()> {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    write.write_all(head).await
}

/// An empty one is the last.
async fn chunk(write: &mut OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<()> {
    let head = format!("{:x}\r\n", bytes.len());
    write.write_all(&[head.as_bytes(), bytes, b"\r\n"].concat()).await
}
