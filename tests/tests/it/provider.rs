//! Two providers that hand out keys over HTTP, as their public documentation describes them: OpenAI's service accounts of a project, and
//! LangSmith's service keys. A real server; only the keys are worth nothing.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The key that may make and end others.
pub const ADMIN: &str = "admin-key-of-the-provider-9b1f";

#[derive(Default)]
struct State {
    /// Id → (name, key).
    keys: BTreeMap<String, (String, String)>,
    made: u32,
    /// Answers to creations that are lost after the key was made.
    lose: u32,
    /// Calls so far, as `METHOD path`.
    calls: Vec<String>,
}

/// A running provider.
pub struct Provider {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Provider {
    /// Starts one that lives as long as the test's process.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { address, state }
    }

    /// The keys that are alive: id → key.
    pub fn alive(&self) -> BTreeMap<String, String> {
        self.state.lock().unwrap().keys.iter().map(|(id, (_, key))| (id.clone(), key.clone())).collect()
    }

    /// Puts a key there that Keyward did not make.
    pub fn give(&self, id: &str, name: &str, key: &str) {
        self.state.lock().unwrap().keys.insert(id.into(), (name.into(), key.into()));
    }

    /// The next creations are carried out, and their answers lost.
    pub fn lose_answers(&self, count: u32) {
        self.state.lock().unwrap().lose = count;
    }

    /// How many calls began with this.
    pub fn calls(&self, prefix: &str) -> usize {
        self.state.lock().unwrap().calls.iter().filter(|call| call.starts_with(prefix)).count()
    }
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    key: String,
    body: Value,
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut key) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => value.strip_prefix("Bearer ")?.clone_into(&mut key),
            "x-api-key" => value.clone_into(&mut key),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    Some(Request { method, path: path.to_owned(), query, key, body: serde_json::from_slice(&body).unwrap_or_default() })
}

fn serve(mut stream: &TcpStream, state: &Mutex<State>) {
    let Some(request) = read(stream) else { return };
    // `None`: the connection is dropped without an answer.
    if let Some((status, body)) = answer(&request, &mut state.lock().unwrap()) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    }
}

fn answer(request: &Request, state: &mut State) -> Option<(u16, Value)> {
    state.calls.push(format!("{} {}", request.method, request.path));
    let is_known = state.keys.values().any(|(_, key)| *key == request.key);
    let refused = Some((401, json!({ "error": { "message": format!("Incorrect API key provided: {}", request.key) } })));
    if ["/v1/models", "/api/v1/sessions"].contains(&request.path.as_str()) {
        return if is_known { Some((200, json!([]))) } else { refused };
    }
    if request.key != ADMIN {
        return refused;
    }
    let accounts = "/v1/organization/projects/proj_test/service_accounts";
    let services = "/api/v1/orgs/current/service-keys";
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", path) if path == accounts || path == services => {
            let name = request.body.get("name").or(request.body.get("description")).and_then(Value::as_str)?.to_owned();
            state.made += 1;
            let (id, key) =
                (format!("svc_acct_{:03}", state.made), format!("sk-made-by-the-provider-{:03}-{:x}", state.made, state.made * 7919));
            state.keys.insert(id.clone(), (name.clone(), key.clone()));
            if state.lose > 0 {
                state.lose -= 1;
                return None;
            }
            Some(if path == accounts {
                let api_key = json!({ "object": "organization.project.service_account.api_key", "value": key, "name": "Secret Key", "created_at": 1, "id": format!("key_{id}") });
                (
                    200,
                    json!({ "object": "organization.project.service_account", "id": id, "name": name, "role": "member", "created_at": 1, "api_key": api_key }),
                )
            } else {
                (200, json!({ "id": id, "description": name, "short_key": "lsv2...", "read_only": false, "key": key }))
            })
        }
        ("GET", path) if path == accounts => Some((200, page(state, request))),
        ("GET", path) if path == services => {
            let all = state.keys.iter().map(|(id, (name, _))| json!({ "id": id, "description": name, "short_key": "lsv2..." }));
            Some((200, all.collect()))
        }
        ("DELETE", path) => {
            let (parent, id) = path.rsplit_once('/')?;
            let known = [accounts, services].contains(&parent) && state.keys.remove(id).is_some();
            Some(if known { (200, json!({ "id": id, "deleted": true })) } else { (404, json!({ "error": { "message": "no such key" } })) })
        }
        _ => Some((404, Value::Null)),
    }
}

/// At most two of a page, so that a list of a few goes on.
fn page(state: &State, request: &Request) -> Value {
    let after = request.query.get("after").map_or("", String::as_str);
    let items: Vec<Value> = state
        .keys
        .iter()
        .filter(|(id, _)| id.as_str() > after)
        .take(2)
        .map(|(id, (name, _))| json!({ "object": "organization.project.service_account", "id": id, "name": name, "role": "member" }))
        .collect();
    let at = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    json!({ "object": "list", "first_id": at(items.first()), "last_id": at(items.last()), "has_more": items.len() == 2, "data": items })
}
