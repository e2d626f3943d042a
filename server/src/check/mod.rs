//! `chat-server check URL`: whether a running server works for clients that come by this URL, perhaps through a proxy.
//!
//! | file | what it does |
//! |---|---|
//! | `steps` | what is tried, a function each |
//! | `finding` | what came of a step |
//! | `advice` | what an operator can do about a failure |
//! | `report` | one line for each step, and the sum |

mod advice;
mod finding;
mod report;
mod steps;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use tokio::time::timeout;

use crate::{
    client::{ClientError, Connector, Target},
    config::Secret,
};

use finding::{Fault, Finding};
use report::Report;
use steps::Context;

/// The command line of `check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// URL of the server, or of the proxy in front of it, such as `https://chat.example.com`
    #[arg(value_name = "URL", value_parser = Target::parse)]
    url: Target,
    /// URL of http.admin_listen, where the server has it, for /healthz, /readyz and /metrics [default: the configuration's, if the URL is
    /// of this machine]
    #[arg(long, value_name = "URL", value_parser = Target::parse)]
    admin: Option<Target>,
    /// File with a token of a user made for this [default: one signed with the configuration's secret, if there is one]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The token itself, which every user of the machine can then see: better --token-file
    #[arg(long, value_name = "TOKEN", value_parser = secret, conflicts_with = "token_file")]
    token: Option<Secret>,
    /// Use no token, not even one signed with the configuration's secret: nobody sees the check, and it writes nothing
    #[arg(long, conflicts_with_all = ["token_file", "token"])]
    no_token: bool,
    /// Room to write a message to; it stays in the history
    #[arg(long, value_name = "ROOM", default_value = "chat-server-check")]
    room: String,
    /// Write no message
    #[arg(long)]
    read_only: bool,
    /// Origin of a page that has to be allowed; others have to be refused
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// Stay silent until the server's next heartbeat, to see whether a proxy cuts quiet connections
    #[arg(long)]
    heartbeat: bool,
    /// PEM file of a certificate authority to trust beside the operating system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The longest that a step may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// The user of a token that this program signs for its own checks.
pub(crate) const USER: &str = "chat-server-check";

impl Arguments {
    /// The token that was given.
    ///
    /// # Errors
    /// Its file cannot be read.
    fn given_token(&self) -> anyhow::Result<Option<String>> {
        if let Some(path) = &self.token_file {
            let text = std::fs::read_to_string(path).with_context(|| format!("--token-file {}", path.display()))?;
            return Ok(Some(text.trim().to_owned()));
        }
        let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
        Ok(self.token.as_ref().map(text))
    }

    /// The token, if it stands in the command line.
    pub(crate) fn exposed_token(&self) -> Option<&str> {
        self.token.as_ref().and_then(|token| std::str::from_utf8(token.expose()).ok())
    }

    /// Where the operator's paths are, if not at the URL.
    fn admin(&self, listen: Option<SocketAddr>) -> Option<Target> {
        self.admin.clone().or_else(|| {
            // Elsewhere the configuration may be another server's, and the address one that cannot be reached.
            let mut address = listen.filter(|address| self.url.is_loopback() && address.port() != 0)?;
            if address.ip().is_unspecified() {
                address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
            }
            Target::parse(&format!("http://{address}")).ok()
        })
    }

    /// The room that a token must open.
    pub(crate) fn room(&self) -> &str {
        &self.room
    }
}

/// Tries everything, and prints a line for each step. `admin_listen` is the configuration's; `sign` makes a token, if there is something
/// to sign with.
///
/// # Errors
/// A step failed, or nothing could be tried.
pub(crate) fn run(
    arguments: &Arguments,
    admin_listen: Option<SocketAddr>,
    sign: impl FnOnce() -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    let token = match arguments.given_token()? {
        Some(token) => Some(token),
        None if arguments.no_token => None,
        None => sign()?,
    };
    let connect = |target| Connector::new(target, arguments.ca.as_deref());
    let connector = connect(arguments.url.clone())?;
    let admin = arguments.admin(admin_listen).map(connect).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    let mut report = Report::new(&arguments.url)?;
    let context = Context { connector, admin, token, room: arguments.room.clone(), limit: arguments.timeout };
    runtime.block_on(try_all(&context, arguments, &mut report))?;
    report.end()
}

async fn try_all(context: &Context, arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let no_token = if arguments.no_token {
        "--no-token"
    } else {
        "there is no token: use --token-file, or the server's own --config or --jwt-secret-file"
    };
    let limit = context.limit;
    if !report.add("connect", bounded(limit, steps::connect(context)).await)? {
        return Ok(());
    }
    report.add("alive", bounded(limit, steps::alive(context)).await)?;
    report.add("ready", bounded(limit, steps::ready(context)).await)?;
    report.add("metrics", bounded(limit, steps::metrics(context)).await)?;
    let polling = report.add("polling", bounded(limit, steps::polling(context)).await)?;
    let web_socket = report.add("websocket", bounded(limit, steps::web_socket(context)).await)?;
    let upgrade = polling && web_socket;
    match context.token.as_deref() {
        None => {
            for step in ["token", "upgrade", "message"] {
                report.skip(step, no_token)?;
            }
        }
        Some(token) => {
            let accepted = report.add("token", bounded(limit, steps::token(context, token)).await)?;
            if accepted && upgrade {
                report.add("upgrade", bounded(limit, steps::upgrade(context, token)).await)?;
            } else {
                report.skip("upgrade", "a step that it needs failed")?;
            }
            if arguments.read_only {
                report.skip("message", "--read-only")?;
            } else if accepted && web_socket {
                report.add("message", bounded(limit, steps::message(context, token)).await)?;
            } else {
                report.skip("message", "a step that it needs failed")?;
            }
        }
    }
    if let Some(origin) = &arguments.origin {
        report.add("origin", bounded(limit, steps::origin(context, origin)).await)?;
    }
    if arguments.heartbeat {
        match context.token.as_deref() {
            Some(token) => report.add("heartbeat", steps::heartbeat(context, token).await)?,
            None => report.skip("heartbeat", no_token)?,
        };
    }
    Ok(())
}

async fn bounded(limit: Duration, step: impl Future<Output = Result<Finding, Fault>>) -> Result<Finding, Fault> {
    timeout(limit, step).await.unwrap_or_else(|_| Err(ClientError::Timeout(limit).into()))
}
