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

#[test]
fn no_option_takes_a_secret() {
    for command in Cli::command().get_subcommands() {
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            assert!(!["token", "password", "value", "secret"].contains(&id), "{} takes {id}", command.get_name());
        }
    }
}
