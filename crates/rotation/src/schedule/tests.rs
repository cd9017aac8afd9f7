//! Schedules, windows, jitter and backoff as tables of known answers.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop where it stands")]

use super::*;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(spec: &str, zone: Option<&str>) -> Schedule {
    Schedule::parse(spec, zone).unwrap()
}

#[test]
fn next_after_known_moments() {
    let table = [
        // Monday, 23 November 2026.
        ("hourly", None, "2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"),
        ("daily", None, "2026-11-23T10:00:00Z", "2026-11-24T02:00:00Z"),
        ("weekly", None, "2026-11-23T10:00:00Z", "2026-11-29T02:00:00Z"),
        ("weekly", None, "2026-11-29T01:59:59.999Z", "2026-11-29T02:00:00Z"),
        ("weekly", None, "2026-11-29T02:00:00Z", "2026-12-06T02:00:00Z"),
        ("monthly", None, "2026-11-23T10:00:00Z", "2026-12-01T02:00:00Z"),
        ("quarterly", None, "2026-11-23T10:00:00Z", "2027-01-01T02:00:00Z"),
        ("quarterly", None, "2027-01-01T02:00:00Z", "2027-04-01T02:00:00Z"),
        ("annually", None, "2026-11-23T10:00:00Z", "2027-01-01T02:00:00Z"),
        ("weekly", Some("Asia/Tokyo"), "2026-11-23T10:00:00Z", "2026-11-28T17:00:00Z"),
        // Day of month or day of week, as Vixie has it: Monday the 30th comes before the 1st.
        ("0 9 1 * 1", None, "2026-11-23T10:00:00Z", "2026-11-30T09:00:00Z"),
        ("0 9 1 * 1", None, "2026-11-30T09:00:00Z", "2026-12-01T09:00:00Z"),
        ("0 9 * * 7", None, "2026-11-23T10:00:00Z", "2026-11-29T09:00:00Z"),
        ("0 9 * * MON#1", None, "2026-11-23T10:00:00Z", "2026-12-07T09:00:00Z"),
        ("0 9 L * *", None, "2026-11-23T10:00:00Z", "2026-11-30T09:00:00Z"),
        ("5-10/2 4 * jan SAT", None, "2026-11-23T10:00:00Z", "2027-01-02T04:05:00Z"),
        // Leap days: the next one, and over the year 2100 that has none.
        ("0 2 29 2 *", None, "2026-11-23T10:00:00Z", "2028-02-29T02:00:00Z"),
        ("0 2 29 2 *", None, "2096-02-29T02:00:00Z", "2104-02-29T02:00:00Z"),
        // 02:30 is skipped on 28 March 2027 in Berlin: right after the jump, once, and the next day as ever.
        ("30 2 * * *", Some("Europe/Berlin"), "2027-03-27T12:00:00Z", "2027-03-28T01:00:00Z"),
        ("30 2 * * *", Some("Europe/Berlin"), "2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"),
        // All that is skipped, and what falls on the jump itself, is one run.
        ("*/30 * * * *", Some("Europe/Berlin"), "2027-03-28T00:30:00Z", "2027-03-28T01:00:00Z"),
        ("*/30 * * * *", Some("Europe/Berlin"), "2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z"),
        // 02:30 comes twice on 25 October 2026: the first counts.
        ("30 2 * * *", Some("Europe/Berlin"), "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
        ("30 2 * * *", Some("Europe/Berlin"), "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ("*/30 * * * *", Some("Europe/Berlin"), "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"),
        ("*/30 * * * *", Some("Europe/Berlin"), "2026-10-25T01:10:00Z", "2026-10-25T02:00:00Z"),
        // Nine o'clock stays nine o'clock over the jump; a job frozen to its first offset would come at eight.
        ("0 9 * * *", Some("America/New_York"), "2026-10-31T14:00:00Z", "2026-11-01T14:00:00Z"),
        // Midnight comes once in London on the day the clock goes forward at one.
        ("0 0 * * *", Some("Europe/London"), "2027-03-28T00:00:00Z", "2027-03-28T23:00:00Z"),
    ];
    for (spec, zone, after, expected) in table {
        let next = schedule(spec, zone).next_after(at(after));
        assert_eq!(next, Some(at(expected)), "{spec} {zone:?} after {after}");
    }
}

#[test]
fn previous_or_at_known_moments() {
    let table = [
        ("weekly", None, "2026-11-29T02:00:00Z", "2026-11-29T02:00:00Z"),
        ("weekly", None, "2026-11-29T01:59:59.999Z", "2026-11-22T02:00:00Z"),
        ("0 2 29 2 *", None, "2027-06-01T00:00:00Z", "2024-02-29T02:00:00Z"),
        ("30 2 * * *", Some("Europe/Berlin"), "2027-03-28T00:59:59Z", "2027-03-27T01:30:00Z"),
        ("30 2 * * *", Some("Europe/Berlin"), "2027-03-28T01:00:00Z", "2027-03-28T01:00:00Z"),
        // While the clock shows 02:10 for the second time, 02:30 has been.
        ("30 2 * * *", Some("Europe/Berlin"), "2026-10-25T01:10:00Z", "2026-10-25T00:30:00Z"),
        ("30 2 * * *", Some("Europe/Berlin"), "2026-10-25T00:10:00Z", "2026-10-24T00:30:00Z"),
        ("30 2 * * *", Some("Europe/Berlin"), "2026-10-25T01:30:00Z", "2026-10-25T00:30:00Z"),
    ];
    for (spec, zone, moment, expected) in table {
        let previous = schedule(spec, zone).previous_or_at(at(moment));
        assert_eq!(previous, Some(at(expected)), "{spec} {zone:?} at {moment}");
    }
}

#[test]
fn errors_say_what_is_wrong_and_show_an_example() {
    let table = [
        ("", "0 field(s)"),
        ("weekley", "1 field(s)"),
        ("0 0 2 * * 0", "6 field(s)"),
        ("@weekly", "1 field(s)"),
        ("61 2 * * 0", "61"),
        ("0 25 * * *", "25"),
        ("5/15 * * * *", "cannot be read"),
        ("0 2 ? * 1", "`?` has no meaning here"),
        ("0 2 1 * +1", "`+` has no meaning here"),
        ("0 2 */2 * 1", "two ways"),
        ("0 2 1 * */2", "two ways"),
        ("0 2 30 2 *", "never comes"),
        ("0 2 31 4,6,9,11 *", "never comes"),
    ];
    for (spec, expected) in table {
        let message = Schedule::parse(spec, None).expect_err(spec).to_string();
        assert!(message.contains(expected), "{spec}: {message}");
        assert!(message.contains("for example") || message.contains("an example"), "{spec}: {message}");
    }
    let message = Schedule::parse("weekly", Some("Europe/Atlantis")).expect_err("no such zone").to_string();
    assert!(message.contains("`Europe/Atlantis`") && message.contains("Europe/Berlin"), "{message}");
}

#[test]
fn a_stepped_day_alone_is_read() {
    assert_eq!(schedule("0 2 */10 * *", None).next_after(at("2026-11-23T10:00:00Z")), Some(at("2026-12-01T02:00:00Z")));
}

#[test]
fn words_for_people() {
    let table = [
        ("weekly", None, "weekly (Sunday 02:00), UTC"),
        ("quarterly", Some("Europe/Berlin"), "quarterly (1 January, April, July and October, 02:00), Europe/Berlin"),
        ("30 2 * * 0", None, "`30 2 * * 0` (At 02:30, on Sunday), UTC"),
    ];
    for (spec, zone, expected) in table {
        assert_eq!(schedule(spec, zone).to_string(), expected);
    }
}

#[test]
fn shortest_intervals() {
    let hours = Duration::from_hours;
    let table = [
        ("hourly", hours(1)),
        ("weekly", hours(24 * 7)),
        ("monthly", hours(24 * 28)),
        ("annually", hours(24 * 365)),
        ("0 2 * * 1-5", hours(24)),
        ("0,5 2 * * 1", Duration::from_mins(5)),
        ("0 2 29 2 *", hours(24 * (4 * 365 + 1))),
    ];
    for (spec, expected) in table {
        assert_eq!(schedule(spec, None).shortest_interval(), expected, "{spec}");
    }
}

#[test]
fn the_longest_gap_counts_long_months_windows_and_lateness() {
    let policy = |spec, window: Option<&str>, deadline| Policy {
        schedule: schedule(spec, None),
        jitter: Duration::ZERO,
        window: window.map(|w| Window::parse(w, None).unwrap()),
        catch_up: CatchUp::RunOnce,
        backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(1) },
        deadline,
        concurrency: 1,
    };
    let gap = |policy: Policy| policy.longest_gap("s", "2026-11-24T00:00:00Z".parse().unwrap());
    let days = |n: u64| Duration::from_hours(24 * n);
    assert_eq!(gap(policy("weekly", None, None)), days(7) + Duration::from_hours(1));
    assert_eq!(gap(policy("monthly", None, Some(days(2)))), days(31) + days(2));
    // From one first Saturday at midnight to another, five weeks later; never more, since a month has at most 31 days.
    assert_eq!(gap(policy("monthly", Some("Sat 00:00-23:59"), Some(days(1)))), days(35) + days(1));
}

#[test]
fn windows_open_and_close() {
    let window = |spec, zone| Window::parse(spec, zone).unwrap();
    let table = [
        // Saturday, 28 November 2026.
        ("Sat,Sun 01:00-05:00", None, "2026-11-28T00:59:59Z", "2026-11-28T01:00:00Z"),
        ("Sat,Sun 01:00-05:00", None, "2026-11-28T03:00:00.5Z", "2026-11-28T03:00:00.5Z"),
        ("Sat,Sun 01:00-05:00", None, "2026-11-28T05:00:00Z", "2026-11-29T01:00:00Z"),
        ("sat-sun 01:00-05:00", None, "2026-11-29T05:00:00Z", "2026-12-05T01:00:00Z"),
        // Past midnight: it belongs to the day on which it opens.
        ("Fri 22:00-04:00", None, "2026-11-28T03:59:59Z", "2026-11-28T03:59:59Z"),
        ("Fri 22:00-04:00", None, "2026-11-28T04:00:00Z", "2026-12-04T22:00:00Z"),
        ("Fri-Mon 22:00-24:00", None, "2026-12-01T00:00:00Z", "2026-12-04T22:00:00Z"),
        ("00:00-24:00", None, "2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("Sat 01:00-05:00", Some("Europe/Berlin"), "2026-11-28T00:00:00Z", "2026-11-28T00:00:00Z"),
        // 02:00 to 02:30 is not there on 28 March 2027: the window of that day falls away.
        ("02:00-02:30", Some("Europe/Berlin"), "2027-03-28T00:00:00Z", "2027-03-29T00:00:00Z"),
        ("Sun 02:00-02:30", Some("Europe/Berlin"), "2027-03-28T00:00:00Z", "2027-04-04T00:00:00Z"),
    ];
    for (spec, zone, from, expected) in table {
        assert_eq!(window(spec, zone).next_open(at(from)), Some(at(expected)), "{spec} {zone:?} from {from}");
        assert_eq!(window(spec, zone).contains(at(from)), from == expected, "{spec} {zone:?} at {from}");
    }
    assert_eq!(window("Sat,Sun  01:00-05:00", Some("Europe/Berlin")).to_string(), "Sat,Sun 01:00-05:00 Europe/Berlin");
}

#[test]
fn window_errors_say_what_is_wrong() {
    let table = [
        ("", "0 parts"),
        ("Sat 01:00 05:00", "3 parts"),
        ("Sat 01:00", "names no end"),
        ("Sonntag 01:00-05:00", "`Sonntag` is not a day"),
        ("1:00-05:00", "`1:00` is not a time"),
        ("01:00-24:01", "`24:01` is not a time"),
        ("01:60-05:00", "`01:60` is not a time"),
        ("01:00-01:00", "closes as it opens"),
    ];
    for (spec, expected) in table {
        let message = Window::parse(spec, None).expect_err(spec).to_string();
        assert!(message.contains(expected) && message.contains("Sat,Sun 01:00-05:00"), "{spec}: {message}");
    }
}

#[test]
fn backoff_doubles_up_to_the_longest() {
    let minutes = Duration::from_mins;
    let backoff = Backoff { first: minutes(5), longest: minutes(60) };
    let table = [(0, 0, 0), (1, 5, 5), (2, 10, 15), (3, 20, 35), (4, 40, 75), (5, 60, 135), (6, 60, 195), (1000, 60, 75 + 996 * 60)];
    for (attempts, delay, spent) in table {
        assert_eq!(backoff.delay(attempts), minutes(delay), "{attempts}");
        assert_eq!(backoff.spent(attempts), minutes(spent), "{attempts}");
    }
    let endless = Backoff { first: Duration::from_nanos(1), longest: Duration::MAX };
    assert!(endless.spent(u32::MAX) > endless.delay(31));
}

/// The number must never change: a new release would move every start that was planned.
#[test]
fn jitter_stays_what_it_was() {
    let slot = Slot(at("2026-11-29T02:00:00Z"));
    assert_eq!(jitter("backend-database", slot, Duration::from_mins(30)), Duration::from_secs(983));
    assert_eq!(jitter("backend-database", slot, Duration::ZERO), Duration::ZERO);
}

#[test]
fn jitter_spreads_a_class_and_its_slots() {
    let slot = Slot(at("2026-11-29T02:00:00Z"));
    let mut tenths = [0_u32; 10];
    for n in 0..10_000 {
        let spread = jitter(&format!("secret-{n}"), slot, Duration::from_secs(999));
        tenths[usize::try_from(spread.as_secs() / 100).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|count| (850..1150).contains(count)), "{tenths:?}");
    let of_slots: std::collections::HashSet<_> = (0..52)
        .map(|week| jitter("one", Slot(slot.0 + jiff::SignedDuration::from_hours(week * 168)), Duration::from_secs(99_999)))
        .collect();
    assert!(of_slots.len() > 48, "{}", of_slots.len());
}

proptest! {
    /// Forwards and backwards are the same set of instants, in any zone, wherever one starts.
    #[test]
    fn next_and_previous_agree(
        minute in 0_u8..60, hour in 0_u8..24, weekday in 0_u8..7, every in prop::sample::select(vec!["*/30 * * * *", "7 */5 * * *", ""]),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"]),
        second in 1_700_000_000_i64..1_900_000_000, nanosecond in 0_i32..1_000_000_000,
    ) {
        let spec = if every.is_empty() { format!("{minute} {hour} * * {weekday}") } else { every.to_owned() };
        let schedule = Schedule::parse(&spec, Some(zone)).unwrap();
        let now = Timestamp::new(second, nanosecond).unwrap();
        let next = schedule.next_after(now).unwrap();
        prop_assert!(next > now);
        let previous = schedule.previous_or_at(now).unwrap();
        prop_assert!(previous <= now);
        prop_assert_eq!(schedule.next_after(previous), Some(next));
        prop_assert_eq!(schedule.previous_or_at(next), Some(next));
        prop_assert_eq!(schedule.previous_or_at(next - jiff::SignedDuration::from_secs(1)), Some(previous));
    }
}

/// A job at 02:00 was skipped when the clocks went forward (robfig/cron#541, seen by Monzo on 9 March 2025), another for a whole year
/// (nats-server#8543).
#[test]
fn failure_06_a_time_that_the_clock_skips_runs_right_after_and_one_that_it_repeats_runs_once() {
    let daily = schedule("0 2 * * *", Some("America/Los_Angeles"));
    assert_eq!(
        daily.next_after(at("2025-03-08T10:00:00Z")),
        Some(at("2025-03-09T10:00:00Z")),
        "02:00 does not happen: 03:00 is right after"
    );
    assert_eq!(daily.next_after(at("2025-03-09T10:00:00Z")), Some(at("2025-03-10T09:00:00Z")));
    let early = schedule("30 1 * * *", Some("America/Los_Angeles"));
    assert_eq!(early.next_after(at("2025-11-01T12:00:00Z")), Some(at("2025-11-02T08:30:00Z")), "the first 01:30 of two");
    assert_eq!(early.next_after(at("2025-11-02T08:30:00Z")), Some(at("2025-11-03T09:30:00Z")));
}
