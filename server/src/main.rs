//! The chat server's binary: reads the command line and the configuration, then serves, prints a token, or prints the
//! configuration. The exit code is chosen here and nowhere else: 0 when the work is done, otherwise [`exit_code`].

mod admin;
mod auth;
mod chat;
mod check;
mod cli;
mod client;
mod clock;
mod config;
mod descriptors;
mod dev;
mod engine;
mod http;
mod http_client;
mod invisible;
mod limits;
mod load;
mod log_line;
mod log_repeats;
mod logging;
mod number;
mod process_title;
mod rate;
mod reload;
mod room;
mod serve;
mod store;
mod store_tools;
mod tls;
mod webhooks;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Parser as _;
use engineio::net::BrokenShard;

use auth::{SignError, TokenRequest, Verifier};
use cli::{Action, Cli, TokenArguments};
use config::{Config, ConfigError, Environment, Exposed};
use process_title::Arguments;
use reload::{Loaded, Source};
use tls::Tickets;

/// Connections come and go with a dozen small allocations each, which it serves faster than the system's allocator (figures in
/// DESIGN.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::of_process();
    let cli = match Cli::try_parse_from(arguments.given()) {
        Ok(cli) => cli,
        Err(error) => {
            let Some(line) = cli::usage_error(&error) else {
                // Help and version. A reader that went away wanted no more of it.
                let _ = error.print();
                return ExitCode::SUCCESS;
            };
            return fail(&format!("{line} (see chat-server --help)"), MISUSED);
        }
    };
    let done = run(&arguments, cli);
    logging::flush();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}"), exit_code(&error)),
    }
}

/// The work failed, for example because the port is taken.
const FAILED: u8 = 1;

/// The command line or the configuration is wrong.
const MISUSED: u8 = 2;

/// A shard's state is broken (`EX_SOFTWARE` of sysexits.h): a fault of this program.
const BROKEN: u8 = 70;

/// The exit code of a process that ends with this error.
fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() {
        MISUSED
    } else if error.is::<BrokenShard>() {
        BROKEN
    } else {
        FAILED
    }
}

/// Says what is wrong in one line, whatever the text that is quoted in it holds.
fn fail(reason: &str, code: u8) -> ExitCode {
    let line: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let _ = writeln!(io::stderr(), "error: {line}");
    ExitCode::from(code)
}

fn run(process: &Arguments, cli: Cli) -> anyhow::Result<()> {
    let invocation = cli.invocation()?;
    let Exposed { mut secrets, mut warnings } = config::exposed(&invocation.arguments);
    if let Action::Check(arguments) = &invocation.action {
        secrets.extend(arguments.exposed_token());
    }
    // Before there is a thread, a file or a line of the log: the program may begin again here.
    if let Err(error) = process.hide(&secrets) {
        warnings.push(format!("the command line cannot be hidden: {error}"));
    }
    if matches!(invocation.action, Action::DefaultConfig) {
        return print(&config::default_file());
    }
    let (file, arguments) = (invocation.file, invocation.arguments);
    let read = move || config::load(file.as_deref(), arguments.clone(), Environment::of_process());
    let mut config = read()?;
    config.warnings.extend(warnings);
    match invocation.action {
        Action::Config => {
            config.check_serving()?;
            // A key that cannot be used is as wrong as a value.
            Verifier::load(&config.auth)?;
            tls::load(&config.tls, &Tickets::new()?)?;
            logging::install(&config.log).context("the log")?;
            logging::warn(&config.warnings());
            print(&config.to_toml())
        }
        // Printed above.
        Action::DefaultConfig => Ok(()),
        Action::Check(arguments) => {
            check::run(&arguments, config.http.admin_listen, || check_token(&mut config, arguments.room()))
        }
        Action::Bench(arguments) => {
            use_development_secret(&mut config)?;
            tell_development_secret(&config);
            load::run(&arguments, |sub, room| user_token(&config, sub, room))
        }
        Action::Token(arguments) => {
            use_development_secret(&mut config)?;
            let token = token(&config, &arguments)?;
            // A fault is one line, so only now.
            tell_development_secret(&config);
            print(&format!("{token}\n"))
        }
        Action::Store(action) => {
            logging::install(&config.log).context("the log")?;
            store_tools::run(&config, action)
        }
        Action::Serve => {
            config.check_serving()?;
            use_development_secret(&mut config)?;
            let tickets = Tickets::new()?;
            let (verifier, tls) = (Verifier::load(&config.auth)?, tls::load(&config.tls, &tickets)?);
            logging::install(&config.log).context("the log")?;
            serve::run(Loaded { config, verifier, tls }, Source { read: Box::new(read), tickets })
        }
    }
}

fn use_development_secret(config: &mut Config) -> Result<(), ConfigError> {
    if config.development {
        config.auth.jwt_secret = Some(dev::secret(&config.data_dir)?);
    }
    Ok(())
}

/// Says that a command signs tokens with the development secret: the server that is meant may have a secret of its own.
fn tell_development_secret(config: &Config) {
    if config.development {
        let file = dev::file(&config.data_dir);
        // Whoever does not read it loses nothing.
        let _ = writeln!(
            io::stderr(),
            "no secret is configured: signed with {}, which only a server in development mode with this data directory accepts",
            file.display()
        );
    }
}

/// A token for `check`, if this configuration has a secret. A new development secret would be one that no server knows.
fn check_token(config: &mut Config, room: &str) -> anyhow::Result<Option<String>> {
    if config.development && dev::has_secret(&config.data_dir) {
        use_development_secret(config)?;
    }
    if config.auth.jwt_secret.is_none() {
        return Ok(None);
    }
    user_token(config, check::USER, room).map(Some)
}

/// A token that lasts for a check or a bench, and opens one room.
fn user_token(config: &Config, sub: &str, room: &str) -> anyhow::Result<String> {
    let (rooms, expires) = (Some(vec![room.to_owned()]), Duration::from_secs(3600));
    token(config, &TokenArguments { sub: sub.to_owned(), name: None, rooms, expires })
}

fn token(config: &Config, arguments: &TokenArguments) -> anyhow::Result<String> {
    let request = TokenRequest {
        sub: &arguments.sub,
        name: arguments.name.as_deref(),
        rooms: arguments.rooms.as_deref(),
        lifetime: arguments.expires,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    let token = auth::sign(&config.auth, &request, now).map_err(|error| {
        let subject = match error {
            SignError::Sub => "--sub",
            SignError::Name => "--name",
            SignError::Rooms => "--rooms",
            SignError::Lifetime => "--expires",
            SignError::Secret => "auth.jwt_secret",
        };
        ConfigError::new(subject, error.to_string())
    })?;
    // The last word is the server's own: a list of rooms, for one, can make a token too long.
    Verifier::new(&config.auth).verify(&token, now).map_err(|error| {
        ConfigError::new("token", format!("the server would refuse it with {}: {error}", error.code()))
    })?;
    Ok(token)
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).context("standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_whose_fault_it_was() {
        assert_eq!(exit_code(&ConfigError::new("listen", "no address").into()), 2);
        assert_eq!(exit_code(&BrokenShard { shard: 0 }.into()), 70);
        let taken = anyhow::Error::from(io::Error::other("taken")).context("cannot listen");
        assert_eq!(exit_code(&taken), 1);
    }
}
