//! Commands typed at a terminal: what is typed there is not shown, and Ctrl-C at a prompt does nothing and leaves the terminal as it was.

use crate::world::{LONG, shop};
use keyward_harness::{Shop, servers, wait_until};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

/// The key that a terminal turns into SIGINT.
const CTRL_C: &str = "\u{3}";

/// A terminal of its own (`script` of util-linux makes it) in which a command runs, and then says how the terminal is.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    /// Types a command of Keyward's, as a person with a token.
    fn run(shop: &Shop<'_>, words: &str) -> Self {
        fs::write(shop.path("token"), &servers().vault().root_token).unwrap();
        let of_shop = shop.command(&[]);
        let keyward = [of_shop.get_program()].into_iter().chain(of_shop.get_args()).map(|word| format!("'{}'", word.display()));
        let keyward = keyward.collect::<Vec<_>>().join(" ");
        // The shell outlives Ctrl-C, as the one of a person does.
        let typed = format!("trap : INT; {keyward} {words}; echo \"ended with $?\"; stty -a");
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--command", &typed, "/dev/null"]);
        command.env_clear().envs(of_shop.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("SHELL", "/bin/sh").env("VAULT_TOKEN_FILE", shop.path("token"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (keys, mut shown, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap(), Arc::<Mutex<String>>::default());
        let drawn = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = shown.read(&mut piece) {
                drawn.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        });
        Self { child, keys, screen }
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Waits for a prompt, and presses keys.
    fn at(&mut self, prompt: &str, keys: &str) {
        wait_until(prompt, LONG, || self.screen().contains(prompt).then_some(()));
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until the command has ended with this code, and the terminal shows again what is typed. Everything that was shown.
    fn ends(mut self, code: i32) -> String {
        wait_until("the terminal's settings", LONG, || self.screen().contains("iexten").then_some(()));
        let screen = self.screen();
        assert!(screen.contains(&format!("ended with {code}")), "{screen}");
        assert!(screen.contains(" echo ") && !screen.contains("-echo "), "the terminal stays silent: {screen}");
        drop(self.keys);
        self.child.wait().unwrap();
        screen
    }
}

#[test]
fn what_is_typed_is_not_shown_and_ctrl_c_at_a_prompt_does_nothing() {
    let shop = shop();
    let value = "typed-by-a-person-at-a-terminal";
    let path = format!("{}/by-hand/typed", shop.kv);
    let put = format!("secret put {path} --field password");
    let nothing = || assert_eq!(shop.vault.api("GET", &format!("{}/data/by-hand/typed", shop.kv), None).unwrap().0, 404);

    let mut terminal = Terminal::run(&shop, &put);
    terminal.at("Value of password: ", &format!("{value}{CTRL_C}"));
    let screen = terminal.ends(75);
    assert!(screen.contains("keyward: broken off.") && !screen.contains(value), "{screen}");
    nothing();

    let mut terminal = Terminal::run(&shop, &put);
    terminal.at("Value of password: ", &format!("{value}\n"));
    let screen = terminal.ends(0);
    assert!(screen.contains("password added") && !screen.contains(value), "{screen}");
    assert_eq!(shop.published("by-hand/typed").unwrap(), json!({ "password": value }));
}

#[test]
fn a_value_for_supply_is_typed_twice() {
    let shop = shop();
    for (second, code) in [("another-key-of-theirs", 1), ("sk-a-key-of-theirs", 0)] {
        let mut terminal = Terminal::run(&shop, "supply openai --alone");
        terminal.at("New value of openai: ", "sk-a-key-of-theirs\n");
        terminal.at("Once more: ", &format!("{second}\n"));
        let screen = terminal.ends(code);
        assert!(!screen.contains("of-theirs"), "{screen}");
        let published = shop.published("shop/openai").unwrap();
        assert_eq!(published["api_key"] == "sk-a-key-of-theirs", code == 0, "{screen}");
    }
}

#[test]
fn nothing_large_is_done_before_somebody_types_yes() {
    let shop = shop();
    let before = shop.published("shop/jwt").ok();
    for (keys, code, says) in [(CTRL_C, 75, "broken off"), ("y\n", 75, "Nothing was done."), ("\n", 75, "Nothing was done.")] {
        let mut terminal = Terminal::run(&shop, "rotate --class jwt --now --alone");
        terminal.at("Type yes to go on: ", keys);
        let screen = terminal.ends(code);
        assert!(screen.contains(says), "{screen}");
        assert_eq!(shop.published("shop/jwt").ok(), before);
    }
    let mut terminal = Terminal::run(&shop, "rotate --class jwt --now --alone");
    terminal.at("Type yes to go on: ", "yes\n");
    terminal.ends(0);
    assert_ne!(shop.published("shop/jwt").ok(), before);
}
