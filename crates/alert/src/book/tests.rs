//! The book as timelines: what is done when, and what is told for it.

use super::*;

const BASE: i64 = 1_800_000_000;
const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(BASE + seconds).unwrap()
}

fn alert(key: &str, severity: Severity) -> Alert {
    Alert {
        key: key.to_owned(),
        severity,
        title: "it failed".to_owned(),
        account: Account { happened: "The target refused.".to_owned(), ..Account::default() },
        owner: None,
        secret: None,
        at: at(0),
        passes_after: None,
    }
}

/// A book and its daemon; times are seconds since [`BASE`].
struct Scene {
    book: Book,
}

impl Scene {
    fn new() -> Self {
        Self { book: Book::new("kw", Timing::default()) }
    }

    fn raise(&mut self, seconds: i64, key: &str, severity: Severity) {
        self.book.raise(alert(key, severity), at(seconds));
    }

    fn resolve(&mut self, seconds: i64, key: &str) -> bool {
        self.book.resolve(key, "it works again", at(seconds))
    }

    /// Everything told from one second (exclusive) to another (inclusive), asked as a daemon would, and stored and
    /// read back each time, as after a restart.
    fn told(&mut self, from: i64, to: i64) -> Vec<String> {
        let mut lines = Vec::new();
        let mut now = from;
        while now < to {
            // No need to ask before the book itself says so, but for clocks that jump.
            let next = self.book.next_due().map_or(to, |due| due.as_second() - BASE);
            now = next.clamp(now + 1, now + 10 * MINUTE).min(to);
            for notice in self.book.due(at(now)) {
                let keys: Vec<&str> = notice.alerts.iter().map(|told| told.alert.key.as_str()).collect();
                let why = match notice.why {
                    Why::Repeat(times) => format!("repeat {times}"),
                    other => other.label().to_owned(),
                };
                lines.push(format!("{now} {why}: {}", keys.join(" ")));
            }
            self.book = Book::from_json(&self.book.to_json(), Timing::default()).unwrap();
        }
        lines
    }
}

#[test]
fn one_cause_makes_one_mail_worst_first() {
    let mut scene = Scene::new();
    scene.raise(0, "a", Severity::Warning);
    scene.raise(2, "b", Severity::Critical);
    scene.raise(4, "c", Severity::Warning);
    assert_eq!(scene.told(4, 10), ["5 first: b a c"]);
    assert_eq!(scene.told(10, MINUTE), Vec::<String>::new());
}

/// Infisical told of the first failure and of no later one (its pull request 5591).
#[test]
fn failure_21_it_is_repeated_at_growing_intervals_and_resolved_once() {
    let mut scene = Scene::new();
    scene.raise(0, "a", Severity::Critical);
    assert_eq!(scene.told(0, 10), ["5 first: a"]);
    let first = 5 + 30 * MINUTE;
    let expected = [
        format!("{first} repeat 1: a"),
        format!("{} repeat 2: a", first + HOUR),
        format!("{} repeat 3: a", first + 3 * HOUR),
        format!("{} repeat 4: a", first + 7 * HOUR),
        format!("{} repeat 5: a", first + 15 * HOUR),
        format!("{} repeat 6: a", first + 27 * HOUR),
        format!("{} repeat 7: a", first + 39 * HOUR),
    ];
    assert_eq!(scene.told(10, 40 * HOUR), expected);
    assert!(scene.resolve(40 * HOUR, "a"));
    assert!(!scene.resolve(40 * HOUR + 1, "a"), "over is over");
    assert_eq!(scene.told(40 * HOUR, 80 * HOUR), [format!("{} resolved: a", 40 * HOUR + 5)]);
}

#[test]
fn raising_again_is_no_news() {
    let mut scene = Scene::new();
    for second in 0..60 {
        scene.raise(second, "a", Severity::Warning);
        let told = scene.told(second, second + 1);
        assert_eq!(told.len(), usize::from(second == 4), "{second}: {told:?}");
    }
    assert_eq!(scene.book.open()[0].seen, 60);
    assert_eq!(scene.book.open()[0].since, at(0));
}

#[test]
fn worse_is_told_soon_and_milder_with_the_next_repetition() {
    let mut scene = Scene::new();
    scene.raise(0, "a", Severity::Warning);
    scene.told(0, 5);
    scene.raise(100, "a", Severity::Critical);
    assert_eq!(scene.told(100, 200), ["105 worse: a"]);
    scene.raise(300, "a", Severity::Warning);
    scene.raise(301, "a", Severity::Critical);
    assert_eq!(scene.told(301, 400), Vec::<String>::new(), "critical was told already");
    scene.raise(400, "a", Severity::Info);
    let told = scene.told(400, 2 * HOUR);
    assert_eq!(told, [format!("{} repeat 2: a", 105 + HOUR)]);
    scene.raise(2 * HOUR, "a", Severity::Warning);
    assert_eq!(scene.told(2 * HOUR, 2 * HOUR + 9), [format!("{} worse: a", 2 * HOUR + 5)], "what was told last is info");
}

#[test]
fn the_severity_told_before_is_named_in_the_notice() {
    let mut scene = Scene::new();
    scene.raise(0, "a", Severity::Warning);
    let first = scene.book.due(at(5)).remove(0);
    assert_eq!((first.alerts[0].before, first.alerts[0].thread.as_str()), (None, first.id.as_str()));
    scene.raise(10, "a", Severity::Critical);
    let worse = scene.book.due(at(15)).remove(0);
    assert_eq!((worse.alerts[0].before, worse.alerts[0].thread.as_str()), (Some(Severity::Warning), first.id.as_str()));
    assert_ne!(worse.id, first.id);
    assert_eq!(worse.alerts[0].again, at(15 + HOUR));
}

#[test]
fn a_short_blip_is_counted_unless_it_was_critical() {
    let mut scene = Scene::new();
    scene.raise(0, "mild", Severity::Warning);
    scene.raise(0, "grave", Severity::Critical);
    scene.resolve(2, "mild");
    scene.resolve(2, "grave");
    let notices = scene.book.due(at(5));
    assert_eq!(notices.len(), 1);
    assert_eq!((notices[0].why, notices[0].alerts.len()), (Why::First, 1));
    assert_eq!(notices[0].alerts[0].over.as_ref().map(|over| over.at), Some(at(2)));
    assert_eq!(scene.book.counts(at(6)).blips, 1);
    assert_eq!(scene.told(5, HOUR), Vec::<String>::new(), "no resolution of what was told as over");
}

#[test]
fn back_before_its_resolution_was_told_goes_on_as_before() {
    let mut scene = Scene::new();
    scene.raise(0, "a", Severity::Critical);
    scene.told(0, 5);
    scene.resolve(100, "a");
    scene.raise(103, "a", Severity::Critical);
    assert_eq!(scene.told(103, 5 + 30 * MINUTE), [format!("{} repeat 1: a", 5 + 30 * MINUTE)]);
    assert_eq!(scene.book.open()[0].since, at(0), "it never was over, as far as anybody knows");
}

/// Up for ten seconds, down for fifty, for four hours: each of the first turns is told, then one state that lasts.
#[test]
fn flapping_ends_in_one_condition_that_is_told_as_over_when_it_was_calm() {
    let mut scene = Scene::new();
    let mut told = Vec::new();
    for turn in 0..240 {
        let start = turn * MINUTE;
        scene.raise(start, "a", Severity::Critical);
        told.extend(scene.told(start, start + 10));
        scene.resolve(start + 10, "a");
        told.extend(scene.told(start + 10, start + MINUTE));
    }
    let turns = ["5 first: a", "15 resolved: a", "65 first: a", "75 resolved: a", "125 first: a", "135 resolved: a", "185 first: a"];
    assert_eq!(told[..7], turns);
    let first = 185 + 30 * MINUTE;
    let expected: Vec<String> =
        [first, first + HOUR, first + 3 * HOUR].iter().zip(1..).map(|(at, times)| format!("{at} repeat {times}: a")).collect();
    assert_eq!(told[7..], expected[..]);
    assert_eq!(scene.book.counts(at(240 * MINUTE)).flapping, 1);
    let last_end = 239 * MINUTE + 10;
    assert_eq!(scene.told(240 * MINUTE, 260 * MINUTE), [format!("{} resolved: a", last_end + 10 * MINUTE)]);
    assert_eq!(scene.book.counts(at(320 * MINUTE)).flapping, 0);
}

/// Shorter than the group window each time: never open long enough to be told, were it not for the flapping.
#[test]
fn flapping_faster_than_the_first_mail_is_told_all_the_same() {
    let mut scene = Scene::new();
    let mut told = Vec::new();
    for turn in 0..20 {
        let start = turn * 4;
        scene.raise(start, "a", Severity::Warning);
        told.extend(scene.told(start, start + 2));
        scene.resolve(start + 2, "a");
        told.extend(scene.told(start + 2, start + 4));
    }
    assert!(told.iter().any(|line| line.ends_with("first: a")), "{told:?}");
    assert!(told.len() <= 5, "bounded: {told:?}");
}

#[test]
fn what_happened_is_repeated_only_if_it_happened_again_and_passes_by_itself() {
    let mut scene = Scene::new();
    let event = || Alert { passes_after: Some(SignedDuration::from_hours(1)), ..alert("root-token", Severity::Critical) };
    scene.book.raise(event(), at(0));
    assert_eq!(scene.told(0, HOUR - 1), ["5 first: root-token"]);
    assert!(scene.book.is_open("root-token"));
    scene.book.raise(event(), at(HOUR - 1));
    assert_eq!(scene.told(HOUR - 1, 3 * HOUR), [format!("{} repeat 1: root-token", 5 + HOUR)]);
    scene.book.due(at(3 * HOUR));
    assert!(!scene.book.is_open("root-token"), "no resolution is told of what happened");
    scene.book.raise(event(), at(4 * HOUR));
    assert_eq!(scene.told(4 * HOUR, 5 * HOUR), [format!("{} first: root-token", 4 * HOUR + 5)]);
}

#[test]
fn a_clock_that_jumps_neither_silences_nor_floods() {
    let mut scene = Scene::new();
    let year = 365 * 24 * HOUR;
    scene.raise(year, "a", Severity::Critical);
    assert_eq!(scene.told(year, year + 5), [format!("{} first: a", year + 5)]);
    // The clock is set back by the year: the repetition must come within the longest interval.
    let told = scene.told(0, 13 * HOUR);
    assert_eq!(told, [format!("{} repeat 1: a", 10 * MINUTE + 12 * HOUR)]);
    // And forward again: one repetition, not those of a year.
    assert_eq!(scene.told(2 * year, 2 * year + MINUTE).len(), 1);
}

#[test]
fn resolving_what_does_not_hold_is_harmless() {
    let mut scene = Scene::new();
    assert!(!scene.resolve(0, "unknown"));
    assert_eq!(scene.book.due(at(100)), []);
    assert_eq!(scene.book.next_due(), None);
}

#[test]
fn a_full_book_says_so_and_takes_more_when_there_is_room() {
    let mut scene = Scene::new();
    for number in 0..MAX_CONDITIONS {
        scene.raise(0, &format!("k/{number}"), Severity::Warning);
    }
    scene.raise(1, "late", Severity::Critical);
    assert!(!scene.book.is_open("late") && scene.book.is_open(OVERFLOW));
    let counts = scene.book.counts(at(1));
    assert_eq!((counts.overflowed, counts.open), (1, [0, MAX_CONDITIONS as u64, 1]));
    assert!(scene.book.due(at(5))[0].alerts[0].alert.account.happened.contains("1 further reports"));
    for number in 0..2_000 {
        scene.resolve(10, &format!("k/{number}"));
    }
    scene.book.due(at(15));
    scene.raise(20, "late", Severity::Critical);
    assert!(scene.book.is_open("late"), "what is over makes room");
    let later = scene.book.due(at(HOUR + 20)).into_iter().find(|notice| notice.why == Why::Resolved).map(|notice| notice.alerts.len());
    let end = scene.book.due(at(HOUR + 40)).into_iter().find(|notice| notice.why == Why::Resolved).map(|notice| notice.alerts.len());
    assert_eq!(later.or(end), Some(1), "the overflow itself is over");
}

#[test]
fn ids_differ_between_books_and_over_time() {
    let notice = |origin: &str, seconds: i64| {
        let mut book = Book::new(origin, Timing::default());
        book.raise(alert("a", Severity::Info), at(seconds));
        book.due(at(seconds + 5)).remove(0).id
    };
    // A book that was lost and begun anew must not use the ids of the old one.
    assert_ne!(notice("kw", 0), notice("kw", 1));
    assert_ne!(notice("kw", 0), notice("other", 0));
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let text = Scene::new().book.to_json().replacen("\"format\":1", "\"format\":2", 1);
    let error = Book::from_json(&text, Timing::default()).expect_err("newer");
    assert!(matches!(error, StoredError::Newer { found: 2, .. }), "{error}");
    assert!(matches!(Book::from_json("{}", Timing::default()), Err(StoredError::Malformed { .. })));
}
