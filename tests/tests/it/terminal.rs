//! Commands typed at a terminal: what is typed there is not shown, and Ctrl-C at a prompt does nothing and leaves the terminal as it was.

use crate::backup::Desk;
use crate::init_world::World;
use crate::world::{LONG, shop};
use keyward_harness::{Shop, VaultOptions, VaultServer, servers, wait_until};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

/// The key that a terminal turns into SIGINT.
const CTRL_C: &str = "\u{3}";

/// A terminal of its own (`script` of util-linux makes it) in which a command runs, and then says how the terminal is.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<String>>,
    /// How much of the screen was read by whoever types.
    read: usize,
}

impl Terminal {
    /// Types a command of Keyward's, as a person with a token.
    fn run(shop: &Shop<'_>, words: &str) -> Self {
        fs::write(shop.path("token"), &servers().vault().root_token).unwrap();
        let mut keyward = shop.command(&[]);
        keyward.env("VAULT_TOKEN_FILE", shop.path("token"));
        Self::of(&keyward, words)
    }

    /// Types these words behind a command.
    fn of(program: &Command, words: &str) -> Self {
        let keyward = [program.get_program()].into_iter().chain(program.get_args()).map(|word| format!("'{}'", word.display()));
        let keyward = keyward.collect::<Vec<_>>().join(" ");
        // The shell outlives Ctrl-C, as the one of a person does.
        let typed = format!("trap : INT; {keyward} {words}; echo \"ended with $?\"; stty -a");
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--command", &typed, "/dev/null"]);
        command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("SHELL", "/bin/sh");
        program.get_current_dir().map(|folder| command.current_dir(folder));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (keys, mut shown, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap(), Arc::<Mutex<String>>::default());
        let drawn = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = shown.read(&mut piece) {
                drawn.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        });
        Self { child, keys, screen, read: 0 }
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Waits for a prompt, and presses keys.
    fn at(&mut self, prompt: &str, keys: &str) {
        let at = wait_until(prompt, LONG, || self.screen().get(self.read..)?.find(prompt));
        self.read += at + prompt.len();
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
    for (second, code) in [("another-key-of-theirs", 65), ("sk-a-key-of-theirs", 0)] {
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

/// Everything in a folder, as one text.
fn kept(folder: &Path) -> String {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| if path.is_dir() { kept(&path) } else { String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned() }).collect()
}

#[test]
fn shares_are_shown_once_and_typed_unseen() {
    let vault = VaultServer::start(&VaultOptions { initialise: false, audit: false }).unwrap();
    let world = World::on(&vault.address, &vault, "");
    let keyward = world.command(&[]);
    let shown = Terminal::of(&keyward, "init --initialise --show-shares --server-only").ends(0);
    assert!(shown.contains("Keep them with different people"));
    let value = |line: &str| line.split_once(": ").unwrap().1.trim().to_owned();
    let shares: Vec<String> = shown.lines().filter(|line| line.starts_with("Share ")).map(value).collect();
    let root = shown.lines().find(|line| line.starts_with("Root token: ")).map(value).unwrap();
    assert_eq!(shares.len(), 5);
    let there = kept(&world.path("."));
    assert!(shares.iter().chain([&root]).all(|value| !there.contains(value.as_str())), "nothing of it is kept");

    assert!(vault.api_as(&root, "PUT", "sys/seal", None).unwrap().0 < 300);
    wait_until("the seal", LONG, || vault.health().is_ok_and(|status| status == 503).then_some(()));
    let prompt = "(empty to end): ";
    for (typed, code, says) in
        [([shares[4].as_str(), ""], 2, "still sealed, 1 of 3 shares given"), ([&shares[1], &shares[3]], 0, "3 of 3 shares: unsealed")]
    {
        let mut terminal = Terminal::of(&keyward, "unseal");
        for share in typed {
            terminal.at(prompt, &format!("{share}\n"));
        }
        let screen = terminal.ends(code);
        assert!(screen.contains(says) && !shares.iter().any(|share| screen.contains(share.as_str())), "{says}, and no share");
    }
}

#[test]
fn an_import_asks_before_it_writes_and_before_it_takes_plaintext_out() {
    let vault = servers().vault();
    let (world, kv) = (World::on(&vault.address, vault, ""), vault.kv_mount());
    let there = || vault.api("GET", &format!("{kv}/data/asked"), None).unwrap().0 == 200;
    let (text, typed) = ("TOKEN=value-of-a-file\n", format!("import asked.env --into {kv}/asked"));
    fs::write(world.path("asked.env"), text).unwrap();
    for (answers, code, is_there, left) in
        [(&["no"][..], 75, false, text), (&["yes", "no"], 0, true, text), (&["yes"], 0, true, "# TOKEN is kept in Vault: ")]
    {
        let mut terminal = Terminal::of(&world.command(&[]), &typed);
        for answer in answers {
            terminal.at("Type yes to go on: ", &format!("{answer}\n"));
        }
        let screen = terminal.ends(code);
        assert!(there() == is_there && !screen.contains("value-of-a-file"), "{screen}");
        assert!(fs::read_to_string(world.path("asked.env")).unwrap().starts_with(left), "{answers:?}: {screen}");
    }
}

#[test]
fn a_restore_is_done_for_whoever_types_yes() {
    let vault = VaultServer::start(&VaultOptions { audit: false, ..VaultOptions::default() }).unwrap();
    let kv = vault.kv_mount();
    let write = |value: &str| vault.must("POST", &format!("{kv}/data/app"), Some(json!({ "data": { "value": value } }))).unwrap();
    let holds = |value: &str| {
        vault.api("GET", &format!("{kv}/data/app"), None).is_ok_and(|(_, body)| body["data"]["data"]["value"] == value).then_some(())
    };
    let desk = Desk::new(&vault.address, &vault.ca_pem_path, &vault.root_token, "");
    write("then");
    let backup = desk.must(&["backup"])["file"].as_str().unwrap().to_owned();
    write("later");
    // Whoever says no ends what would come after it, too.
    for (keys, code, after) in [("no\n", 75, "later"), (CTRL_C, 75, "later"), ("yes\n", 0, "then")] {
        let mut terminal = Terminal::of(&desk.command(&[]), &format!("restore {backup}"));
        terminal.at("Type yes to go on: ", keys);
        terminal.ends(code);
        wait_until(after, LONG, || holds(after));
    }
}
