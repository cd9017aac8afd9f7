//! `rotate --class C --now` and `rotate --all --now`: many secrets, now, one after the other, those that others wait for first.

use super::confirm::{self, Agreement};
use super::hand::{Hand, Request};
use super::output::{self, Output};
use super::rotate;
use crate::cli::Exit;
use crate::config::{Config, Environment, KindConfig, Mode, SecretConfig};
use crate::daemon::control::Said;
use anyhow::{Result, bail};
use keyward_engine::kinds::RetireWhen;
use serde::Serialize;
use std::collections::BTreeSet;

/// Which secrets, and how.
pub struct Wish {
    /// Those of these classes; empty: all.
    pub classes: Vec<String>,
    /// Without asking.
    pub yes: bool,
    /// Past the first that fails.
    pub keep_going: bool,
    /// Only show what would be done.
    pub dry_run: bool,
    /// In this process even if a daemon runs.
    pub alone: bool,
}

/// How one of them ended.
#[derive(Serialize)]
struct Ended {
    secret: String,
    outcome: String,
    rotation: String,
    failed_at: Option<String>,
    failure: Option<String>,
}

/// Names what will happen, asks, rotates one after the other, and says how each ended.
///
/// # Errors
/// An unknown class, nothing to rotate, or no way to do it.
pub async fn run(config: Config, environment: &Environment, wish: Wish, out: Output) -> Result<Exit> {
    if let Some(unknown) = wish.classes.iter().find(|class| !config.classes.contains_key(*class)) {
        let known: Vec<&str> = config.classes.keys().map(String::as_str).collect();
        bail!("there is no class \"{unknown}\"; there are {}", known.join(", "));
    }
    let chosen = |s: &&SecretConfig| wish.classes.is_empty() || wish.classes.contains(&s.class);
    let (able, others): (Vec<&SecretConfig>, Vec<&SecretConfig>) =
        in_order(&config.secrets).into_iter().filter(chosen).partition(|s| able(s));
    if able.is_empty() {
        bail!("there is nothing to rotate: no secret {} is rotated by Keyward", which(&wish));
    }
    if out == Output::Text {
        announce(&able, &others, &wish);
    }
    if wish.dry_run {
        if out == Output::Json {
            let names = |secrets: &[&SecretConfig]| secrets.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
            output::json(&serde_json::json!({ "would_rotate": names(&able), "left_out": names(&others) }));
        }
        return Ok(Exit::Ok);
    }
    let question = format!("Rotate {} secret(s) now?", able.len());
    match confirm::ask(&question, wish.yes)? {
        Agreement::Yes => {}
        Agreement::No => return Ok(Exit::Temporary),
        Agreement::NobodyToAsk => return Ok(Exit::Usage),
    }
    let names: Vec<String> = able.iter().map(|s| s.name.clone()).collect();
    let left_out: Vec<String> = others.iter().map(|s| s.name.clone()).collect();
    let hand = Hand::find(config, environment, wish.alone, out).await?;
    let (ended, exit) = one_by_one(&hand, &names, wish.keep_going, out).await?;
    let not_tried: Vec<&String> = names.iter().skip(ended.len()).collect();
    finish(&ended, &not_tried, &left_out, out);
    Ok(exit)
}

/// Whether Keyward can make a new value by itself.
fn able(secret: &SecretConfig) -> bool {
    !matches!(secret.kind, KindConfig::Manual(_)) && secret.mode == Mode::Act
}

fn which(wish: &Wish) -> String {
    if wish.classes.is_empty() { "at all".to_owned() } else { format!("of class {}", wish.classes.join(" or ")) }
}

/// Those that others name in `after` come before them; else the file's order. The configuration has no circles.
fn in_order(secrets: &[SecretConfig]) -> Vec<&SecretConfig> {
    fn visit<'s>(secret: &'s SecretConfig, all: &'s [SecretConfig], seen: &mut BTreeSet<&'s str>, order: &mut Vec<&'s SecretConfig>) {
        if !seen.insert(&secret.name) {
            return;
        }
        for first in secret.after.iter().filter_map(|name| all.iter().find(|s| s.name == *name)) {
            visit(first, all, seen, order);
        }
        order.push(secret);
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for secret in secrets {
        visit(secret, secrets, &mut seen, &mut order);
    }
    order
}

fn announce(able: &[&SecretConfig], others: &[&SecretConfig], wish: &Wish) {
    output::note("These will be rotated now, in this order:");
    for (index, secret) in able.iter().enumerate() {
        output::note(&format!("  {:>3}. {:<24} {:<10} {}", index + 1, secret.name, secret.class, consequence(secret)));
    }
    for secret in others {
        let why = if secret.mode == Mode::Observe {
            "only observed: nothing is changed".to_owned()
        } else {
            format!("its value comes from a person: keyward supply {}", secret.name)
        };
        output::note(&format!("    -  {:<24} {:<10} left out; {why}", secret.name, secret.class));
    }
    let stops = if wish.keep_going { "One that fails is passed over." } else { "It stops at the first that fails." };
    output::note(&format!("Each is proved before consumers see it, and rolled back if it is refused. {stops}"));
}

/// What its consumers will notice.
fn consequence(secret: &SecretConfig) -> String {
    match &secret.kind {
        KindConfig::PostgresTwoUsers(_) => match secret.retire {
            RetireWhen::Never => "no client fails; the other user keeps its password until its turn".to_owned(),
            _ => "no client fails; the old value works until its grace is over".to_owned(),
        },
        KindConfig::PostgresPassword(_) => {
            "clients that connect during the change fail for a moment; the old value is refused at once".to_owned()
        }
        KindConfig::VaultStaticRole(_) => "the old password is refused at once; Vault hands out the new one".to_owned(),
        _ => "consumers see the new value when they read it next".to_owned(),
    }
}

async fn one_by_one(hand: &Hand, names: &[String], keep_going: bool, out: Output) -> Result<(Vec<Ended>, Exit)> {
    let (mut ended, mut exit) = (Vec::new(), Exit::Ok);
    for (index, name) in names.iter().enumerate() {
        if out == Output::Text {
            output::note(&format!("[{}/{}] {name}", index + 1, names.len()));
        }
        let said = hand.ask(name, Request::Rotate, |progress| rotate::show(progress, out)).await?;
        let (one, code) = judge(name, said);
        if out == Output::Text {
            output::note(&format!(
                "  {}",
                one.failure.as_ref().map_or_else(|| one.outcome.clone(), |why| format!("{}: {why}", one.outcome))
            ));
        }
        ended.push(one);
        if code != Exit::Ok {
            // The gravest stays: something failed, and not only "not now".
            exit = if exit == Exit::Ok || exit == Exit::Temporary { code } else { exit };
            if !keep_going {
                break;
            }
        }
    }
    Ok((ended, exit))
}

fn judge(name: &str, said: Said) -> (Ended, Exit) {
    let secret = name.to_owned();
    match said {
        Said::Result(answer) => {
            let code = rotate::exit(&answer);
            let failure = if code == Exit::Ok { None } else { answer.failure };
            (Ended { secret, outcome: answer.outcome, rotation: answer.rotation, failed_at: answer.failed_at, failure }, code)
        }
        Said::Refused(refusal) => {
            let (outcome, failure) = ("not begun".to_owned(), Some(refusal.to_string()));
            (Ended { secret, outcome, rotation: String::new(), failed_at: None, failure }, rotate::exit_of_refusal(&refusal))
        }
        Said::Progress(_) => {
            let outcome = "unknown".to_owned();
            (Ended { secret, outcome, rotation: String::new(), failed_at: None, failure: None }, Exit::Internal)
        }
    }
}

fn finish(ended: &[Ended], not_tried: &[&String], left_out: &[String], out: Output) {
    if out == Output::Json {
        output::json(&serde_json::json!({ "ended": ended, "not_tried": not_tried, "left_out": left_out }));
        return;
    }
    let done = ended.iter().filter(|e| e.outcome == "rotated").count();
    output::line(&format!("{done} of {} rotated and proved.", ended.len() + not_tried.len()));
    for one in ended.iter().filter(|e| e.outcome != "rotated") {
        output::line(&format!("  {}: {}; keyward status {}", one.secret, one.outcome, one.secret));
    }
    if !not_tried.is_empty() {
        let names: Vec<&str> = not_tried.iter().map(|name| name.as_str()).collect();
        output::line(&format!("  not tried: {}; --keep-going passes over what fails", names.join(", ")));
    }
    if !left_out.is_empty() {
        output::line(&format!("  left out: {}", left_out.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wait_for_comes_first_and_the_file_decides_the_rest() {
        let secret = |name: &str, after: &str| {
            format!(
                "[[secret]]\nname = \"{name}\"\nclass = \"api-key\"\nkind = \"random\"\npath = \"kv/{name}\"\nissuer = \"self\"\n\
                 set = {{ token = \"{{value}}\" }}\nafter = [{after}]\n"
            )
        };
        let text = format!(
            "[vault]\naddress = \"https://127.0.0.1:8200\"\n{}{}{}{}",
            secret("a", "\"c\""),
            secret("b", ""),
            secret("c", "\"d\""),
            secret("d", "")
        );
        let config = Config::parse(&text, "test.toml", &Environment::empty()).unwrap_or_else(|errors| panic!("{errors}"));
        let names: Vec<&str> = in_order(&config.secrets).iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["d", "c", "a", "b"]);
    }
}
