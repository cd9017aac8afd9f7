//! A log shaped like Vault's: real lines, in which callers, ids, paths, addresses and times are others each time.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Real lines of Vault 1.21.
const REAL: &str = include_str!("../../audit/tests/fixtures/vault-1.21.0-audit.jsonl");
/// How many secrets are read, how many of them are managed, by how many callers, from how many addresses.
const KEYS: u64 = 5_000;
pub(crate) const MANAGED: u64 = 200;
const CALLERS: u64 = 400;
/// One call in so many has any shape that was recorded, errors and odd names included; the others have a usual one.
const ODD: u64 = 25;
/// When the log begins, in seconds, and how much later each call comes.
const BEGINNING: i64 = 1_790_000_000;
const PACE: SignedDuration = SignedDuration::from_micros(731);

/// The path of a secret within its mount.
pub(crate) fn key(number: u64) -> String {
    format!("app/{number:04}")
}

/// What stands where a value differs from call to call.
#[derive(Clone, Copy)]
enum Hole {
    Accessor,
    Token,
    Client,
    Name,
    Entity,
    Id,
    Key,
    Address,
    Port,
    Time,
}

const HOLES: [(&str, Hole); 10] = [
    ("@accessor@", Hole::Accessor),
    ("@token@", Hole::Token),
    ("@client@", Hole::Client),
    ("@name@", Hole::Name),
    ("@entity@", Hole::Entity),
    ("@id@", Hole::Id),
    ("@key@", Hole::Key),
    ("@address@", Hole::Address),
    ("@port@", Hole::Port),
    ("@time@", Hole::Time),
];

/// A line with holes: before each hole a text, and one after the last.
struct Shape {
    parts: Vec<(String, Hole)>,
    last: String,
}

/// A call's two lines.
struct Call {
    request: Shape,
    response: Shape,
}

/// Writes a log of about so many lines.
pub(crate) fn generate(path: &Path, lines: u64) -> Result<String> {
    let (usual, odd) = shapes()?;
    let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let (mut random, mut bytes, mut line) = (Random(0x5eed), 0_usize, String::new());
    for number in 0..lines / 2 {
        let calls = if random.below(ODD) == 0 { &odd } else { &usual };
        let call = calls.get(usize::try_from(random.below(calls.len() as u64))?).context("there are no shapes")?;
        let caller = random.below(CALLERS);
        let filling = Filling { number, caller, key: random.below(KEYS), id: [random.next(), random.next()] };
        for (shape, later) in [(&call.request, 0), (&call.response, 1)] {
            line.clear();
            shape.fill(&filling, later, &mut line)?;
            line.push('\n');
            out.write_all(line.as_bytes())?;
            bytes += line.len();
        }
    }
    out.flush()?;
    Ok(json!({ "lines": lines / 2 * 2, "bytes": bytes }).to_string())
}

/// The usual calls, and all that were recorded.
fn shapes() -> Result<(Vec<Call>, Vec<Call>)> {
    let entries = REAL.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let text = |entry: &Value, pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is = |entry: &&Value, operation: &str, path: &str| {
        let same = text(entry, "/request/operation") == operation && text(entry, "/request/path") == path;
        same && text(entry, "/type") == "response"
    };
    let find = |operation: &str, path: &str| {
        entries.iter().find(|e| is(e, operation, path)).with_context(|| format!("no {operation} of {path} was recorded"))
    };
    let (read, write, denied) =
        (find("read", "secret/data/app/0202")?, find("update", "secret/data/app/0000")?, find("read", "secret/data/other/x")?);
    let caller = read.get("auth").context("the read has no caller")?;
    // Mostly reads, as consumers do; a log of 1.45 kB a line.
    let usual = [read, read, read, read, read, read, read, read, denied, write];
    let usual = usual.iter().map(|entry| Call::of(entry, caller)).collect::<Result<Vec<_>>>()?;
    let responses = entries.iter().filter(|entry| text(entry, "/type") == "response");
    let odd = responses.map(|entry| Call::of(entry, caller)).collect::<Result<Vec<_>>>()?;
    ensure!(odd.len() > 50, "too few shapes were recorded");
    Ok((usual, odd))
}

impl Call {
    /// The call whose response was recorded, made by `caller`.
    fn of(response: &Value, caller: &Value) -> Result<Self> {
        let mut entry = response.clone();
        if entry.pointer("/auth/accessor").is_some() {
            let refused = entry.pointer("/auth/policy_results").cloned();
            entry["auth"] = caller.clone();
            if let Some(refused) = refused {
                entry["auth"]["policy_results"] = refused;
            }
        }
        let holes = [
            ("/auth/accessor", "hmac-sha256:@accessor@"),
            ("/auth/client_token", "hmac-sha256:@token@"),
            ("/auth/display_name", "@name@"),
            ("/auth/entity_id", "@entity@"),
            ("/request/client_id", "@client@"),
            ("/request/client_token", "hmac-sha256:@token@"),
            ("/request/client_token_accessor", "hmac-sha256:@accessor@"),
            ("/request/id", "@id@"),
            ("/request/remote_address", "@address@"),
            ("/request/remote_port", "@port@"),
            ("/time", "@time@"),
        ];
        for (pointer, hole) in holes {
            if let Some(value) = entry.pointer_mut(pointer) {
                *value = hole.into();
            }
        }
        if let Some(Value::String(path)) = entry.pointer_mut("/request/path")
            && path.starts_with("secret/data/app/")
        {
            "secret/data/@key@".clone_into(path);
        }
        let mut request = entry.clone();
        let fields = request.as_object_mut().context("an entry is an object")?;
        fields.remove("response");
        // Only what the policies refuse is known before the call is carried out.
        if !fields.get("error").is_some_and(|error| error.as_str().is_some_and(|error| error.contains("permission denied"))) {
            fields.remove("error");
        }
        fields.insert("type".into(), "request".into());
        Ok(Self { request: Shape::of(&request), response: Shape::of(&entry) })
    }
}

impl Shape {
    fn of(entry: &Value) -> Self {
        // Sorted keys, as Vault writes them; it escapes these three, and a port is a number.
        let text =
            entry.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace("\"@port@\"", "@port@");
        let (mut parts, mut rest) = (Vec::new(), text.as_str());
        while let Some((at, name, hole)) =
            HOLES.iter().filter_map(|(name, hole)| Some((rest.find(name)?, *name, *hole))).min_by_key(|f| f.0)
        {
            let (before, after) = rest.split_at(at);
            parts.push((before.to_owned(), hole));
            rest = after.strip_prefix(name).unwrap_or_default();
        }
        Self { parts, last: rest.to_owned() }
    }

    fn fill(&self, filling: &Filling, later: i64, out: &mut String) -> Result<()> {
        for (before, hole) in &self.parts {
            out.push_str(before);
            filling.put(*hole, later, out)?;
        }
        out.push_str(&self.last);
        Ok(())
    }
}

/// What one call fills the holes with.
struct Filling {
    number: u64,
    caller: u64,
    key: u64,
    id: [u64; 2],
}

impl Filling {
    fn put(&self, hole: Hole, later: i64, out: &mut String) -> Result<()> {
        use std::fmt::Write;
        let caller = self.caller;
        match hole {
            Hole::Accessor => hex(caller * 2, 4, out)?,
            Hole::Token => hex(caller * 2 + 1, 4, out)?,
            Hole::Client => write!(out, "{caller:044}")?,
            Hole::Name => write!(out, "approle-service-{caller:03}")?,
            Hole::Entity | Hole::Id => {
                let [a, b] = if matches!(hole, Hole::Id) { self.id } else { [caller, caller * 7] };
                write!(out, "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", a >> 32, a >> 16 & 0xffff, a & 0xffff, b >> 48, b & 0xffff_ffff_ffff)?;
            }
            Hole::Key => out.push_str(&key(self.key)),
            Hole::Address => write!(out, "10.1.{}.{}", caller / 200, 1 + caller % 200)?,
            Hole::Port => write!(out, "{}", 32_768 + self.number % 28_000)?,
            Hole::Time => {
                let since = PACE.checked_mul(i32::try_from(self.number)?).context("too many lines")?;
                let time =
                    Timestamp::from_second(BEGINNING)? + since + SignedDuration::from_micros(317 * later) + SignedDuration::from_nanos(7);
                write!(out, "{time}")?;
            }
        }
        Ok(())
    }
}

/// Sixteen hexadecimal digits for each word.
fn hex(seed: u64, words: u64, out: &mut String) -> Result<()> {
    use std::fmt::Write;
    let mut random = Random(seed);
    for _ in 0..words {
        write!(out, "{:016x}", random.next())?;
    }
    Ok(())
}

/// Numbers that look random and are the same each time (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}
