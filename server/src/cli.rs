//! The command line: flags, subcommands, and its faults as one line. What the values mean is left to `config`.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::{
    check,
    config::{Assignment, ConfigError, Source},
    load,
};

/// Socket.IO chat server: JWT, rooms, messages, typing and presence for the official clients
#[derive(Debug, Parser)]
#[command(name = "chat-server", version, disable_help_subcommand = true)]
#[command(after_help = "\
Without a subcommand it serves. Every key can be set in a TOML file, by a variable (CHAT_ and the key in capitals, `.` as
`__`: CHAT_LIMITS__MESSAGE_RATE) or by --set. Flags and --set beat variables, variables beat the file.
`chat-server config` prints every key with its value.

Without a secret it starts in development mode, on a loopback address only, and prints ready tokens.")]
pub(crate) struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default)
    Serve(ConfigArgs),
    /// Print a token and nothing else
    Token(TokenArgs),
    /// Check the configuration and print it as TOML, secrets hidden
    Config {
        /// Print a file of all keys instead, each with its default and what it does
        #[arg(long)]
        default: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Try whether a running server works, by its URL, also through a proxy. Ends with 1 if anything fails
    Check {
        #[command(flatten)]
        arguments: check::Arguments,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Put a small load on a running server and print what it took, for sizing; its messages stay in the history
    Bench {
        #[command(flatten)]
        arguments: load::Arguments,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Look after the store in the data directory
    Store(StoreArgs),
}

#[derive(Debug, Args)]
struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Print what is in it; a server may be using it
    Info(ConfigArgs),
    /// Look for damage; a server may be using it. Ends with 1 if there is any
    Check(ConfigArgs),
    /// Write all messages to standard output, one JSON object a line; a server may be using it
    Export(ConfigArgs),
    /// Add the messages that export wrote, from standard input; those that are there already are left alone
    Import(ConfigArgs),
}

#[derive(Debug, Args)]
struct TokenArgs {
    /// User id: 1 to 128 bytes
    #[arg(long, value_name = "ID")]
    sub: String,
    /// Display name [default: the user id]
    #[arg(long)]
    name: Option<String>,
    /// Rooms the user may enter, separated by commas; `*` for any [default: no `rooms` claim]
    #[arg(long, value_name = "ROOM,...", value_delimiter = ',')]
    rooms: Option<Vec<String>>,
    /// Time until the token expires
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    expires: Duration,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Configuration")]
struct ConfigArgs {
    /// TOML file with any of the keys [variable: CHAT_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets any key; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// File with the secret that checks and signs tokens (HS256, HS384, HS512)
    #[arg(long, value_name = "FILE")]
    jwt_secret_file: Option<String>,
    /// The secret itself, which every user of the machine can then see: better --jwt-secret-file
    // A random secret may begin with a hyphen, and an "unexpected argument" would repeat it.
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
    jwt_secret: Option<String>,
    /// PEM file of the public key that checks tokens
    #[arg(long, value_name = "FILE")]
    jwt_public_key: Option<String>,
    /// File or URL of a JWKS that checks tokens
    #[arg(long, value_name = "FILE|URL")]
    jwks: Option<String>,
    /// Directory of everything the server keeps [default: ./data]
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<String>,
    /// Where the history is kept: sqlite, memory [default: sqlite]
    #[arg(long, value_name = "KIND")]
    store: Option<String>,
    /// Number of workers, each a thread with connections of its own [default: one for each core]
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Origins allowed beside the server's own, separated by commas; `*` for any; may be repeated
    #[arg(long, value_name = "ORIGIN,...")]
    allow_origin: Vec<String>,
    /// Keys of the HTTP API, each as name:secret, separated by commas
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    api_key: Option<String>,
    /// PEM file of the TLS certificate chain
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// PEM file of the TLS private key
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Form of a log line: text, json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log: Option<String>,
    /// Least important level logged: error, warn, info, debug, trace, off [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl std::fmt::Debug for ConfigArgs {
    /// Without the values, some of which are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConfigArgs(hidden)")
    }
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Serve until a signal.
    Serve,
    /// Print the effective configuration.
    Config,
    /// Print the default configuration file.
    DefaultConfig,
    /// Try a running server.
    Check(check::Arguments),
    /// Put a load on a running server.
    Bench(load::Arguments),
    /// Print a token.
    Token(TokenArguments),
    /// Look after the store.
    Store(StoreAction),
}

/// What to do with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreAction {
    Info,
    Check,
    Export,
    Import,
}

/// What the token shall say.
#[derive(Debug)]
pub(crate) struct TokenArguments {
    /// `--sub`
    pub(crate) sub: String,
    /// `--name`
    pub(crate) name: Option<String>,
    /// `--rooms`
    pub(crate) rooms: Option<Vec<String>>,
    /// `--expires`
    pub(crate) expires: Duration,
}

/// The command line, taken apart.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// What to do.
    pub(crate) action: Action,
    /// `--config`
    pub(crate) file: Option<PathBuf>,
    /// The keys given by `--set` and by flags.
    pub(crate) arguments: Vec<Assignment>,
}

impl Cli {
    /// Takes the command line apart; flags before and after the subcommand's name count alike.
    ///
    /// # Errors
    /// `--config` given twice, or a `--set` without `=`.
    pub(crate) fn invocation(self) -> Result<Invocation, ConfigError> {
        let (action, inner) = match self.command {
            None => (Action::Serve, None),
            Some(Command::Serve(config)) => (Action::Serve, Some(config)),
            Some(Command::Config { default, config }) => {
                (if default { Action::DefaultConfig } else { Action::Config }, Some(config))
            }
            Some(Command::Check { arguments, config }) => (Action::Check(arguments), Some(config)),
            Some(Command::Bench { arguments, config }) => (Action::Bench(arguments), Some(config)),
            Some(Command::Store(StoreArgs { command })) => {
                let (action, config) = match command {
                    StoreCommand::Info(config) => (StoreAction::Info, config),
                    StoreCommand::Check(config) => (StoreAction::Check, config),
                    StoreCommand::Export(config) => (StoreAction::Export, config),
                    StoreCommand::Import(config) => (StoreAction::Import, config),
                };
                (Action::Store(action), Some(config))
            }
            Some(Command::Token(TokenArgs { sub, name, rooms, expires, config })) => {
                (Action::Token(TokenArguments { sub, name, rooms, expires }), Some(config))
            }
        };
        let mut file = self.config.config.clone();
        let mut arguments = self.config.assignments()?;
        if let Some(mut inner) = inner {
            if file.is_some() && inner.config.is_some() {
                return Err(ConfigError::new("--config", "given twice"));
            }
            file = file.or_else(|| inner.config.take());
            arguments.extend(inner.assignments()?);
        }
        if matches!(action, Action::DefaultConfig) && (file.is_some() || !arguments.is_empty()) {
            return Err(ConfigError::new("--default", "prints the defaults, so that nothing can be set beside it"));
        }
        Ok(Invocation { action, file, arguments })
    }
}

impl ConfigArgs {
    fn assignments(self) -> Result<Vec<Assignment>, ConfigError> {
        let mut assignments = Vec::new();
        for argument in self.set {
            let Some((key, text)) = argument.split_once('=') else {
                // Not the argument itself: it may be a secret that lost its key.
                return Err(ConfigError::new("--set", "expected KEY=VALUE, found no `=`"));
            };
            assignments.push(Assignment { key: key.to_owned(), text: text.to_owned(), source: Source::Set });
        }
        let origins = (!self.allow_origin.is_empty()).then(|| self.allow_origin.join(","));
        let flags = [
            ("listen", "--listen", self.listen),
            ("data_dir", "--data-dir", self.data_dir),
            ("workers", "--workers", self.workers),
            ("tls.cert", "--tls-cert", self.tls_cert),
            ("tls.key", "--tls-key", self.tls_key),
            ("auth.jwt_secret_file", "--jwt-secret-file", self.jwt_secret_file),
            ("auth.jwt_secret", "--jwt-secret", self.jwt_secret),
            ("auth.jwt_public_key", "--jwt-public-key", self.jwt_public_key),
            ("auth.jwks", "--jwks", self.jwks),
            ("store.kind", "--store", self.store),
            ("http.allow_origin", "--allow-origin", origins),
            ("http.api_key", "--api-key", self.api_key),
            ("log.format", "--log", self.log),
            ("log.level", "--log-level", self.log_level),
        ];
        for (key, flag, text) in flags {
            if let Some(text) = text {
                assignments.push(Assignment { key: key.to_owned(), text, source: Source::Flag(flag) });
            }
        }
        Ok(assignments)
    }
}

/// The fault of a command line as one line, or `None` when help or the version was asked for.
pub(crate) fn usage_error(error: &clap::Error) -> Option<String> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return None;
    }
    let rendered = error.render().to_string();
    let until_usage = rendered.split("\nUsage:").next().unwrap_or_default();
    let until_hint = until_usage.split("\nFor more information").next().unwrap_or_default();
    let paragraphs = until_hint.split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let line = paragraphs.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
    Some(line.trim_start_matches("error: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn invocation(arguments: &[&str]) -> Invocation {
        let arguments = std::iter::once("chat-server").chain(arguments.iter().copied());
        Cli::try_parse_from(arguments).unwrap().invocation().unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_count_before_and_after_the_subcommand() {
        for arguments in [
            &["--listen", "a", "--set", "x=1", "--config", "f"][..],
            &["serve", "--listen", "a", "--set", "x=1", "--config", "f"],
            &["--listen", "a", "serve", "--set", "x=1", "--config", "f"],
            &["--set", "x=1", "--config", "f", "serve", "--listen", "a"],
            &["--config", "f", "config", "--set", "x=1", "--listen", "a"],
            &["--config", "f", "token", "--sub", "s", "--set", "x=1", "--listen", "a"],
        ] {
            let invocation = invocation(arguments);
            let mut given: Vec<String> =
                invocation.arguments.iter().map(|given| format!("{given:?} {}", given.text)).collect();
            given.sort();
            assert_eq!(given, ["listen (--listen) a", "x (--set) 1"], "{arguments:?}");
            assert_eq!(invocation.file, Some(PathBuf::from("f")), "{arguments:?}");
        }
    }

    #[test]
    fn the_tools_of_the_store_take_flags() {
        for (name, action) in [
            ("info", StoreAction::Info),
            ("check", StoreAction::Check),
            ("export", StoreAction::Export),
            ("import", StoreAction::Import),
        ] {
            let invocation = invocation(&["store", name, "--data-dir", "d"]);
            assert!(matches!(invocation.action, Action::Store(of) if of == action), "{name}");
            assert_eq!(format!("{:?}", invocation.arguments), "[data_dir (--data-dir)]");
        }
    }

    #[test]
    fn every_main_flag_sets_its_key() {
        let rows = [
            ("--listen", "listen"),
            ("--data-dir", "data_dir"),
            ("--workers", "workers"),
            ("--tls-cert", "tls.cert"),
            ("--tls-key", "tls.key"),
            ("--jwt-secret-file", "auth.jwt_secret_file"),
            ("--jwt-secret", "auth.jwt_secret"),
            ("--jwt-public-key", "auth.jwt_public_key"),
            ("--jwks", "auth.jwks"),
            ("--store", "store.kind"),
            ("--allow-origin", "http.allow_origin"),
            ("--api-key", "http.api_key"),
            ("--log", "log.format"),
            ("--log-level", "log.level"),
        ];
        for (flag, key) in rows {
            let arguments = invocation(&[flag, "v"]).arguments;
            assert_eq!(format!("{arguments:?}"), format!("[{key} ({flag})]"));
            assert_eq!(arguments[0].text, "v");
        }
        let origins = invocation(&["--allow-origin", "a,b", "--allow-origin", "c"]).arguments;
        assert_eq!(origins[0].text, "a,b,c");
        let hyphen = invocation(&["--jwt-secret", "-x", "--listen", "a"]).arguments;
        assert_eq!(hyphen.iter().map(|given| given.text.as_str()).collect::<Vec<_>>(), ["a", "-x"]);
    }

    #[test]
    fn a_value_keeps_its_equals_signs() {
        let arguments = invocation(&["--set", "auth.jwt_secret=a=b=="]).arguments;
        assert_eq!((arguments[0].key.as_str(), arguments[0].text.as_str()), ("auth.jwt_secret", "a=b=="));
    }
}
