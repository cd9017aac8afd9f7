//! What a person should know about a token, before it fails them. Pure.

use crate::config::show_duration;
use keyward_vault::TokenInfo;
use serde_json::{Map, Value};
use std::time::Duration;

/// How long a token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// So long after every renewal.
    Renewed(Duration),
    /// So long after it was made, renewed or not.
    Once(Duration),
}

/// A time that a role gives in seconds; `None` where it gives none, which Vault writes as zero.
pub fn span(role: &Map<String, Value>, name: &str) -> Option<Duration> {
    role.get(name).and_then(Value::as_u64).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// That somebody works with a root token.
pub fn as_root(own: &TokenInfo) -> Option<String> {
    is_root(own).then(|| {
        "you work with a root token; daily work needs what `keyward policy admin` prints, and the root token should end (keyward token revoke --self)"
            .to_owned()
    })
}

/// When a new token dies, and whether whoever uses it so often finds it dead.
pub fn life(life: Option<Life>, used_every: Option<Duration>) -> Vec<String> {
    let Some(life) = life else {
        return vec!["how long it lives, its role says: whoever uses it must renew it, at two thirds of that at the latest".to_owned()];
    };
    let (span, warning) = match life {
        Life::Renewed(period) => {
            let span = show_duration(period);
            (
                period,
                format!("it dies {span} after it was last renewed: whoever uses it must renew it, at two thirds of that at the latest"),
            )
        }
        Life::Once(ttl) => {
            let span = show_duration(ttl);
            (
                ttl,
                format!(
                    "it dies {span} after it was made at the latest, and no renewal helps beyond: whoever uses it needs another before"
                ),
            )
        }
    };
    let mut warnings = vec![warning];
    warnings.extend(used_every.filter(|every| *every >= span).map(|every| too_seldom(every, "it is", life)));
    warnings
}

/// That what is used so seldom is dead when it is used again. `what`: `it is`, `its secret id is`.
pub fn too_seldom(every: Duration, what: &str, life: Life) -> String {
    let (lives, span) = match life {
        Life::Renewed(period) => ("its period is", period),
        Life::Once(ttl) => ("its life is", ttl),
    };
    format!(
        "used every {} only, {what} dead by the second time: {lives} {}; make it longer, or use {}",
        show_duration(every),
        show_duration(span),
        if what == "it is" { "an AppRole" } else { "the kind approle-secret-id, which the daemon rotates" }
    )
}

/// What will become of a token that exists.
pub fn of(info: &TokenInfo) -> Vec<String> {
    let mut warnings = Vec::new();
    if is_root(info) {
        warnings.push("it is a root token: nothing is denied to it; end it when the work that needed it is done".to_owned());
    }
    if info.never_expires() {
        warnings.push("it never ends".to_owned());
    } else if !info.renewable {
        warnings.push("it cannot be renewed, and is dead after that".to_owned());
    } else if let Some(period) = info.period {
        let span = show_duration(period);
        warnings.push(format!("it lives for as long as somebody renews it within each period, and dies {span} after the last time"));
    } else {
        warnings.push("it has no period: renewing it helps up to the server's maximum only".to_owned());
    }
    if let Some(limit) = info.explicit_max_ttl {
        warnings.push(format!("it dies {} after it was made, renewed or not", show_duration(limit)));
    }
    if info.num_uses > 0 {
        warnings.push(format!("it can be used {} more times only", info.num_uses));
    }
    if !info.orphan {
        warnings.push("it ends with the token that made it".to_owned());
    }
    warnings
}

fn is_root(info: &TokenInfo) -> bool {
    info.policies.iter().any(|policy| policy == "root")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn a_token_that_is_used_less_often_than_it_lives_is_dead_by_the_second_time() {
        let dead = |kind: Life, every| life(Some(kind), every).iter().any(|warning| warning.contains("dead by the second time"));
        // A weekly run with a token of three days.
        for kind in [Life::Renewed(3 * DAY), Life::Once(3 * DAY)] {
            assert!(dead(kind, Some(7 * DAY)) && dead(kind, Some(3 * DAY)));
            assert!(!dead(kind, Some(2 * DAY)) && !dead(kind, None));
        }
    }

    #[test]
    fn when_it_dies_is_said_of_every_kind() {
        let first = |kind| life(kind, None).concat();
        assert!(first(Some(Life::Renewed(DAY))).contains("dies 1d after it was last renewed"));
        assert!(first(Some(Life::Once(3 * DAY))).contains("dies 3d after it was made"));
        assert!(first(None).contains("its role says"));
    }
}
