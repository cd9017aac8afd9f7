//! What can be typed, and what cannot.

use super::*;
use clap::CommandFactory;

fn typed(words: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(words.split_whitespace())
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_exit_code_is_in_the_help() {
    for exit in Exit::ALL {
        let line = format!("\n  {:>2}  ", exit.code());
        assert!(EXIT_CODES.contains(&line), "{exit:?}");
    }
}

#[test]
fn global_options_stand_anywhere() {
    let Ok(cli) = typed("keyward rotate db --dry-run --output json --config /x.toml") else { panic!() };
    assert_eq!((cli.global.output, cli.global.config), (Output::Json, PathBuf::from("/x.toml")));
    let Command::Rotate(rotate) = cli.command else { panic!() };
    assert_eq!((rotate.name.as_deref(), rotate.dry_run, rotate.alone), (Some("db"), true, false));
}

#[test]
fn one_secret_or_a_class_or_all_and_many_only_now() {
    for words in ["keyward rotate db", "keyward rotate --class a --class b --now", "keyward rotate --all --now --yes", "keyward pause db"] {
        assert!(typed(words).is_ok(), "{words}");
    }
    for words in [
        "keyward rotate --all",
        "keyward rotate --class a",
        "keyward rotate db --all --now",
        "keyward rotate db --class a --now",
        "keyward rotate --class a --all --now",
        "keyward pause",
        "keyward pause db --class a",
        "keyward resume",
    ] {
        assert!(typed(words).is_err(), "{words}");
    }
}

#[test]
fn times_are_rfc_3339() {
    let Ok(cli) = typed("keyward plan --from 2027-01-01T00:00:00Z") else { panic!() };
    assert!(matches!(cli.command, Command::Plan(Plan { from: Some(from), to: None }) if from.as_second() == 1_798_761_600));
    assert!(typed("keyward plan --from tomorrow").is_err());
}

#[test]
fn what_lacks_its_words_is_refused() {
    for words in ["keyward", "keyward rotate", "keyward init postgres", "keyward alert", "keyward supply", "keyward --output yaml check"] {
        assert!(typed(words).is_err(), "{words}");
    }
}

/// Words that name something secret.
const SECRET: [&str; 9] = ["token", "password", "passphrase", "secret", "value", "key", "keys", "share", "shares"];
/// What an argument of such a name may take: where the secret stands, or something about it.
const ABOUT: [&str; 7] = ["FILE", "NAME=FILE", "DIR", "DURATION", "N", "NAME", "PATH"];

/// Every command, however deep, with its words.
fn all(command: &clap::Command, words: &str, into: &mut Vec<(String, clap::Command)>) {
    into.push((words.to_owned(), command.clone()));
    for inner in command.get_subcommands().filter(|c| c.get_name() != "help") {
        all(inner, &format!("{words} {}", inner.get_name()), into);
    }
}

#[test]
fn no_argument_takes_a_secret() {
    let mut commands = Vec::new();
    all(&Cli::command(), "keyward", &mut commands);
    assert!(commands.len() > 40, "{}", commands.len());
    let (mut looked_at, mut by_name) = (0, 0);
    for (words, command) in &commands {
        for argument in command.get_arguments().filter(|a| a.get_action().takes_values()) {
            looked_at += 1;
            let id = argument.get_id().as_str();
            // Its only use is to be refused, and not to be repeated.
            if id == "in_the_open" {
                continue;
            }
            // The environment of a process is no argument, but its secrets are read by their own names, and by nobody's argument.
            let from = argument.get_env().map(|name| name.to_string_lossy().into_owned());
            assert!(from.is_none() || from.as_deref() == Some("KEYWARD_CONFIG"), "{words} {id} reads {from:?}");
            if id.split('_').any(|word| SECRET.contains(&word)) {
                by_name += 1;
                let takes = argument.get_value_names().unwrap_or_default();
                let is_about = argument.get_long().is_some() && takes.iter().all(|name| ABOUT.contains(&name.as_str()));
                assert!(is_about && !takes.is_empty(), "{words} --{id} takes {takes:?}");
            }
        }
    }
    assert!(looked_at > 100 && by_name >= 4, "{looked_at} arguments, {by_name} that are called after a secret");
}
