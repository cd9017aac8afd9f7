//! An archive that was altered anywhere is found out, and the place is named.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a scene that cannot be set must fail the test")]

use jiff::Timestamp;
use keyward_audit::{Chain, Comparison, Difference, Place, Segment, Spot, Verdict, Where};

/// Three files: two of several segments, one that is short.
const FILES: [usize; 3] = [2_500, 3_000, 40];

type Archive = Vec<Vec<String>>;

fn archive() -> Archive {
    FILES.iter().enumerate().map(|(file, lines)| (0..*lines).map(|line| format!("file {file} line {line}")).collect()).collect()
}

fn chain(archive: &Archive, from: usize) -> Vec<Segment> {
    let mut chain = Chain::default();
    for (file, lines) in archive.iter().enumerate() {
        for (line, text) in lines.iter().enumerate().skip(if file == 0 { from } else { 0 }) {
            chain.line(text.as_bytes(), Place { file: file as u64, offset: line as u64 * 20 }, Timestamp::UNIX_EPOCH);
        }
    }
    chain.close();
    chain.closed().to_vec()
}

fn compare(segments: Vec<Segment>, archive: &Archive) -> Verdict {
    let mut comparison = Comparison::new(segments);
    for (file, lines) in archive.iter().enumerate() {
        for (line, text) in lines.iter().enumerate() {
            comparison.line(Spot { file, line: line as u64 + 1 }, text.as_bytes());
        }
    }
    comparison.finish()
}

/// The number in the chain of a line.
fn number(file: usize, line: usize) -> u64 {
    (FILES[..file].iter().sum::<usize>() + line + 1) as u64
}

/// The numbers of the segment that a line is in.
fn segment(segments: &[Segment], number: u64) -> (u64, u64) {
    segments.iter().map(|s| (s.first, s.last())).find(|(first, last)| (*first..=*last).contains(&number)).unwrap()
}

/// The last line of a file, the first of the next, ends of segments and their neighbours, and some in between.
fn places() -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    for (file, lines) in FILES.iter().enumerate() {
        let near = [0, 1, 1_023, 1_024, 1_025, lines - 2, lines - 1];
        places.extend(near.into_iter().filter(|line| line < lines).map(|line| (file, line)));
    }
    places
}

#[test]
fn an_untouched_archive_is_proved_whole() {
    let whole = archive();
    let segments = chain(&whole, 0);
    let count = segments.len() as u64;
    let verdict = compare(segments, &whole);
    assert!(verdict.is_well(), "{verdict:?}");
    assert_eq!((verdict.proved, verdict.first, verdict.last, verdict.before, verdict.after, verdict.rest), (count, 1, 5_540, 0, 0, 0));
}

#[test]
fn a_changed_line_is_named() {
    let whole = archive();
    let segments = chain(&whole, 0);
    for (file, line) in places() {
        let mut altered = whole.clone();
        altered[file][line].push('x');
        let verdict = compare(segments.clone(), &altered);
        let number = number(file, line);
        let at = Spot { file, line: line as u64 + 1 };
        assert_eq!(verdict.differences, [Difference::Changed { number, at }], "{file} {line}");
        assert_eq!(verdict.altered, [segment(&segments, number)], "{file} {line}");
    }
}

#[test]
fn a_removed_line_is_named() {
    let whole = archive();
    let segments = chain(&whole, 0);
    for (file, line) in places() {
        let mut altered = whole.clone();
        altered[file].remove(line);
        let verdict = compare(segments.clone(), &altered);
        let number = number(file, line);
        let at = match (file, line + 1 == FILES[file]) {
            (2, true) => Where::End,
            (_, true) => Where::Before(Spot { file: file + 1, line: 1 }),
            _ => Where::Before(Spot { file, line: line as u64 + 1 }),
        };
        assert_eq!(verdict.differences, [Difference::Removed { first: number, last: number, at }], "{file} {line}");
        assert_eq!(verdict.altered, [segment(&segments, number)], "{file} {line}");
    }
}

#[test]
fn an_added_line_is_named() {
    let whole = archive();
    let segments = chain(&whole, 0);
    for (file, line) in places() {
        let mut altered = whole.clone();
        altered[file].insert(line, "nobody wrote this".into());
        let verdict = compare(segments.clone(), &altered);
        let at = Spot { file, line: line as u64 + 1 };
        assert_eq!(verdict.differences, [Difference::Added { at, lines: 1 }], "{file} {line}");
        assert!(verdict.altered.contains(&segment(&segments, number(file, line))), "{file} {line}: {:?}", verdict.altered);
    }
}

#[test]
fn lines_that_changed_places_are_named() {
    let whole = archive();
    let segments = chain(&whole, 0);
    for (file, line) in places().into_iter().filter(|(file, line)| line + 1 < FILES[*file]) {
        let mut altered = whole.clone();
        altered[file].swap(line, line + 1);
        let verdict = compare(segments.clone(), &altered);
        assert!(!verdict.is_well());
        let moved = |difference: &Difference| matches!(difference, Difference::Moved { .. });
        assert!(verdict.differences.iter().all(moved) && !verdict.differences.is_empty(), "{file} {line}: {:?}", verdict.differences);
        let named = |at: Spot| verdict.differences.iter().any(|d| matches!(d, Difference::Moved { at: spot, .. } if *spot == at));
        assert!(named(Spot { file, line: line as u64 + 1 }) || named(Spot { file, line: line as u64 + 2 }), "{:?}", verdict.differences);
        assert!(verdict.altered.contains(&segment(&segments, number(file, line))), "{file} {line}");
    }
    let mut altered = whole.clone();
    let line = altered[0].remove(10);
    altered[1].insert(2_000, line);
    let verdict = compare(segments.clone(), &altered);
    assert_eq!(verdict.differences, [Difference::Moved { number: 11, at: Spot { file: 1, line: 2_001 } }], "from one file into another");
}

#[test]
fn a_line_of_the_same_mark_is_found_out_by_the_chain() {
    let whole = archive();
    let mut segments = chain(&whole, 0);
    // What somebody who can make marks collide would achieve: the mark fits, the line is another.
    let mut altered = whole.clone();
    altered[0][100] = "forged".into();
    segments[0].marks[400..404].copy_from_slice(&keyward_audit::line_digest(b"forged")[..4]);
    let verdict = compare(segments, &altered);
    assert_eq!(verdict.differences, [Difference::Altered { first: 1, last: 1_024, at: Some(Spot { file: 0, line: 1 }) }]);
}

#[test]
fn much_at_once_is_named_too() {
    let whole = archive();
    let segments = chain(&whole, 0);
    let without_file = [whole[0].clone(), whole[2].clone()].to_vec();
    let verdict = compare(segments.clone(), &without_file);
    let at = Where::Before(Spot { file: 1, line: 1 });
    assert_eq!(verdict.differences, [Difference::Removed { first: 2_501, last: 5_500, at }]);
    let mut altered = whole.clone();
    altered[0].drain(100..1_300);
    altered[1][7] = String::new();
    altered[1].truncate(2_990);
    let verdict = compare(segments.clone(), &altered);
    assert_eq!(
        verdict.differences,
        [
            Difference::Removed { first: 101, last: 1_300, at: Where::Before(Spot { file: 0, line: 101 }) },
            Difference::Changed { number: 2_508, at: Spot { file: 1, line: 8 } },
            Difference::Removed { first: 5_491, last: 5_500, at: Where::Before(Spot { file: 2, line: 1 }) },
        ]
    );
    let verdict = compare(segments, &vec![(0..10_000).map(|n| format!("another log {n}")).collect()]);
    assert!(!verdict.is_well() && verdict.proved == 0);
}

#[test]
fn what_the_chain_does_not_cover_is_said_and_is_no_alteration() {
    let whole = archive();
    // Evidence was switched on in the middle of the first file.
    let verdict = compare(chain(&whole, 700), &whole);
    assert_eq!((verdict.is_well(), verdict.before, verdict.after), (true, 700, 0), "{verdict:?}");
    // The live file has grown since.
    let mut grown = whole.clone();
    grown[2].push("new".into());
    let verdict = compare(chain(&whole, 0), &grown);
    assert_eq!((verdict.is_well(), verdict.after), (true, 1), "{verdict:?}");
    // Only the second of three files.
    let verdict = compare(chain(&whole, 0), &vec![whole[1].clone()]);
    assert_eq!((verdict.is_well(), verdict.first, verdict.last, verdict.rest), (true, 2_501, 5_500, 40), "{verdict:?}");
    assert_eq!(verdict.proved, 3);
}

#[test]
fn segments_that_do_not_link_up_are_found_out() {
    let whole = archive();
    let mut segments = chain(&whole, 0);
    segments[2].before[0] ^= 1;
    assert_eq!(compare(segments.clone(), &whole).broken_links, 1);
    segments.remove(1);
    let verdict = compare(segments, &whole);
    assert!(verdict.gaps == 1 && !verdict.is_well(), "{verdict:?}");
}
