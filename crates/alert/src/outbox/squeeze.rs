//! How the queue of one route is kept short without losing news.
//!
//! It never drops a first, worse or resolved entry; it merges them, and lets repetitions go.

use super::Delivery;
use crate::book::{Notice, Told, Why};
use crate::delivery::Route;
use std::collections::{BTreeMap, BTreeSet};

fn is_repeat(notice: &Notice) -> bool {
    matches!(notice.why, Why::Repeat(_))
}

/// What of a notice has to be queued on a route, given what waits there; and how many entries gave way.
///
/// A repetition takes the place of waiting repetitions of the same conditions, and says nothing of conditions whose first or worse
/// notice still waits: nobody was told yet what would be repeated.
pub(super) fn admit(deliveries: &mut Vec<Delivery>, notice: &Notice, route: &Route) -> (Option<Notice>, u64) {
    if !is_repeat(notice) {
        return (Some(notice.clone()), 0);
    }
    let waiting: BTreeSet<&str> = deliveries
        .iter()
        .filter(|delivery| delivery.route == *route && matches!(delivery.notice.why, Why::First | Why::Worse))
        .flat_map(|delivery| delivery.notice.alerts.iter().map(|told| told.alert.key.as_str()))
        .collect();
    let mut rest = notice.clone();
    rest.alerts.retain(|told| !waiting.contains(told.alert.key.as_str()));
    let mut coalesced = notice.alerts.len() - rest.alerts.len();
    let repeated: BTreeSet<&str> = rest.alerts.iter().map(|told| told.alert.key.as_str()).collect();
    for delivery in deliveries.iter_mut().filter(|delivery| delivery.route == *route && is_repeat(&delivery.notice)) {
        let before = delivery.notice.alerts.len();
        delivery.notice.alerts.retain(|told| !repeated.contains(told.alert.key.as_str()));
        coalesced += before - delivery.notice.alerts.len();
    }
    deliveries.retain(|delivery| !delivery.notice.alerts.is_empty());
    let rest = if rest.alerts.is_empty() { None } else { Some(rest) };
    (rest, coalesced as u64)
}

/// Brings a route's queue down to `bound`; returns how many deliveries gave way or were merged.
pub(super) fn shrink(deliveries: &mut Vec<Delivery>, route: &Route, bound: usize) -> u64 {
    let mut coalesced = 0;
    while deliveries.iter().filter(|delivery| delivery.route == *route).count() > bound {
        let oldest_repeat = deliveries.iter().position(|delivery| delivery.route == *route && is_repeat(&delivery.notice));
        let gave_way = match oldest_repeat {
            Some(place) => {
                deliveries.remove(place);
                true
            }
            None => merge_oldest(deliveries, route),
        };
        if !gave_way {
            break;
        }
        coalesced += 1;
    }
    coalesced
}

/// Merges the two oldest deliveries of a route that tell for the same reason into the younger one, under a new Message-ID:
/// the old one may have been accepted already, with the old text.
fn merge_oldest(deliveries: &mut Vec<Delivery>, route: &Route) -> bool {
    for why in [Why::Resolved, Why::First, Why::Worse] {
        let mut places = (0..deliveries.len()).filter(|place| {
            let delivery = &deliveries[*place];
            delivery.route == *route && delivery.notice.why == why
        });
        let (Some(old), Some(young)) = (places.next(), places.next()) else { continue };
        let old = deliveries.remove(old);
        // `young` came after `old`, so it moved down by one.
        let young = &mut deliveries[young - 1];
        young.notice.alerts = merged(old.notice.alerts, std::mem::take(&mut young.notice.alerts));
        young.queued = young.queued.min(old.queued);
        young.message_id.push_str("-m");
        return true;
    }
    false
}

/// Both lists, worst first; of a condition told in both, the younger entry with the older beginning. So the length is bounded by the
/// number of conditions, however often they came and went.
fn merged(old: Vec<Told>, young: Vec<Told>) -> Vec<Told> {
    let mut by_key: BTreeMap<String, Told> = young.into_iter().map(|told| (told.alert.key.clone(), told)).collect();
    for told in old {
        match by_key.get_mut(&told.alert.key) {
            Some(younger) => {
                younger.since = younger.since.min(told.since);
                younger.seen += told.seen;
                younger.alert.severity = younger.alert.severity.max(told.alert.severity);
            }
            None => drop(by_key.insert(told.alert.key.clone(), told)),
        }
    }
    let mut all: Vec<Told> = by_key.into_values().collect();
    all.sort_by(|a, b| b.alert.severity.cmp(&a.alert.severity).then(a.since.cmp(&b.since)));
    all
}
