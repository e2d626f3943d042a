//! Development mode: a secret of its own, kept in the data directory, and tokens ready to use. That it serves loopback
//! only is checked by `config`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::{SignError, TokenRequest, sign};
use crate::config::{Auth, ConfigError, Secret};

/// File of the secret in the data directory.
const FILE: &str = "development.secret";
/// Random bytes of a new secret, as many as HS256 wants (RFC 7518 section 3.2).
const SECRET_BYTES: usize = 32;
/// The users whose tokens are printed, with their display names.
const USERS: [(&str, &str); 3] = [("alice", "Alice"), ("bob", "Bob"), ("carol", "Carol")];
/// How long those tokens last: a day of work.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Where this data directory has its development secret.
pub(crate) fn file(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// The development secret of this data directory, made on first use, readable by its owner only.
///
/// # Errors
/// Names `data_dir` when the directory or the file cannot be made or read, the file holds no secret, or others than its owner may
/// know it.
pub(crate) fn secret(data_dir: &Path) -> Result<Secret, ConfigError> {
    let path = file(data_dir);
    let fail = |error: io::Error| {
        ConfigError::new("data_dir", format!("cannot keep the development secret in {}: {error}", path.display()))
    };
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => create(data_dir, &path).map_err(fail)?,
        Err(error) => return Err(fail(error)),
    };
    let text = text.trim();
    // A file cut short by hand would sign tokens that anybody can forge.
    if URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() >= SECRET_BYTES) {
        Ok(Secret::new(text))
    } else {
        Err(ConfigError::new("data_dir", format!("{} holds no secret; remove it to get a new one", path.display())))
    }
}

/// Whether this data directory has a development secret already.
pub(crate) fn has_secret(data_dir: &Path) -> bool {
    file(data_dir).exists()
}

/// The content of the file, if nobody but its owner can have put it there or read it.
fn read(path: &Path) -> io::Result<String> {
    // Of the name itself: a link may lead to a file of somebody else's choice.
    let named = fs::symlink_metadata(path)?;
    let mut file =
        if named.is_file() { File::open(path)? } else { return Err(refused("it is a link or no file at all")) };
    let opened = file.metadata()?;
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(refused("it was replaced while it was opened"));
    }
    if opened.mode() & 0o077 != 0 {
        return Err(refused(
            "others than its owner can read or change it; remove it to get a new one, or chmod 600 it",
        ));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn refused(reason: &'static str) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, reason)
}

/// Makes the file whole or not at all, and never over another one: of two processes that start together, both get the
/// secret of the first.
fn create(data_dir: &Path, path: &Path) -> io::Result<String> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
    let mut text = random()?;
    text.push('\n');
    let unfinished = data_dir.join(format!("{FILE}.{}", std::process::id()));
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(error),
        Ok(()) => Ok(text),
    }
}

fn random() -> io::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The lines `token NAME JWT` of development mode, ready to print. `now` is the time since the Unix epoch.
///
/// # Errors
/// There is no secret in `auth`.
pub(crate) fn token_lines(auth: &Auth, now: Duration) -> Result<String, SignError> {
    let mut lines = String::new();
    for (sub, name) in USERS {
        let token = sign(auth, &TokenRequest { sub, name: Some(name), rooms: None, lifetime: LIFETIME }, now)?;
        lines.push_str(&format!("token {sub} {token}\n"));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::auth::Verifier;

    #[test]
    fn the_secret_is_made_once_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("a/b");
        let first = secret(&data_dir).unwrap();
        assert_eq!(secret(&data_dir).unwrap(), first);
        assert!(first.expose().len() > SECRET_BYTES);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data_dir.join(FILE)), 0o600);
        assert_eq!(mode(&data_dir), 0o700);
        assert_eq!(fs::read_dir(&data_dir).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn processes_that_start_together_agree() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let first = create(directory.path(), &path).unwrap();
        assert_eq!(create(directory.path(), &path).unwrap(), first);
    }

    #[test]
    fn a_file_without_a_secret_is_refused() {
        for text in ["", "\n", "short", "not base64 but long enough to hold thirty-two bytes"] {
            let directory = tempfile::tempdir().unwrap();
            write(directory.path(), text, 0o600);
            let error = secret(directory.path()).unwrap_err().to_string();
            assert!(error.starts_with("data_dir: ") && error.contains("holds no secret"), "{text:?}: {error}");
        }
    }

    /// A file of this name, with these permissions whatever the process's mask.
    fn write(directory: &Path, text: &str, mode: u32) {
        fs::write(directory.join(FILE), text).unwrap();
        fs::set_permissions(directory.join(FILE), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_that_others_may_know_is_refused() {
        let text = "A".repeat(43);
        let text = text.as_str();
        for (mode, taken) in [(0o600, true), (0o400, true), (0o604, false), (0o640, false), (0o620, false)] {
            let directory = tempfile::tempdir().unwrap();
            write(directory.path(), text, mode);
            let secret = secret(directory.path());
            assert_eq!(secret.as_ref().map_err(ToString::to_string).is_ok(), taken, "{mode:o}: {secret:?}");
            if let Err(error) = secret {
                assert!(error.to_string().contains("others than its owner"), "{error}");
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = directory.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        write(&elsewhere, text, 0o600);
        for target in [elsewhere.join(FILE), elsewhere.clone(), elsewhere.join("nowhere")] {
            let link = directory.path().join(FILE);
            std::os::unix::fs::symlink(&target, &link).unwrap();
            let error = secret(directory.path()).unwrap_err().to_string();
            assert!(error.contains("it is a link"), "{target:?}: {error}");
            fs::remove_file(link).unwrap();
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = secret(&file.join("data")).unwrap_err().to_string();
        assert!(error.starts_with("data_dir: ") && error.contains("file/data"), "{error}");
    }

    #[test]
    fn the_tokens_are_ready_to_use() {
        let now = Duration::from_secs(1_800_000_000);
        let auth = Auth { jwt_secret: Some(Secret::new("s")), ..Auth::default() };
        let lines = token_lines(&auth, now).unwrap();
        let verifier = Verifier::new(&auth);
        let users: Vec<(String, String)> = lines
            .lines()
            .map(|line| {
                let mut words = line.split(' ');
                assert_eq!(words.next(), Some("token"));
                let name = words.next().unwrap();
                let claims = verifier.verify(words.next().unwrap(), now).unwrap();
                assert_eq!(claims.sub, name);
                assert_eq!(words.next(), None);
                (claims.sub, claims.name)
            })
            .collect();
        assert_eq!(users, USERS.map(|(sub, name)| (sub.to_owned(), name.to_owned())));
        assert_eq!(token_lines(&Auth::default(), now), Err(SignError::Secret));
    }
}
