//! Keyward: keeps the secrets in Vault fresh and watches who uses them. `main` is the life of the process and nothing else.

use anyhow::Result;
use clap::CommandFactory;
use keyward::cli::{Cli, Command, Exit, Global, Rotate};
use keyward::commands::by_hand::configuration;
use keyward::commands::emergency::{self, Wish};
use keyward::commands::init::{self, Part};
use keyward::commands::{self, Request, approle, check, doctor, pause, plan, policy, reconcile, rotate, status, token, unseal};
use keyward::config::{Config, ConfigErrors, Environment};
use std::io::{ErrorKind, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// How long a thread may take to end when its command has.
const LAST_THREADS: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    if let Err(why) = start_logging(&cli) {
        commands::note(&format!("keyward: {why}"));
        return Exit::Usage.into();
    }
    keep_values_out_of_core_dumps();
    // The provider is installed once, before anything could have installed another.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            commands::note(&format!("keyward: cannot start: {error}"));
            return Exit::Internal.into();
        }
    };
    let serves = matches!(cli.command, Command::Serve);
    let ended = runtime.block_on(run(cli));
    if !serves {
        // What a command that was broken off left to a thread is not waited for without end.
        runtime.shutdown_timeout(LAST_THREADS);
    }
    let exit = match ended {
        Ok(exit) => exit,
        Err(error) => {
            commands::note(&format!("keyward: {error:#}"));
            exit_of(&error)
        }
    };
    match commands::lost() {
        Some(why) => {
            commands::note(&format!("keyward: what was to be printed could not be written: {why}"));
            if exit == Exit::Ok { Exit::Failed } else { exit }
        }
        None => exit,
    }
    .into()
}

/// The daemon has its own way to end; every command ends when somebody wants it to.
async fn run(cli: Cli) -> Result<Exit> {
    if matches!(cli.command, Command::Serve) {
        return Box::pin(carry_out(cli)).await;
    }
    let (changes, out) = (cli.command.changes(), cli.global.output);
    let ended = Box::pin(commands::breakable(Box::pin(carry_out(cli)), changes, out)).await;
    commands::give_back().await;
    ended
}

async fn carry_out(cli: Cli) -> Result<Exit> {
    if let Command::Completions { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "keyward", &mut script);
        commands::line(String::from_utf8_lossy(&script).trim_end());
        return Ok(Exit::Ok);
    }
    if let Command::Man { dir } = &cli.command {
        return commands::manual::run(Cli::command(), dir, cli.global.output);
    }
    let environment = Environment::of_process().with_address(cli.global.address.clone());
    let Global { config: file, output: out, .. } = cli.global;
    if let Command::Audit(audit) = cli.command {
        return commands::audit::run(audit, &file, &environment, out).await;
    }
    // These do without a configuration file where the environment says enough.
    let command = match cli.command {
        Command::Secret(secret) => return commands::secret::run(secret, &file, &environment, out).await,
        Command::Import(wanted) => return commands::import::run(*wanted, &file, &environment, out).await,
        Command::Adopt(wanted) => return commands::adopt::run(&wanted, &file, &environment, out).await,
        // On the day of a loss there may be no file.
        Command::Unseal(u) => return unseal::run(&configuration(&file, &environment)?, u, out).await,
        Command::Restore(r) => return commands::backup::restore::run(&configuration(&file, &environment)?, &environment, r, out).await,
        Command::Backup(b) => return commands::backup::run(&environment, &file, b, out).await,
        Command::Tls(t) => return commands::tls::run(t, &file, &environment, out).await,
        other => other,
    };
    let config = Config::load(&file, &environment)?;
    match command {
        Command::Serve => keyward::daemon::serve(config, file, environment).await.map(|()| Exit::Ok),
        Command::Check => check::run(config, &environment, out).await,
        Command::Plan(p) => plan::run(config, &environment, p.from, p.to, out).await,
        Command::Status { name } => status::run(config, &environment, name.as_deref(), out).await,
        Command::Rotate(r) => rotate_command(config, &environment, r, out).await,
        Command::Pause { name, class, why, alone } => {
            pause::run(config, &environment, pause::What::of(name, class)?, Some(why), alone, out).await
        }
        Command::Resume { name, class, alone } => pause::run(config, &environment, pause::What::of(name, class)?, None, alone, out).await,
        Command::Reconcile { names, yes, alone } => reconcile::run(config, &environment, names, yes, alone, out).await,
        Command::Supply { name, alone } => {
            let value = rotate::read_value(&name)?;
            rotate::run(config, &environment, &name, Request::Supply(value), alone, out).await
        }
        Command::Alert(commands::Alert::Test) => commands::alert_test(&config, &environment, out).await,
        Command::Init(i) => match i.only {
            Some(Part::Postgres { names }) => commands::init_postgres(config, &environment, &names, out).await,
            None => init::run(config, &environment, i.wish, out).await,
        },
        Command::Doctor(d) => doctor::run(config, &environment, d, out).await,
        Command::Policy(p) => policy::run(config, &environment, p, out).await,
        Command::Token(t) => token::run(config, &environment, t, out).await,
        Command::Approle(a) => approle::run(config, &environment, a, out).await,
        Command::Health => commands::health(&config, out).await,
        Command::Paths(p) => commands::paths::run(config, p, out).await,
        Command::Audit(_)
        | Command::Secret(_)
        | Command::Import(_)
        | Command::Adopt(_)
        | Command::Unseal(_)
        | Command::Restore(_)
        | Command::Backup(_)
        | Command::Tls(_)
        | Command::Completions { .. }
        | Command::Man { .. } => Ok(Exit::Ok), // done above, before any configuration is read
    }
}

async fn rotate_command(config: Config, environment: &Environment, r: Rotate, out: commands::Output) -> Result<Exit> {
    match r.name {
        Some(name) if r.dry_run => rotate::dry_run(config, environment, &name, out).await,
        Some(name) => rotate::run(config, environment, &name, Request::Rotate, r.alone, out).await,
        None => {
            let wish = Wish { classes: r.class, yes: r.yes, keep_going: r.keep_going, dry_run: r.dry_run, alone: r.alone };
            emergency::run(config, environment, wish, out).await
        }
    }
}

/// Logs go to standard error, as lines for people on a terminal and as JSON for collectors elsewhere. Libraries that
/// would log bodies or passwords are kept silent whatever is asked for.
fn start_logging(cli: &Cli) -> Result<(), String> {
    const SILENT: &str =
        "vaultrs=off,rustify=off,lettre=off,hyper=warn,reqwest=warn,rustls=warn,tokio_postgres=warn,tokio_cron_scheduler=error";
    let serves = matches!(cli.command, Command::Serve);
    let asked = cli.global.log.as_deref().unwrap_or(if serves { "info" } else { "error" });
    let filter = EnvFilter::try_new(format!("{asked},{SILENT}")).map_err(|e| format!("--log {asked}: {e}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() || !serves {
        builder.with_target(false).init();
    } else {
        builder.json().flatten_event(true).init();
    }
    Ok(())
}

/// A core dump would hold every value that the process held.
fn keep_values_out_of_core_dumps() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Core, none) {
        tracing::warn!(%error, "Core dumps could not be switched off.");
    }
}

/// The exit code of an error, by its cause.
fn exit_of(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if cause.is::<ConfigErrors>() {
            return Exit::Usage;
        }
        if let Some(declined) = cause.downcast_ref::<commands::by_hand::Declined>() {
            return declined.exit;
        }
        if let Some(failure) = cause.downcast_ref::<keyward_engine::Failure>() {
            return commands::exit_of(failure.class);
        }
        if let Some(login) = cause.downcast_ref::<keyward::session::LoginFailure>() {
            return login.exit();
        }
        if let Some(error) = cause.downcast_ref::<keyward_vault::VaultError>() {
            return commands::exit_of(keyward::ports::failure_of(error).class);
        }
        if matches!(cause.downcast_ref(), Some(keyward_store::StoreError::Locked { .. })) {
            return Exit::Temporary;
        }
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            match error.kind() {
                ErrorKind::PermissionDenied => return Exit::Denied,
                ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable => return Exit::Unavailable,
                _ => {}
            }
        }
    }
    Exit::Failed
}
