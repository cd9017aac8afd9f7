//! Reads a policy's text as far as paths and capabilities go: HCL as Vault writes and takes it, and JSON.
//!
//! It never judges. What it does not know (parameters, time limits) is skipped, block by block.

use serde_json::Value;
use std::cmp::Reverse;

/// A path of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// As written: `*` at the end stands for anything, `+` for one part.
    pub path: String,
    /// As written; those of the old word `policy` spelled out.
    pub capabilities: Vec<String>,
}

impl Rule {
    /// Whether the path has a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.path.ends_with('*') || self.path.split('/').any(|part| part == "+")
    }

    /// By which Vault takes one of several rules that cover a path: the greater one.
    pub fn exactness(&self) -> impl Ord + use<> {
        let first = self.path.char_indices().find(|(at, c)| *c == '+' || (*c == '*' && at + 1 == self.path.len()));
        let singles = self.path.split('/').filter(|part| *part == "+").count();
        (first.map_or(usize::MAX, |(at, _)| at), !self.path.ends_with('*'), Reverse(singles), self.path.len(), self.path.clone())
    }

    /// Whether it is about this path.
    pub fn covers(&self, path: &str) -> bool {
        let (pattern, is_prefix) = self.path.strip_suffix('*').map_or((self.path.as_str(), false), |prefix| (prefix, true));
        let (mut wanted, mut given) = (pattern.split('/').peekable(), path.split('/'));
        while let Some(part) = wanted.next() {
            let is_last = wanted.peek().is_none();
            let Some(there) = given.next() else { return false };
            match (is_last && is_prefix, part) {
                (true, prefix) => return there.starts_with(prefix),
                (false, "+") => {}
                (false, exact) if exact == there => {}
                _ => return false,
            }
        }
        given.next().is_none()
    }
}

/// The rules of a policy's text; `None` where it cannot be read.
pub fn parse(text: &str) -> Option<Vec<Rule>> {
    if text.trim_start().starts_with('{') { json(text) } else { Reader { rest: text }.rules() }
}

fn json(text: &str) -> Option<Vec<Rule>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let paths = value.get("path")?;
    let tables: Vec<&serde_json::Map<String, Value>> = match paths {
        Value::Object(map) => vec![map],
        Value::Array(list) => list.iter().filter_map(Value::as_object).collect(),
        _ => return None,
    };
    let rule = |(path, body): (&String, &Value)| {
        let list = body.get("capabilities").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let capabilities = list.iter().filter_map(|c| c.as_str().map(str::to_owned)).collect();
        Rule { path: path.clone(), capabilities }
    };
    Some(tables.into_iter().flatten().map(rule).collect())
}

/// What the word `policy` of old stands for.
fn of_old(word: &str) -> Vec<String> {
    let words: &[&str] = match word {
        "read" => &["read", "list"],
        "write" => &["create", "read", "update", "delete", "list"],
        "sudo" => &["create", "read", "update", "delete", "list", "sudo"],
        _ => &["deny"],
    };
    words.iter().map(|w| (*w).to_owned()).collect()
}

struct Reader<'t> {
    rest: &'t str,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

impl Reader<'_> {
    fn rules(&mut self) -> Option<Vec<Rule>> {
        let mut rules = Vec::new();
        while let Some(token) = self.next()? {
            match token {
                Token::Word(word) if word == "path" => rules.push(self.rule()?),
                Token::Sign('{') => self.skip_block()?,
                _ => {}
            }
        }
        Some(rules)
    }

    fn rule(&mut self) -> Option<Rule> {
        let Some(Token::Text(path)) = self.next()? else { return None };
        let mut rule = Rule { path, capabilities: Vec::new() };
        loop {
            match self.next()?? {
                Token::Sign('{') => break,
                Token::Sign('=') => {}
                _ => return None,
            }
        }
        loop {
            match self.next()?? {
                Token::Sign('}') => return Some(rule),
                Token::Sign('{') => self.skip_block()?,
                Token::Word(word) | Token::Text(word) if word == "capabilities" => rule.capabilities = self.list()?,
                Token::Word(word) | Token::Text(word) if word == "policy" => {
                    while let Some(token) = self.next()? {
                        match token {
                            Token::Text(word) => {
                                rule.capabilities = of_old(&word);
                                break;
                            }
                            Token::Sign('=') => {}
                            _ => return None,
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn list(&mut self) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        loop {
            match self.next()?? {
                Token::Text(text) => texts.push(text),
                Token::Sign(']') => return Some(texts),
                Token::Sign('=' | '[' | ',') => {}
                _ => return None,
            }
        }
    }

    fn skip_block(&mut self) -> Option<()> {
        let mut depth = 1;
        while depth > 0 {
            match self.next()?? {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') => depth -= 1,
                _ => {}
            }
        }
        Some(())
    }

    /// The next token; `Some(None)` at the end, `None` where a text or a comment never ends.
    #[expect(clippy::option_option, reason = "the outer one is the failure, the inner one the end; a type for both would say no more")]
    fn next(&mut self) -> Option<Option<Token>> {
        loop {
            self.rest = self.rest.trim_start();
            let Some(first) = self.rest.chars().next() else { return Some(None) };
            if first == '#' || self.rest.starts_with("//") {
                self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                self.rest = comment.split_once("*/")?.1;
            } else if let Some(text) = self.rest.strip_prefix('"') {
                return self.text(text).map(Some);
            } else if first.is_alphanumeric() || first == '_' {
                let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Some(Some(Token::Word(word.to_owned())));
            } else {
                self.rest = self.rest.get(first.len_utf8()..).unwrap_or_default();
                return Some(Some(Token::Sign(first)));
            }
        }
    }

    fn text(&mut self, text: &str) -> Option<Token> {
        let mut out = String::new();
        let mut characters = text.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    let consumed = self.rest.len() - text.len() + at + 1;
                    self.rest = self.rest.get(consumed..).unwrap_or_default();
                    return Some(Token::Text(out.replace("$${", "${")));
                }
                '\\' => out.push(match characters.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                }),
                other => out.push(other),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Option<Vec<(String, String)>> {
        parse(text).map(|rules| rules.into_iter().map(|r| (r.path, r.capabilities.join(","))).collect())
    }

    #[test]
    fn paths_and_capabilities_are_read_whatever_stands_around_them() {
        let text = "# a comment with path \"x\" {\npath \"a/*\" { capabilities = [\"read\", \"list\"] }\n/* path */ path \"b\" {\n  // why\n  \
                    capabilities = [\"update\",]\n  allowed_parameters = { \"k\" = [\"}\"] }\n  min_wrapping_ttl = \"1s\"\n}\npath \"c\" { policy = \"write\" }\n";
        let expected = [("a/*", "read,list"), ("b", "update"), ("c", "create,read,update,delete,list")];
        assert_eq!(rules(text), Some(expected.map(|(p, c)| (p.to_owned(), c.to_owned())).to_vec()));
        assert_eq!(rules(r#"{"path":{"d":{"capabilities":["read"]}}}"#), Some(vec![("d".into(), "read".into())]));
        assert_eq!(rules(r#"path "q\"$${x" { capabilities = ["read"] }"#), Some(vec![("q\"${x".into(), "read".into())]));
        assert_eq!(rules(""), Some(vec![]));
    }

    #[test]
    fn what_is_cut_off_is_not_read_by_halves() {
        for text in ["path \"a\" { capabilities = [\"read\"", "path \"a", "path a { }", "/* never", "{\"path\":"] {
            assert_eq!(rules(text), None, "{text}");
        }
    }

    #[test]
    fn the_more_exact_rule_is_the_one_that_vault_takes() {
        let rule = |path: &str| Rule { path: path.into(), capabilities: vec![] };
        for (more, less) in [("a/b", "a/*"), ("a/b/*", "a/*"), ("a/b/+", "a/+/c"), ("a/+/c", "a/+/*"), ("a/*", "*"), ("a/+/c", "a/+/+")] {
            assert!(rule(more).exactness() > rule(less).exactness(), "{more} {less}");
        }
    }

    #[test]
    fn a_rule_covers_what_vault_says_it_covers() {
        let check = |pattern: &str, path: &str, covers: bool| {
            assert_eq!(Rule { path: pattern.into(), capabilities: vec![] }.covers(path), covers, "{pattern} {path}");
        };
        check("a/b", "a/b", true);
        check("a/b", "a/b/c", false);
        check("a/*", "a/b/c", true);
        check("a/*", "ab", false);
        check("a/b*", "a/bc/d", true);
        check("*", "anything/at/all", true);
        check("a/+/c", "a/b/c", true);
        check("a/+/c", "a/b/d/c", false);
        check("+/data/x*", "kv/data/xy/z", true);
        check("a/*/c", "a/b/c", false);
    }
}
