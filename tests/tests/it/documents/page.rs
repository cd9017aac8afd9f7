//! The code blocks of a page in Markdown, and what their heading line asks for.

use std::fs;
use std::path::{Path, PathBuf};

/// How a block of commands has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this code.
    Code(i32),
    /// However it likes (`exit=*`): the page says that both happens.
    Either,
}

/// A block between fences.
#[derive(Clone, Debug)]
pub struct Block {
    /// Where its text begins: `page:line`.
    pub at: String,
    /// What it is written in: `sh`, `toml`, `sql`, or nothing.
    pub language: String,
    /// How it has to end.
    pub end: End,
    /// The text.
    pub text: String,
}

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The blocks of a page, which is named from the workspace's folder. They may be indented, as in a list.
pub fn blocks(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(root().join(page)).unwrap_or_else(|e| panic!("{page}: {e}"));
    let (mut blocks, mut open): (Vec<Block>, Option<(usize, Block)>) = (Vec::new(), None);
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (open.take(), fence) {
            (None, Some(heading)) => {
                let mut words = heading.split_whitespace();
                let language = words.next().unwrap_or_default().to_owned();
                let end = match words.next().and_then(|word| word.strip_prefix("exit=")) {
                    None => End::Code(0),
                    Some("*") => End::Either,
                    Some(code) => End::Code(code.parse().unwrap_or_else(|e| panic!("{page}:{}: {e}", number + 1))),
                };
                let indent = line.len() - line.trim_start().len();
                open = Some((indent, Block { at: format!("{page}:{}", number + 2), language, end, text: String::new() }));
            }
            (Some((_, block)), Some(_)) => blocks.push(block),
            (Some((indent, mut block)), None) => {
                block.text += line.get(indent..).unwrap_or_default();
                block.text.push('\n');
                open = Some((indent, block));
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{page}: a block has no end");
    blocks
}

/// Those of the blocks that are commands.
pub fn commands(page: &str) -> Vec<Block> {
    blocks(page).into_iter().filter(|block| block.language == "sh").collect()
}
