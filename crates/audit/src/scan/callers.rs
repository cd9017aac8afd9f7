//! Callers whose lines were read before. What a line says of its caller is the same, byte for byte, in all lines of one token, and
//! makes up more than half of each: where it is known, it is compared instead of read.
//!
//! Invariant: an entry that is read this way is the entry that [`scan`](super::scan) reads; a caller that is not known costs time, no truth.

use std::borrow::Cow;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use memchr::memmem;

use super::walk::Walk;
use super::{Fields, Seen, auth, request_field, rest};
use crate::entry::{Auth, Entry, PolicyResults, Request};

/// How many sets there are, and callers in each.
const SETS: usize = 512;
const WAYS: usize = 8;
/// Longest description of a caller that is kept, and the shortest that is worth it, in bytes.
const LONGEST: usize = 2_048;
const SHORTEST: usize = 96;
/// How often a caller was seen before it is kept: a log in which each line has another one must not pay for keeping them.
const SIGHTS: u8 = 3;
/// So much of a description tells callers apart, and what policies let them do this.
const TELLING: usize = 640;
/// Of how many it is known how often they were seen.
const SEEN: usize = 4_093;
/// Within this many bytes an entry comes to its caller.
const SOON: usize = 128;

/// The callers at hand: at most `SETS * WAYS`, each of at most [`LONGEST`] bytes.
#[derive(Debug)]
pub(crate) struct Callers {
    sets: Vec<[Option<Caller>; WAYS]>,
    /// Callers that were seen, and how often; of those that share a place, the last.
    sights: Vec<(u64, u8)>,
    /// Where in its set the next one is kept.
    turn: usize,
}

/// What lines say of one caller: the value of `auth`, and what follows it as long as it is the caller's too.
#[derive(Debug)]
struct Caller {
    /// See [`mark_of`].
    mark: u64,
    text: Box<str>,
    accessor: Span,
    display_name: Span,
    entity_id: Span,
    metadata: Option<Span>,
    clear_token: bool,
    root: bool,
    policy_results: Option<PolicyResults>,
    tokens: Option<Tokens>,
}

/// The first fields of the request, as Vault writes them directly after its caller: the token again.
#[derive(Clone, Copy, Debug)]
struct Tokens {
    accessor: Span,
    clear_token: bool,
    seen: Seen,
}

/// A piece of a caller's text.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u16,
    end: u16,
}

impl Default for Callers {
    fn default() -> Self {
        let sets = std::iter::repeat_with(|| [const { None }; WAYS]).take(SETS).collect();
        Self { sets, sights: vec![(0, 0); SEEN], turn: 0 }
    }
}

impl Callers {
    /// Reads a whole entry, if it is a usual one by a known caller; else what is left in `entry` means nothing.
    pub(crate) fn scan<'a>(&'a self, line: &'a [u8], entry: &mut Entry<'a>) -> bool {
        self.try_scan(line, entry).is_some()
    }

    fn try_scan<'a>(&'a self, line: &'a [u8], entry: &mut Entry<'a>) -> Option<()> {
        let at = caller_begins(line)?;
        let (before, described) = line.split_at_checked(at)?;
        let caller = self.find(described)?;
        let mut fields = Fields { entry, seen: Seen::default() };
        if before != FIRST {
            let before = std::str::from_utf8(before.strip_suffix(KEY)?).ok()?;
            fields.begin(&mut Walk::new(before)?)?;
        }
        fields.has_auth()?;
        fields.entry.auth = Some(caller.auth());
        let mut walk = Walk::new(std::str::from_utf8(described.get(caller.text.len()..)?).ok()?)?;
        if let Some(Tokens { accessor, clear_token, mut seen }) = caller.tokens {
            fields.has_request()?;
            let request = &mut fields.entry.request;
            request.client_token_accessor = Cow::Borrowed(caller.piece(accessor));
            request.clear_token = clear_token;
            rest(&mut walk, |walk, key| request_field(walk, key, request, &mut seen))?;
        }
        rest(&mut walk, |walk, key| fields.take(walk, key))?;
        fields.end(&walk)
    }

    /// Keeps the caller of a line that was a good one but not by a known caller, if it is seen often enough.
    pub(crate) fn learn(&mut self, line: &[u8]) {
        let _ = self.try_learn(line);
    }

    fn try_learn(&mut self, line: &[u8]) -> Option<()> {
        let described = line.get(caller_begins(line)?..)?;
        if self.find(described).is_some() {
            return None;
        }
        let who = FixedState::default().hash_one(described.get(..described.len().min(TELLING))?);
        let sights = self.sights.len() as u64;
        let sight = self.sights.get_mut(usize::try_from(who % sights).ok()?)?;
        *sight = if sight.0 == who { (who, sight.1.saturating_add(1)) } else { (who, 1) };
        if sight.1 < SIGHTS {
            return None;
        }
        // A little more than is kept, so that it is seen where the description ends.
        let text = described.get(..described.len().min(LONGEST + 64))?.utf8_chunks().next()?.valid();
        let caller = Caller::read(text, mark_of(described)?)?;
        let set = self.sets.get_mut(set_of(caller.mark))?;
        // Where all ways are taken, they take turns.
        let way = set.iter().position(Option::is_none).unwrap_or(self.turn);
        self.turn = (self.turn + 1) % WAYS;
        *set.get_mut(way)? = Some(caller);
        Some(())
    }

    #[inline]
    fn find(&self, described: &[u8]) -> Option<&Caller> {
        let mark = mark_of(described)?;
        let known = self.sets.get(set_of(mark))?.iter().flatten();
        // One caller may be known in several ways: as the policies let it do this or that.
        known.filter(|caller| caller.mark == mark).find(|caller| described.starts_with(caller.text.as_bytes()))
    }
}

impl<'a> Fields<'_, 'a> {
    /// Walks through the fields before the caller.
    fn begin(&mut self, walk: &mut Walk<'a>) -> Option<()> {
        walk.expect(b'{')?;
        while !walk.is_over() {
            let key = walk.key()?;
            self.take(walk, key)?;
            walk.expect(b',')?;
        }
        Some(())
    }
}

impl Caller {
    /// The caller whose description a text begins with.
    fn read(text: &str, mark: u64) -> Option<Self> {
        let mut walk = Walk::new(text)?;
        let mut read = Auth::default();
        auth(&mut walk, &mut read)?;
        let mut end = walk.place();
        let tokens = Tokens::read(&mut walk, text).map(|(tokens, after)| {
            end = after;
            tokens
        });
        if !(SHORTEST..=LONGEST).contains(&end) {
            return None;
        }
        Some(Self {
            mark,
            text: text.get(..end)?.into(),
            accessor: span(text, &read.accessor)?,
            display_name: span(text, &read.display_name)?,
            entity_id: span(text, &read.entity_id)?,
            metadata: read.metadata.map(|metadata| span(text, metadata)).map_or(Some(None), |span| span.map(Some))?,
            clear_token: read.clear_token,
            root: read.root,
            policy_results: read.policy_results,
            tokens,
        })
    }

    fn auth(&self) -> Auth<'_> {
        Auth {
            clear_token: self.clear_token,
            accessor: Cow::Borrowed(self.piece(self.accessor)),
            display_name: Cow::Borrowed(self.piece(self.display_name)),
            root: self.root,
            entity_id: Cow::Borrowed(self.piece(self.entity_id)),
            policy_results: self.policy_results,
            metadata: self.metadata.map(|metadata| self.piece(metadata)),
        }
    }

    fn piece(&self, span: Span) -> &str {
        self.text.get(usize::from(span.start)..usize::from(span.end)).unwrap_or_default()
    }
}

impl Tokens {
    /// The request's first fields as far as they are the caller's, and where they end.
    fn read(walk: &mut Walk<'_>, text: &str) -> Option<(Self, usize)> {
        walk.expect(b',')?;
        if walk.key()? != b"request" {
            return None;
        }
        walk.expect(b'{')?;
        let (mut request, mut seen, mut end) = (Request::default(), Seen::default(), None);
        while let Some(key @ (b"client_id" | b"client_token" | b"client_token_accessor")) = walk.key() {
            // Any other value than a text has an end that only what follows tells.
            if walk.byte() != b'"' || request_field(walk, key, &mut request, &mut seen).is_none() {
                break;
            }
            end = Some(walk.place());
            if walk.expect(b',').is_none() {
                break;
            }
        }
        let accessor = span(text, &request.client_token_accessor)?;
        Some((Self { accessor, clear_token: request.clear_token, seen }, end?))
    }
}

/// What stands before the caller where an entry begins with it.
const FIRST: &[u8] = b"{\"auth\":";
const KEY: &[u8] = b"\"auth\":";

/// Where the caller's object begins.
fn caller_begins(line: &[u8]) -> Option<usize> {
    if line.starts_with(FIRST) {
        return Some(FIRST.len());
    }
    // A quote within a text would be escaped, so this can only be a key; that it is one of the entry's own is seen when what stands before
    // it is read.
    let soon = line.get(..SOON)?;
    memmem::find(soon, b",\"auth\":{").map(|comma| comma + 1 + KEY.len())
}

/// Some of the bytes in which callers differ: within the hash that comes first.
fn mark_of(described: &[u8]) -> Option<u64> {
    let bytes = described.get(32..40)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn set_of(mark: u64) -> usize {
    // The remainder is small, so nothing is cut off.
    usize::try_from((mark.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % SETS as u64).unwrap_or_default()
}

/// Where a piece stands in the text that it was borrowed from.
fn span(text: &str, piece: &str) -> Option<Span> {
    if piece.is_empty() {
        return Some(Span::default());
    }
    let start = (piece.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let end = start + piece.len();
    (text.get(start..end)? == piece).then_some(())?;
    Some(Span { start: u16::try_from(start).ok()?, end: u16::try_from(end).ok()? })
}
