//! JSON without white space, walked through by its quotes. It knows the grammar and no key.
//!
//! Every step answers `None` for anything unusual: the whole line is then read the slow way, which knows all of JSON and the reasons.

use super::block::{BLOCK, Marks, marks};

/// Deepest nesting that is walked; deeper is unusual.
const DEEPEST: u32 = 60;
/// Longest number that is walked, so that every one of them fits.
const LONGEST_NUMBER: usize = 18;

/// A place in a text.
pub(super) struct Walk<'a> {
    text: &'a str,
    at: usize,
    /// Where the block begins whose quotes are at hand.
    block: usize,
    /// The quotes of the block that were not walked past yet.
    quotes: u64,
    /// The first byte of the next block is escaped.
    carried: bool,
    /// A backslash stands in some block that was looked at.
    escaped: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(text: &'a str) -> Option<Self> {
        let mut walk = Self { text, at: 0, block: 0, quotes: 0, carried: false, escaped: false };
        walk.look()?;
        Some(walk)
    }

    /// The byte here; 0, which is never right, behind the end.
    #[inline]
    pub(super) fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Walks past one byte, which must be this one.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Option<()> {
        let right = self.byte() == byte;
        self.at += 1;
        right.then_some(())
    }

    /// Whether nothing is left.
    pub(super) fn is_over(&self) -> bool {
        self.at == self.text.len()
    }

    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// What was walked past since a place.
    pub(super) fn since(&self, place: usize) -> &'a str {
        self.text.get(place..self.at).unwrap_or_default()
    }

    /// Walks past a string: where what stands between its quotes begins and ends.
    #[inline]
    fn string(&mut self) -> Option<(usize, usize)> {
        let after_first = self.quotes & self.quotes.wrapping_sub(1);
        let (opening, closing) = if after_first == 0 {
            self.far_string()?
        } else {
            // Both quotes stand in this block, as mostly.
            let opening = self.block + self.quotes.trailing_zeros() as usize;
            self.quotes = after_first & (after_first - 1);
            (opening, self.block + after_first.trailing_zeros() as usize)
        };
        if opening != self.at {
            return None;
        }
        self.at = closing + 1;
        Some((opening + 1, closing))
    }

    /// The quotes of a string that does not begin and end in the same block.
    #[inline(never)]
    fn far_string(&mut self) -> Option<(usize, usize)> {
        Some((self.quote()?, self.quote()?))
    }

    /// A string as it stands there, escapes unresolved.
    pub(super) fn unresolved(&mut self) -> Option<&'a str> {
        let (start, end) = self.string()?;
        self.text.get(start..end)
    }

    /// A string without escapes.
    #[inline]
    pub(super) fn plain(&mut self) -> Option<&'a str> {
        let (start, end) = self.string()?;
        let string = self.text.get(start..end)?;
        (!self.escaped || !string.contains('\\')).then_some(string)
    }

    /// A key without escapes, and its colon.
    #[inline]
    pub(super) fn key(&mut self) -> Option<&'a [u8]> {
        let (start, end) = self.string()?;
        let key = self.text.as_bytes().get(start..end)?;
        self.expect(b':')?;
        (!self.escaped || !key.contains(&b'\\')).then_some(key)
    }

    /// `true` or `false`.
    pub(super) fn truth(&mut self) -> Option<bool> {
        let truth = self.byte() == b't';
        self.literal(if truth { "true" } else { "false" })?;
        Some(truth)
    }

    /// A whole number that is not negative.
    pub(super) fn number(&mut self) -> Option<u64> {
        let start = self.at;
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
        let digits = self.since(start);
        let usual = !digits.is_empty() && digits.len() <= LONGEST_NUMBER && (digits.len() == 1 || !digits.starts_with('0'));
        // A fraction or an exponent follows as a byte that no caller expects.
        if usual { digits.parse().ok() } else { None }
    }

    /// Walks past any value.
    pub(super) fn value(&mut self) -> Option<()> {
        match self.byte() {
            b'"' => self.string().map(drop),
            b'{' | b'[' => self.container(),
            b't' | b'f' => self.truth().map(drop),
            b'n' => self.literal("null"),
            b'-' => {
                self.at += 1;
                self.number().map(drop)
            }
            _ => self.number().map(drop),
        }
    }

    fn literal(&mut self, word: &str) -> Option<()> {
        let right = self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes()));
        self.at += word.len();
        right.then_some(())
    }

    /// Walks past an object or an array and all within.
    fn container(&mut self) -> Option<()> {
        // One bit for each open container: whether it is an object. The lowest is the innermost.
        let (mut objects, mut depth) = (0_u64, 0);
        loop {
            // Here a value begins.
            match self.byte() {
                opening @ (b'{' | b'[') => {
                    depth += 1;
                    if depth > DEEPEST {
                        return None;
                    }
                    objects = objects << 1 | u64::from(opening == b'{');
                    self.at += 1;
                    if self.byte() == opening + 2 {
                        // Empty; both closing brackets stand two places after their opening ones.
                    } else {
                        self.key_if(objects)?;
                        continue;
                    }
                }
                b'"' => drop(self.string()?),
                _ => self.value()?,
            }
            // Here a value has ended, or an empty container is about to.
            loop {
                match self.byte() {
                    b',' => {
                        self.at += 1;
                        self.key_if(objects)?;
                        break;
                    }
                    closing @ (b'}' | b']') if (closing == b'}') == (objects & 1 == 1) => {
                        self.at += 1;
                        objects >>= 1;
                        depth -= 1;
                        if depth == 0 {
                            return Some(());
                        }
                    }
                    _ => return None,
                }
            }
        }
    }

    /// Within an object a key and its colon come before the value.
    #[inline]
    fn key_if(&mut self, objects: u64) -> Option<()> {
        if objects & 1 == 1 {
            self.string()?;
            self.expect(b':')?;
        }
        Some(())
    }

    /// The next quote that begins or ends a string.
    #[inline]
    fn quote(&mut self) -> Option<usize> {
        while self.quotes == 0 {
            self.block += BLOCK;
            self.look()?;
        }
        let place = self.block + self.quotes.trailing_zeros() as usize;
        self.quotes &= self.quotes - 1;
        Some(place)
    }

    /// Looks at the block that begins at `self.block`.
    fn look(&mut self) -> Option<()> {
        let rest = self.text.as_bytes().get(self.block..).filter(|rest| !rest.is_empty())?;
        let Marks { quotes, backslashes, control } = if let Some(block) = rest.first_chunk::<BLOCK>() {
            marks(block)
        } else {
            let mut block = [b' '; BLOCK];
            block.get_mut(..rest.len())?.copy_from_slice(rest);
            marks(&block)
        };
        self.quotes = quotes;
        if control {
            return None;
        }
        if backslashes != 0 || self.carried {
            self.escapes(backslashes)?;
        }
        Some(())
    }

    /// Takes away the quotes that are escaped, and sees that every escape is a right one.
    #[cold]
    fn escapes(&mut self, backslashes: u64) -> Option<()> {
        self.escaped = true;
        let mut backslashes = backslashes;
        if std::mem::take(&mut self.carried) {
            self.quotes &= !1;
            backslashes &= !1;
        }
        while backslashes != 0 {
            let place = backslashes.trailing_zeros() as usize;
            backslashes &= backslashes - 1;
            is_right(self.text.as_bytes().get(self.block + place + 1..)?)?;
            if place == BLOCK - 1 {
                self.carried = true;
            } else {
                let next = 1_u64 << (place + 1);
                self.quotes &= !next;
                backslashes &= !next;
            }
        }
        Some(())
    }
}

/// Whether a backslash before this makes an escape that stands for itself. Halves of a pair are unusual.
fn is_right(rest: &[u8]) -> Option<()> {
    let right = match rest {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => true,
        [b'u', first, digits @ ..] => {
            let three = digits.first_chunk::<3>()?;
            first.is_ascii_hexdigit() && !matches!(first, b'd' | b'D') && three.iter().all(u8::is_ascii_hexdigit)
        }
        _ => false,
    };
    right.then_some(())
}
