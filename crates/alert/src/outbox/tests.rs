//! The outbox: what waits, what gives way, what never does.

use super::*;
use crate::alert::{Account, Alert, Severity};
use crate::book::{Told, Why};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn route(to: &str) -> Route {
    Route { channel: "smtp".to_owned(), to: to.to_owned() }
}

fn told(key: &str) -> Told {
    let alert = Alert {
        key: key.to_owned(),
        severity: Severity::Warning,
        title: "it failed".to_owned(),
        account: Account::default(),
        owner: None,
        secret: None,
        at: at(0),
        passes_after: None,
    };
    Told { alert, since: at(0), seen: 1, times: 0, returns: 0, over: None, before: None, thread: String::new(), again: at(0) }
}

fn notice(id: &str, why: Why, keys: &[&str]) -> Notice {
    Notice { id: id.to_owned(), why, at: at(0), alerts: keys.iter().map(|key| told(key)).collect() }
}

fn transient() -> SendError {
    SendError::Transient { what: "nobody answers".to_owned() }
}

fn permanent() -> SendError {
    SendError::Permanent { what: "535 wrong password".to_owned() }
}

/// `message-id(keys)` of everything that waits, oldest first.
fn waiting(outbox: &Outbox) -> Vec<String> {
    let keys = |delivery: &Delivery| delivery.notice.alerts.iter().map(|told| told.alert.key.clone()).collect::<Vec<_>>().join(" ");
    outbox.queue.deliveries.iter().map(|delivery| format!("{}({})", delivery.message_id, keys(delivery))).collect()
}

#[test]
fn waits_double_up_to_the_longest_and_half_of_each_is_jitter() {
    let retry = Retry::default();
    let seconds = |attempts, permanent, jitter| retry.wait(attempts, permanent, jitter).as_secs_f64();
    let rows = [
        (1, false, 1.0, 5.0),
        (1, false, 0.0, 2.5),
        (2, false, 1.0, 10.0),
        (6, false, 1.0, 160.0),
        (7, false, 1.0, 300.0),
        (u32::MAX, false, 1.0, 300.0),
        (1, true, 1.0, 3600.0),
        (9, true, 0.0, 1800.0),
        (1, false, 7.0, 5.0),
        (1, false, -7.0, 2.5),
        (1, false, f64::NAN, 3.75),
    ];
    for (attempts, permanent, jitter, expected) in rows {
        let got = seconds(attempts, permanent, jitter);
        assert!((got - expected).abs() < 1e-6, "{attempts} {permanent} {jitter}: {got}");
    }
}

#[test]
fn a_delivery_is_tried_until_accepted_with_one_message_id_across_restarts() {
    let mut outbox = Outbox::new(Retry::default());
    outbox.enqueue(&notice("n1", Why::First, &["a"]), &[route("x@e")], at(0));
    let mut now = 0;
    for attempt in 1..=5 {
        let due = outbox.due(at(now), 10);
        assert_eq!((due.len(), due[0].message_id.as_str(), due[0].attempts), (1, "n1", attempt - 1));
        assert!(outbox.failed(due[0].id, &transient(), at(now), 1.0).is_none());
        assert_eq!(outbox.due(at(now), 10), [], "not before its time");
        now = outbox.next_due().unwrap().as_second() - at(0).as_second();
        outbox = Outbox::from_json(&outbox.to_json(), Retry::default()).unwrap();
    }
    assert_eq!(now, 5 + 10 + 20 + 40 + 80);
    let status = outbox.status();
    assert_eq!((status[0].waiting, status[0].refused, status[0].oldest), (1, 0, at(0)));
    assert_eq!(status[0].last_error.as_ref().unwrap().what, "nobody answers");
    let id = outbox.due(at(now), 10)[0].id;
    outbox.sent(id, at(now));
    outbox.sent(id, at(now));
    assert!(outbox.is_empty());
    assert_eq!(outbox.counts("smtp"), OutboxCounts { sent: 1, failed: 5, ..OutboxCounts::default() });
    assert_eq!(outbox.counts("webhook"), OutboxCounts::default());
}

#[test]
fn what_was_refused_is_tried_slowly_stays_visible_and_is_given_up_aloud() {
    let mut outbox = Outbox::new(Retry::default());
    outbox.enqueue(&notice("n1", Why::First, &["a"]), &[route("x@e"), route("y@e")], at(0));
    let ids: Vec<u64> = outbox.due(at(0), 10).iter().map(|delivery| delivery.id).collect();
    outbox.failed(ids[0], &permanent(), at(0), 1.0);
    outbox.sent(ids[1], at(0));
    assert_eq!(outbox.next_due(), Some(at(3600)), "one bad address does not hold up the other");
    assert_eq!((outbox.status()[0].refused, outbox.status()[0].last_error.as_ref().unwrap().permanent), (1, true));
    let week = 7 * 24 * 3600;
    assert!(outbox.failed(ids[0], &permanent(), at(week - 1), 1.0).is_none());
    assert!(outbox.failed(ids[0], &transient(), at(week), 1.0).is_none(), "what may pass is not given up");
    let given_up = outbox.failed(ids[0], &permanent(), at(week + 1), 1.0).unwrap();
    assert_eq!(given_up.last_error.unwrap().what, "535 wrong password");
    assert!(outbox.is_empty());
    let counts = outbox.counts("smtp");
    assert_eq!((counts.given_up, counts.refused, counts.failed, counts.sent), (1, 3, 1, 1));
    assert!(outbox.failed(99, &permanent(), at(0), 1.0).is_none(), "unknown ids are harmless");
}

#[test]
fn one_success_hurries_what_waits_on_the_same_route() {
    let mut outbox = Outbox::new(Retry::default());
    for (id, to) in [("n1", "x@e"), ("n2", "x@e"), ("n3", "y@e")] {
        outbox.enqueue(&notice(id, Why::First, &[id]), &[route(to)], at(0));
    }
    for delivery in outbox.due(at(0), 10) {
        outbox.failed(delivery.id, &transient(), at(0), 1.0);
    }
    let first = outbox.queue.deliveries[0].id;
    outbox.sent(first, at(1));
    let due: Vec<String> = outbox.due(at(1), 10).into_iter().map(|delivery| delivery.message_id).collect();
    assert_eq!(due, ["n2"]);
    outbox.hurry(at(1));
    assert_eq!(outbox.due(at(1), 10).len(), 2);
    assert_eq!(outbox.due(at(1), 1).len(), 1);
}

#[test]
fn a_clock_set_back_does_not_keep_a_delivery() {
    let mut outbox = Outbox::new(Retry::default());
    outbox.enqueue(&notice("n1", Why::First, &["a"]), &[route("x@e")], at(1_000_000));
    assert_eq!(outbox.due(at(0), 10).len(), 1);
}

#[test]
fn a_repetition_replaces_older_ones_and_keeps_quiet_where_the_first_still_waits() {
    let mut outbox = Outbox::new(Retry::default());
    let to = [route("x@e")];
    outbox.enqueue(&notice("n1", Why::First, &["a"]), &to, at(0));
    outbox.enqueue(&notice("n2", Why::Repeat(1), &["a", "b", "c"]), &to, at(1));
    assert_eq!(waiting(&outbox), ["n1(a)", "n2(b c)"]);
    outbox.enqueue(&notice("n3", Why::Repeat(2), &["a", "b"]), &to, at(2));
    assert_eq!(waiting(&outbox), ["n1(a)", "n2(c)", "n3(b)"]);
    outbox.enqueue(&notice("n4", Why::Repeat(3), &["b", "c"]), &to, at(3));
    assert_eq!(waiting(&outbox), ["n1(a)", "n4(b c)"]);
    outbox.enqueue(&notice("n5", Why::Resolved, &["a"]), &to, at(4));
    assert_eq!(waiting(&outbox), ["n1(a)", "n4(b c)", "n5(a)"], "news is never left out");
    assert_eq!(outbox.counts("smtp").coalesced, 5);
}

/// A server that is down for weeks: the queue stays bounded, and every condition's first notice and end is still in it.
#[test]
fn a_full_queue_loses_repetitions_but_no_news() {
    let mut outbox = Outbox::new(Retry::default());
    let to = [route("x@e"), route("y@e")];
    for number in 0..300 {
        let (key, repeated) = (format!("k{number}"), format!("r{number}"));
        outbox.enqueue(&notice(&format!("f{number}"), Why::First, &[&key]), &to, at(number));
        outbox.enqueue(&notice(&format!("w{number}"), Why::Worse, &[&key]), &to, at(number));
        outbox.enqueue(&notice(&format!("p{number}"), Why::Repeat(1), &[&repeated]), &to, at(number));
        outbox.enqueue(&notice(&format!("e{number}"), Why::Resolved, &[&key]), &to, at(number));
    }
    assert_eq!(outbox.len(), 2 * MAX_PER_ROUTE);
    for route in &to {
        for why in [Why::First, Why::Worse, Why::Resolved] {
            let of_route = outbox.queue.deliveries.iter().filter(|delivery| delivery.route == *route && delivery.notice.why == why);
            let keys: BTreeSet<&str> =
                of_route.flat_map(|delivery| delivery.notice.alerts.iter().map(|told| told.alert.key.as_str())).collect();
            assert_eq!(keys.len(), 300, "{route} {why:?}");
        }
        let ids: Vec<&str> = outbox.queue.deliveries.iter().filter(|d| d.route == *route).map(|d| d.message_id.as_str()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "no Message-ID twice");
        assert!(ids.iter().all(|id| id.len() < 20), "ids do not grow");
    }
}

/// One condition that comes and goes for ever must not make the merged notices grow.
#[test]
fn merging_keeps_one_entry_for_each_condition() {
    let mut outbox = Outbox::new(Retry::default());
    for number in 0..1_000 {
        outbox.enqueue(&notice(&format!("f{number}"), Why::First, &["a"]), &[route("x@e")], at(number));
    }
    let oldest = &outbox.queue.deliveries[0];
    assert_eq!((oldest.notice.alerts.len(), oldest.notice.alerts[0].seen), (1, 801));
    assert_eq!(oldest.queued, at(0), "it waits since the first of them");
    assert_eq!(oldest.message_id, "f800-m", "another text needs another id");
}

#[test]
fn a_changed_address_gets_what_waited_for_the_old_one() {
    let mut outbox = Outbox::new(Retry::default());
    let (typo, other) = (route("oncal@e"), route("boss@e"));
    outbox.enqueue(&notice("n1", Why::First, &["a"]), &[typo.clone(), other.clone()], at(0));
    outbox.enqueue(&notice("n2", Why::First, &["b"]), std::slice::from_ref(&typo), at(1));
    outbox.reroute(&[], at(2));
    assert_eq!(outbox.len(), 3, "without any route it stays");
    outbox.reroute(&[route("oncall@e"), other.clone()], at(2));
    let mut places: Vec<String> = outbox.queue.deliveries.iter().map(|d| format!("{} {}", d.message_id, d.route.to)).collect();
    places.sort();
    assert_eq!(places, ["n1 boss@e", "n1 oncall@e", "n2 boss@e", "n2 oncall@e"]);
    let hook = Route { channel: "webhook".to_owned(), to: "hook:443".to_owned() };
    outbox.reroute(std::slice::from_ref(&hook), at(3));
    let mut places: Vec<String> = outbox.queue.deliveries.iter().map(|d| format!("{} {}", d.message_id, d.route)).collect();
    places.sort();
    assert_eq!(places, ["n1 webhook to hook:443", "n2 webhook to hook:443"]);
}
