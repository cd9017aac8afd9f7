//! Which of the configuration's secrets own fields of a document, so that nobody changes by hand what Keyward rotates without meaning to.

use super::super::alone::Alone;
use super::super::by_hand::{Declined, Place};
use crate::assembly::Managed;

/// The secrets that publish at a place.
pub(super) fn at<'a>(alone: &'a Alone, place: &Place) -> Vec<&'a Managed> {
    let path = place.to_string();
    alone.live.secrets.values().filter(|managed| managed.spec.kind.path().is_some_and(|p| p.trim_matches('/') == path)).collect()
}

/// Refuses a change of fields that Keyward rotates, unless somebody said that it is meant.
pub(super) fn refuse<'a>(alone: &Alone, place: &Place, touched: impl Iterator<Item = &'a str>, overrule: bool) -> Result<(), Declined> {
    if overrule {
        return Ok(());
    }
    let managed = at(alone, place);
    for field in touched {
        if let Some(owner) = managed.iter().find(|m| m.config.kind.owned_fields().contains(&field)) {
            let name = &owner.spec.name;
            let way = if owner.is_manual() { format!("keyward supply {name}") } else { format!("keyward rotate {name}") };
            return Err(Declined::failed(format!(
                "{field} of {place} is rotated by Keyward as {name}, and a value that its target does not know locks consumers out: \
                 nothing was written; `{way}` changes it, --overrule writes it nevertheless"
            )));
        }
    }
    Ok(())
}
