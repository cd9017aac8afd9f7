//! The fast way from a line to an [`Entry`]: one pass over the text, by its quotes, without copies.
//!
//! Invariant: what it reads is what the slow way (serde) reads; for anything unusual (white space, escapes in a text that is kept,
//! unexpected types, keys that stand twice, whatever is wrong) it answers `None`, and the slow way decides. Tests hold both side by side.

mod block;
mod callers;
#[cfg(test)]
mod tests;
mod walk;

use std::borrow::Cow;

use crate::entry::{Auth, Entry, Namespace, PolicyResults, Request, Response, TokenMade, is_in_clear, names_root};
use crate::words::ErrorClass;
pub(crate) use callers::Callers;
use walk::Walk;

/// Reads a whole entry, if it is a usual one.
pub(crate) fn scan(text: &str) -> Option<Entry<'_>> {
    let mut entry = Entry::default();
    let mut walk = Walk::new(text)?;
    let mut fields = Fields { entry: &mut entry, seen: Seen::default() };
    object(&mut walk, |walk, key| fields.take(walk, key))?;
    fields.end(&walk)?;
    Some(entry)
}

/// An entry that is being read, in place: it is too large to be handed about.
struct Fields<'e, 'a> {
    entry: &'e mut Entry<'a>,
    seen: Seen,
}

impl<'a> Fields<'_, 'a> {
    #[inline]
    fn take(&mut self, walk: &mut Walk<'a>, key: &[u8]) -> Option<()> {
        let Self { entry, seen } = self;
        match key {
            b"time" => seen.once(0).and_then(|()| plain(walk, &mut entry.time)),
            b"type" => seen.once(1).and_then(|()| plain(walk, &mut entry.kind)),
            b"error" => {
                seen.once(2)?;
                let text = walk.unresolved()?;
                entry.error = if text.is_empty() { None } else { Some(ErrorClass::of_escaped(text)?) };
                Some(())
            }
            b"auth" => {
                self.has_auth()?;
                auth(walk, self.entry.auth.insert(Auth::default()))
            }
            b"request" => {
                self.has_request()?;
                let (mut seen, request) = (Seen::default(), &mut self.entry.request);
                object(walk, |walk, key| request_field(walk, key, request, &mut seen))
            }
            b"response" => seen.once(5).and_then(|()| response(walk, entry.response.insert(Response::default()))),
            _ => walk.value(),
        }
    }

    fn has_auth(&mut self) -> Option<()> {
        self.seen.once(3)
    }

    fn has_request(&mut self) -> Option<()> {
        self.seen.once(4)
    }

    /// Whether this is a whole entry.
    fn end(&mut self, walk: &Walk<'_>) -> Option<()> {
        let has_request = self.has_request().is_none();
        (walk.is_over() && has_request).then_some(())
    }
}

fn auth<'a>(walk: &mut Walk<'a>, auth: &mut Auth<'a>) -> Option<()> {
    let mut seen = Seen::default();
    object(walk, |walk, key| match key {
        b"client_token" => {
            seen.once(0)?;
            auth.clear_token = is_in_clear(walk.plain()?);
            Some(())
        }
        b"accessor" => seen.once(1).and_then(|()| plain(walk, &mut auth.accessor)),
        b"display_name" => seen.once(2).and_then(|()| plain(walk, &mut auth.display_name)),
        b"policies" => {
            seen.once(3)?;
            auth.root = names_root(raw(walk)?);
            Some(())
        }
        b"entity_id" => seen.once(4).and_then(|()| plain(walk, &mut auth.entity_id)),
        b"policy_results" => {
            seen.once(5)?;
            policy_results(walk, auth.policy_results.insert(PolicyResults::default()))
        }
        b"metadata" => {
            seen.once(6)?;
            auth.metadata = Some(raw(walk)?);
            Some(())
        }
        _ => walk.value(),
    })
}

fn policy_results(walk: &mut Walk<'_>, results: &mut PolicyResults) -> Option<()> {
    let mut seen = Seen::default();
    object(walk, |walk, key| {
        if key != b"allowed" {
            return walk.value();
        }
        seen.once(0)?;
        results.allowed = walk.truth()?;
        Some(())
    })
}

#[inline]
fn request_field<'a>(walk: &mut Walk<'a>, key: &[u8], request: &mut Request<'a>, seen: &mut Seen) -> Option<()> {
    match key {
        b"id" => seen.once(0).and_then(|()| plain(walk, &mut request.id)),
        b"operation" => seen.once(1).and_then(|()| plain(walk, &mut request.operation)),
        b"mount_point" => seen.once(2).and_then(|()| plain(walk, &mut request.mount_point)),
        b"mount_type" => seen.once(3).and_then(|()| plain(walk, &mut request.mount_type)),
        b"client_token" => {
            seen.once(4)?;
            request.clear_token = is_in_clear(walk.plain()?);
            Some(())
        }
        b"client_token_accessor" => seen.once(5).and_then(|()| plain(walk, &mut request.client_token_accessor)),
        b"namespace" => seen.once(6).and_then(|()| namespace(walk, &mut request.namespace)),
        b"path" => seen.once(7).and_then(|()| plain(walk, &mut request.path)),
        b"remote_address" => seen.once(8).and_then(|()| plain(walk, &mut request.remote_address)),
        b"data" => {
            seen.once(9)?;
            request.data = Some(raw(walk)?);
            Some(())
        }
        _ => walk.value(),
    }
}

fn namespace<'a>(walk: &mut Walk<'a>, namespace: &mut Option<Namespace<'a>>) -> Option<()> {
    let namespace = namespace.insert(Namespace::default());
    let mut seen = Seen::default();
    object(walk, |walk, key| match key {
        b"path" => seen.once(0).and_then(|()| plain(walk, &mut namespace.path)),
        _ => walk.value(),
    })
}

fn response<'a>(walk: &mut Walk<'a>, response: &mut Response<'a>) -> Option<()> {
    let mut seen = Seen::default();
    object(walk, |walk, key| {
        let field = match key {
            b"auth" => {
                seen.once(0)?;
                return token_made(walk, response.auth.insert(TokenMade::default()));
            }
            b"data" => seen.once(1).map(|()| &mut response.data)?,
            b"secret" => seen.once(2).map(|()| &mut response.secret)?,
            b"wrap_info" => seen.once(3).map(|()| &mut response.wrap_info)?,
            _ => return walk.value(),
        };
        *field = Some(raw(walk)?);
        Some(())
    })
}

fn token_made(walk: &mut Walk<'_>, made: &mut TokenMade) -> Option<()> {
    let mut seen = Seen::default();
    object(walk, |walk, key| match key {
        b"policies" => {
            seen.once(0)?;
            made.root = names_root(raw(walk)?);
            Some(())
        }
        b"token_ttl" => {
            seen.once(1)?;
            made.token_ttl = walk.number()?;
            Some(())
        }
        _ => walk.value(),
    })
}

/// The keys of the entry's own structure that stood in an object already.
#[derive(Clone, Copy, Debug, Default)]
struct Seen(u16);

impl Seen {
    #[inline]
    fn once(&mut self, key: u32) -> Option<()> {
        let bit = 1 << key;
        let first = self.0 & bit == 0;
        self.0 |= bit;
        first.then_some(())
    }
}

/// Walks through an object; `each` walks past the value of its key.
#[inline]
fn object<'a>(walk: &mut Walk<'a>, mut each: impl FnMut(&mut Walk<'a>, &'a [u8]) -> Option<()>) -> Option<()> {
    walk.expect(b'{')?;
    if walk.byte() == b'}' {
        return walk.expect(b'}');
    }
    let key = walk.key()?;
    each(walk, key)?;
    rest(walk, each)
}

/// Walks through what is left of an object behind one of its values.
#[inline]
fn rest<'a>(walk: &mut Walk<'a>, mut each: impl FnMut(&mut Walk<'a>, &'a [u8]) -> Option<()>) -> Option<()> {
    while walk.byte() != b'}' {
        walk.expect(b',')?;
        let key = walk.key()?;
        each(walk, key)?;
    }
    walk.expect(b'}')
}

#[inline]
fn plain<'a>(walk: &mut Walk<'a>, text: &mut Cow<'a, str>) -> Option<()> {
    *text = Cow::Borrowed(walk.plain()?);
    Some(())
}

/// A value as it stands there; `null` is as good as absent, and unusual.
#[inline]
fn raw<'a>(walk: &mut Walk<'a>) -> Option<&'a str> {
    if walk.byte() == b'n' {
        return None;
    }
    let start = walk.place();
    walk.value()?;
    Some(walk.since(start))
}
