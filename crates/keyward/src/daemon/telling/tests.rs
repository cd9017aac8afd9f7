#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;
use crate::alerts::Alerts;
use crate::config::{Config, Environment};
use crate::daemon::world::{LONG, World, until};
use keyward_harness::{Message, SmtpServer, servers, unique};
use tokio::task::JoinHandle;

const VAULT: &str = "[vault]\naddress = \"http://127.0.0.1:1\"\n";

fn mail_to(port: u16, to: &str, more: &str) -> String {
    format!(
        "{VAULT}[alert]\nto = [\"{to}\"]\n[alert.smtp]\nurl = \"smtp+plain://127.0.0.1:{port}\"\nfrom = \"keyward@example.com\"\n{more}"
    )
}

fn somebody() -> String {
    format!("{}@example.com", unique("oncall"))
}

fn alert(key: &str) -> Alert {
    let account = Account { happened: "It happened.".into(), ..Account::default() };
    about_alerts(key.to_owned(), Severity::Critical, "a test of telling", account, Timestamp::now())
}

/// A running task and the ways to talk to it.
struct Told {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    rest_runs: Option<oneshot::Sender<()>>,
    folder: tempfile::TempDir,
}

fn start(world: World) -> Told {
    let (rest_runs, rest_ended) = oneshot::channel();
    let task = tokio::spawn(run(Arc::clone(&world.shared), world.commands, rest_ended));
    Told { shared: world.shared, task, rest_runs: Some(rest_runs), folder: world.folder }
}

impl Told {
    fn deliveries(&self, channel: &str, result: &str) -> f64 {
        self.shared.metrics.series(&f::DELIVERIES, &[channel, result]).get()
    }

    /// As a crash ends it.
    async fn crash(self) -> tempfile::TempDir {
        self.task.abort();
        let _ = self.task.await;
        self.folder
    }

    async fn stop(mut self) -> tempfile::TempDir {
        drop(self.rest_runs.take());
        tokio::time::timeout(LONG, self.task).await.unwrap().unwrap();
        self.folder
    }
}

fn mails_to(smtp: &SmtpServer, to: &str) -> Vec<Message> {
    smtp.messages().into_iter().filter(|m| m.to.iter().any(|t| t == to)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_outlives_a_mail_server_that_is_down_and_a_crash() {
    let smtp = SmtpServer::start().unwrap();
    let to = somebody();
    let config = mail_to(smtp.plain_port, &to, "");
    smtp.stop().unwrap();
    let told = start(World::new(&config).await);
    told.shared.alerts.raise(alert("test/down"));
    until("a try that failed", async || (told.deliveries("mail", "transient") > 0.0).then_some(())).await;
    let saved = || async { told.shared.store.load_alerts().await.unwrap().filter(|s| s.outbox_json.contains("test/down")) };
    until("the notice in the store", async || saved().await).await;
    assert!(told.shared.metrics.series(&f::OUTBOX_PENDING, &[]).get() > 0.0);

    let folder = told.crash().await;
    smtp.restart().unwrap();
    let told = start(World::in_folder(&config, folder).await);
    let mail = smtp.wait_for(|m| m.to.contains(&to), LONG).unwrap();
    assert!(mail.subject.contains("CRITICAL keyward: a test of telling"), "{}", mail.subject);
    until("the delivery to be counted", async || (told.deliveries("mail", "ok") > 0.0).then_some(())).await;

    // What is over is told too, and once.
    told.shared.alerts.resolve("test/down", "it works again");
    let mail = smtp.wait_for(|m| m.to.contains(&to) && m.subject.contains("RESOLVED"), LONG).unwrap();
    assert!(mail.body.contains("it works again"), "{}", mail.body);
    told.stop().await;
    assert_eq!(mails_to(&smtp, &to).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_tells_what_is_still_to_be_told() {
    let (smtp, to) = (servers().smtp(), somebody());
    let told = start(World::new(&mail_to(smtp.plain_port, &to, "")).await);
    told.shared.alerts.raise(alert("test/last"));
    // Within the time in which it would wait for company.
    told.stop().await;
    assert_eq!(mails_to(smtp, &to).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_cannot_be_built_is_said_and_loses_nothing() {
    let (smtp, to) = (servers().smtp(), somebody());
    let mut world = World::new(VAULT).await;
    let config = |file: &str| {
        format!(
            "{VAULT}[alert]\nto = [\"{to}\"]\n[alert.smtp]\nurl = \"smtps://{}@127.0.0.1:{}\"\npassword = {{ file = \"FOLDER/{file}\" }}\n\
             from = \"keyward@example.com\"\nca_cert = \"{}\"\n",
            smtp.user,
            smtp.tls_port,
            smtp.ca_pem_path.display()
        )
    };
    std::fs::write(world.folder.path().join("password"), &smtp.password).unwrap();
    world.replace(&config("missing"));
    let commands = std::mem::replace(&mut world.commands, Alerts::channel().1);
    let (_rest_runs, rest_ended) = oneshot::channel();
    tokio::spawn(run(Arc::clone(&world.shared), commands, rest_ended));
    let broken = || world.shared.board.status().alerts.into_iter().find(|a| a.starts_with("alert-way/mail"));
    until("the broken way on the board", async || broken()).await;
    world.shared.alerts.raise(alert("test/broken"));
    let pending = || world.shared.metrics.series(&f::OUTBOX_PENDING, &[]).get();
    until("the notice to wait", async || (pending() >= 1.0).then_some(())).await;

    // Another file, in a new configuration.
    world.replace(&config("password"));
    let mail = smtp.wait_for(|m| m.to.contains(&to) && m.body.contains("It happened."), LONG).unwrap();
    assert_eq!(mail.port, "tls");
    until("the way to be whole", async || broken().is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_way_that_hangs_holds_up_neither_another_nor_the_commands() {
    let (smtp, to) = (servers().smtp(), somebody());
    // Accepts connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("[alert.webhook]\nurl = \"http://{}/hook\"\n", silent.local_addr().unwrap());
    let told = start(World::new(&mail_to(smtp.plain_port, &to, &url)).await);
    told.shared.alerts.raise(alert("test/first"));
    smtp.wait_for(|m| m.to.contains(&to), HANGING).unwrap();
    told.shared.alerts.resolve("test/first", "over");
    smtp.wait_for(|m| m.to.contains(&to) && m.subject.contains("RESOLVED"), HANGING).unwrap();
    assert!(told.deliveries("webhook", "transient") < 1.0, "it still hangs, within its own limit");
}

/// Less than the webhook's own limit.
const HANGING: Duration = Duration::from_secs(12);

#[tokio::test]
async fn with_nobody_to_tell_the_board_tells() {
    let told = start(World::new(VAULT).await);
    told.shared.alerts.raise(alert("test/nobody"));
    let shown = || told.shared.board.status().alerts;
    until("the alert on the board", async || (shown() == ["test/nobody keyward: a test of telling"]).then_some(())).await;
    let firing = || told.shared.metrics.series(&f::ALERTS_FIRING, &["critical"]).get();
    until("the figure", async || (firing() > 0.0).then_some(())).await;
    told.shared.alerts.resolve("test/nobody", "over");
    until("an empty board", async || shown().is_empty().then_some(())).await;
    until("the figure again", async || (firing() < 1.0).then_some(())).await;
    let page = told.shared.metrics.page();
    for series in ["keyward_alert_deliveries_total{channel=\"webhook\",result=\"permanent\"} 0", "keyward_alert_outbox_pending 0"] {
        assert!(page.contains(series), "{series}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_goes_every_way_and_says_how_it_went() {
    let (smtp, to) = (servers().smtp(), somebody());
    let missing = "[alert.webhook]\nurl = { file = \"/nonexistent/keyward/url\" }\n";
    let told = start(World::new(&mail_to(smtp.plain_port, &to, missing)).await);
    let results = told.shared.alerts.test().await.unwrap();
    assert_eq!(results.len(), 2, "{results:?}");
    assert_eq!(results[0], (format!("mail to {to}"), Ok(())));
    assert!(results[1].0 == "webhook" && results[1].1.as_ref().is_err_and(|why| why.contains("/nonexistent/keyward/url")), "{results:?}");
    assert!(mails_to(smtp, &to)[0].subject.contains("test"));

    // The same without a daemon; a recipient that the server refuses is told as that.
    let refused = mail_to(smtp.plain_port, &format!("refuse-{to}"), "");
    let config = Config::parse(&refused, "test.toml", &Environment::empty()).unwrap();
    let results = test(&config.alert, &Environment::empty()).await;
    assert!(results[0].1.as_ref().is_err_and(|why| why.contains("550")), "{results:?}");
}

#[tokio::test]
async fn a_store_whose_alerts_cannot_be_read_is_said_to_be_lost() {
    let world = World::new(VAULT).await;
    let state = AlertState { book_json: "{\"format\":99}".into(), outbox_json: "{}".into(), saved: Timestamp::now() };
    world.shared.store.save_alerts(state).await.unwrap();
    let told = start(world);
    let lost = || told.shared.board.status().alerts.into_iter().find(|a| a.starts_with("alerts-memory-lost"));
    until("the loss on the board", async || lost()).await;
}
