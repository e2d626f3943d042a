//! The command line as `ps` shows it to every user of the machine. Secrets that stand in it are hidden: the process starts its own program
//! again in its place, with these arguments in variables, which only its own user can read. The process id stays, and so do open files.

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        process::CommandExt as _,
    },
    process::{self, Command},
};

use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

/// What `ps` shows instead of a secret.
const HIDDEN: &[u8] = b"hidden";

/// The arguments of this process, its name first.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// As they were given.
    given: Vec<OsString>,
    /// Whether `ps` shows some of them as hidden.
    are_hidden: bool,
}

impl Arguments {
    /// As this process was started, with what [`Arguments::hide`] has put into variables.
    pub(crate) fn of_process() -> Self {
        Self::restore(env::args_os(), env::var_os)
    }

    /// As they were given.
    pub(crate) fn given(&self) -> &[OsString] {
        &self.given
    }

    fn restore(shown: impl Iterator<Item = OsString>, variable: impl Fn(String) -> Option<OsString>) -> Self {
        let mut are_hidden = false;
        let restored = |(index, shown): (usize, OsString)| {
            if !shown.as_bytes().ends_with(HIDDEN) {
                return shown;
            }
            let Some(given) = variable(name(index)) else { return shown };
            are_hidden = true;
            given
        };
        Self { given: shown.enumerate().map(restored).collect(), are_hidden }
    }

    /// Hides the arguments that end with one of these texts. Returns only when there is nothing left to hide.
    ///
    /// # Errors
    /// The program could not be started again; everything is as before.
    pub(crate) fn hide(&self, secrets: &[&str]) -> io::Result<()> {
        let (shown, variables) = self.hidden(secrets);
        // Once is enough: a second time could only be the first of an endless row.
        if variables.is_empty() || self.are_hidden {
            return Ok(());
        }
        let mut command = Command::new(env::current_exe()?);
        let mut shown = shown.into_iter();
        if let Some(name) = shown.next() {
            command.arg0(name);
        }
        let error = command.args(shown).envs(variables).exec();
        endure_broken_pipes()?;
        Err(error)
    }

    /// What `ps` is to show, and the variables of what it is not.
    fn hidden(&self, secrets: &[&str]) -> (Vec<OsString>, Vec<(String, OsString)>) {
        let (mut shown, mut variables) = (self.given.clone(), Vec::new());
        for (index, (shown, given)) in shown.iter_mut().zip(&self.given).enumerate().skip(1) {
            // An argument that only looks like a secret does no harm: it is restored as well.
            let without = |secret: &&str| given.as_bytes().strip_suffix(secret.as_bytes());
            let secrets = secrets.iter().filter(|secret| !secret.is_empty());
            let Some(before) = secrets.filter_map(without).min_by_key(|before| before.len()) else { continue };
            *shown = OsString::from_vec([before, HIDDEN].concat());
            variables.push((name(index), given.clone()));
        }
        (shown, variables)
    }
}

/// Makes a write into a broken pipe an error again, as it is in every Rust program. `exec` lets SIGPIPE end the process, and leaves that so
/// where it fails. A handler of tokio's stays when its runtime is gone.
fn endure_broken_pipes() -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    signal(SignalKind::pipe()).map(drop)
}

/// The variable of an argument. Not `CHAT_`, which begins those of the configuration. It has the id of the process, which stays: a variable
/// of another process may have been inherited, and an argument may end in that word by itself.
fn name(index: usize) -> String {
    format!("CHATSERVER_ARGUMENT_{}_{index}", process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(given: &[&str]) -> Arguments {
        Arguments { given: given.iter().map(OsString::from).collect(), are_hidden: false }
    }

    #[test]
    fn what_is_hidden_is_restored() {
        let given =
            arguments(&["chat-server", "--jwt-secret", "hunter2", "--set=http.api_key=a:2", "--data-dir", "/d2"]);
        let (shown, variables) = given.hidden(&["a:2", "2", "hunter2", ""]);
        let expected = ["chat-server", "--jwt-secret", "hidden", "--set=http.api_key=hidden", "--data-dir", "/dhidden"];
        assert_eq!(shown, expected);
        let variable = |name| variables.iter().find(|(of, _)| *of == name).map(|(_, value)| value.clone());
        let restored = Arguments::restore(shown.into_iter(), variable);
        assert_eq!((restored.given, restored.are_hidden), (given.given, true));
    }

    #[test]
    fn arguments_that_nobody_hid_are_left_alone() {
        let shown = ["chat-server", "--jwt-secret", "hidden"].map(OsString::from);
        let restored = Arguments::restore(shown.clone().into_iter(), |_| None);
        assert_eq!((restored.given.as_slice(), restored.are_hidden), (&shown[..], false));
    }
}
