//! What an operator's shell and pager get: completions that complete, manual pages that are sound.

use crate::world::Ended;
use keyward_harness::keyward_binary;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

fn keyward(arguments: &[&str]) -> Ended {
    Command::new(keyward_binary()).args(arguments).stdin(Stdio::null()).output().unwrap().into()
}

/// Whether there is such a program here.
fn is_here(program: &str) -> bool {
    Command::new("sh").args(["-c", "command -v \"$1\"", "sh", program]).stdout(Stdio::null()).status().unwrap().success()
}

/// What bash itself offers for a command line whose last word is begun.
fn offered(script: &Path, words: &[&str]) -> Vec<String> {
    const ASK: &str = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_LINE=\"$*\"; COMP_POINT=${#COMP_LINE}; \
        f=$(complete -p keyward | sed 's/.* -F \\([^ ]*\\) .*/\\1/'); \"$f\" keyward \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; \
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["--norc", "-c", ASK, "bash"]).arg(script).args(words).output().unwrap();
    assert!(output.stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("keyward.bash");
    let printed = keyward(&["completions", "bash"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    fs::write(&script, printed.out).unwrap();
    assert_eq!(offered(&script, &["keyward", "unse"]), ["unseal"]);
    assert_eq!(offered(&script, &["keyward", "secret", "roll"]), ["rollback"]);
    assert_eq!(offered(&script, &["keyward", "rotate", "--keep"]), ["--keep-going"]);
    assert_eq!(offered(&script, &["keyward", "check", "--output", "j"]), ["json"]);
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(keyward(&["completions", shell]).out.contains("unseal"), "{shell}");
    }
}

#[test]
fn what_cannot_be_printed_is_said_and_a_reader_that_went_away_is_no_error() {
    let into = |stdout: Stdio| -> Ended {
        Command::new(keyward_binary())
            .args(["completions", "bash"])
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap()
            .into()
    };
    let full = into(fs::File::options().write(true).open("/dev/full").unwrap().into());
    assert!(full.code == Some(1) && full.err.contains("could not be written: No space left on device"), "{full:?}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let gone = into(writer.into());
    assert_eq!((gone.code, gone.err.as_str()), (Some(0), ""), "{gone:?}");
}

#[test]
fn manual_pages_are_taken_without_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let man = dir.path().join("man");
    let written = keyward(&["man", man.to_str().unwrap()]);
    assert_eq!(written.code, Some(0), "{written:?}");
    let mut pages: Vec<_> = fs::read_dir(&man).unwrap().map(|file| file.unwrap().path()).collect();
    pages.sort();
    for name in ["keyward.1", "keyward-rotate.1", "keyward-secret-rollback.1", "keyward-init-postgres.1"] {
        assert!(pages.contains(&man.join(name)), "{name} is not among {pages:?}");
    }
    let rotate = fs::read_to_string(man.join("keyward-rotate.1")).unwrap();
    assert!(rotate.contains("\\-\\-keep\\-going") && rotate.contains("Every secret"), "{rotate}");
    // Each formatter that is here; one that warns has seen something that it cannot show.
    for (program, arguments) in [("groff", &["-man", "-Tutf8", "-ww", "-z"][..]), ("mandoc", &["-Tlint", "-Wwarning"])] {
        if is_here(program) {
            let output = Command::new(program).args(arguments).args(&pages).output().unwrap();
            let said = [output.stderr, if program == "mandoc" { output.stdout } else { Vec::new() }].concat();
            assert!(output.status.success() && said.is_empty(), "{program}: {}", String::from_utf8_lossy(&said));
        }
    }
    if is_here("man") {
        let shown: Ended = Command::new("man").env("MANWIDTH", "100").arg("-l").arg(man.join("keyward.1")).output().unwrap().into();
        assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
        // Lines are filled up with blanks.
        let text = shown.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("keyward-unseal(1)") && text.contains("Vault is sealed (init, unseal"), "{}", shown.out);
    }
    let again = keyward(&["man", man.to_str().unwrap(), "--output", "json"]);
    assert!(again.out.contains("\"written\": []"), "a second run writes nothing: {again:?}");
}
