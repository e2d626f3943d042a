//! Secrets: where they come from, what is never printed, and where they may be used.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::{keys::Key, value::Shown};

#[test]
fn secrets_are_never_printed() {
    let config = load_set(&[("auth.jwt_secret", "hunter2"), ("auth.jwt_previous_secret", "hunter3")]).unwrap();
    for text in [format!("{config:?}"), config.to_toml(), format!("{:?}", set(&[("auth.jwt_secret", "hunter2")]))] {
        assert!(!text.contains("hunter"), "{text}");
    }
    let printed = config.to_toml();
    for key in ["jwt_secret", "jwt_previous_secret"] {
        assert!(printed.contains(&format!("# {key} = \"(set, hidden)\"\n")), "{printed}");
    }
    for (key, url, shown) in [
        ("auth.jwks", "https://a:hunter2@id.example/keys?key=hunter2", "https://(hidden)@id.example/keys?(hidden)"),
        ("webhooks.url", "https://app.example/hook?token=hunter2", "https://app.example/hook?(hidden)"),
    ] {
        let config = load_set(&[(key, url), ("webhooks.secret", "hunter2")]).unwrap();
        let (printed, name) = (config.to_toml(), key.split_once('.').unwrap().1);
        assert!(!format!("{config:?}{printed}").contains("hunter"), "{config:?}");
        assert!(printed.contains(&format!("\n# {name} = \"{shown}\"\n")), "{printed}");
        assert!(load_file(&printed).is_ok(), "it can be fed back");
        let mut other = load_set(&[(key, &url.replace("hunter2", "hunter3")), ("webhooks.secret", "hunter2")]).unwrap();
        let plain = load_set(&[(key, "https://a.example/"), ("webhooks.secret", "hunter2")]).unwrap();
        for (new, line) in [
            (config, format!("{key}: \"{shown}\", changed in a part that is hidden")),
            (plain, format!("{key}: \"{shown}\" is now \"https://a.example/\"")),
        ] {
            let expected = if key == "auth.jwks" { Change::Made(line) } else { Change::NeedsRestart(key) };
            assert_eq!(other.take_changes(&new), [expected]);
        }
        let fault = error_of(load_set(&[(key, &format!("[\"{url}\"]")), (key, "x")]));
        assert!(!fault.contains("hunter"), "{fault}");
        let fault = error_of(load_file(&format!("[{}]\n{name} = [\"{url}\"]\n", key.split_once('.').unwrap().0)));
        assert!(!fault.contains("hunter") && fault.ends_with("expected a string, got array"), "{fault}");
    }
    let secrets = KEYS.iter().filter(|key| (key.slot)(&mut config.clone()).shown() == Shown::Hidden);
    assert!(secrets.into_iter().all(Key::is_secret), "what is hidden is known as a secret");
    assert!(load_file(&printed).unwrap().development, "a placeholder never becomes the secret");
}

#[test]
fn a_secret_in_the_command_line_is_warned_of_without_being_repeated() {
    let arguments = set(&[
        ("auth.jwt_secret", "hunter2"),
        ("listen", "[::1]:0"),
        ("http.api_key", "hunter3"),
        ("auth.jwks", "https://hunter4@id.example/"),
        ("webhooks.url", "https://app.example/"),
    ]);
    let Exposed { secrets, warnings } = exposed(&arguments);
    assert_eq!((secrets, warnings.len()), (vec!["hunter2", "hunter3", "https://hunter4@id.example/"], 3));
    assert!(warnings[0].starts_with("auth.jwt_secret (--set): every user") && !warnings.concat().contains("hunter"));
}

/// A file that holds this, for its owner only.
fn file(directory: &Path, content: &[u8]) -> String {
    let path = directory.join("secret");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

const LONG: &str = "a secret that is long enough for anybody";

#[test]
fn a_line_break_at_the_end_of_a_secret_is_cut_off_with_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let binary = [b"\xff a key of random bytes, thirty-two of them".as_slice(), b"\n"].concat();
    for (content, expected, warns) in [
        (LONG.as_bytes(), LONG.as_bytes(), false),
        (format!("{LONG}\n").as_bytes(), LONG.as_bytes(), true),
        (format!("{LONG}\r\n").as_bytes(), LONG.as_bytes(), true),
        (format!("{LONG}\n\n").as_bytes(), format!("{LONG}\n").as_bytes(), true),
        (format!(" {LONG} ").as_bytes(), format!(" {LONG} ").as_bytes(), false),
        (&binary, &binary, false),
    ] {
        let path = file(directory.path(), content);
        for key in ["auth.jwt_secret_file", "auth.jwt_previous_secret_file"] {
            let previous = key.contains("previous");
            let pairs = [(key, &*path), ("auth.jwt_secret", LONG)];
            let config = load_set(if previous { &pairs } else { &pairs[..1] }).unwrap();
            let secret =
                if previous { &config.auth.jwt_previous_secret } else { &config.auth.jwt_secret }.as_ref().unwrap();
            assert_eq!(secret.expose(), expected, "{key} {content:?}");
            let warnings = config.warnings().join("\n");
            assert_eq!(!warnings.is_empty(), warns, "{key} {content:?}: {warnings}");
            assert!(!warns || (warnings.starts_with(key) && warnings.contains("line break")), "{warnings}");
        }
        // From everywhere else it is the same, but that these hold text only.
        let Ok(text) = std::str::from_utf8(content) else { continue };
        let toml = format!("[auth]\njwt_secret = {}\n", toml::Value::String(text.to_owned()));
        for (result, source) in [
            (load(None, Vec::new(), variables(&[("CHAT_AUTH__JWT_SECRET", text)])), "variable CHAT_AUTH__JWT_SECRET"),
            (load_set(&[("auth.jwt_secret", text)]), "--set"),
            (load_file(&toml), "file "),
        ] {
            let config = result.unwrap();
            assert_eq!(config.auth.jwt_secret.as_ref().unwrap().expose(), expected, "{source} {text:?}");
            let warnings = config.warnings().join("\n");
            assert_eq!(warnings.starts_with(&format!("auth.jwt_secret ({source}")), warns, "{warnings}");
        }
    }
    // What else a variable brings from a file has one too.
    let config = load(None, Vec::new(), variables(&[("CHAT_AUTH__ISSUER", "me\n"), ("CHAT_LIMITS__STRIKES", "3\n")]));
    let config = config.unwrap();
    assert_eq!((config.auth.issuer.as_deref(), config.limits.strikes, config.warnings().len()), (Some("me"), 3, 2));
    for empty in ["\n", "\r\n"] {
        assert!(error_of(load_set(&[("auth.jwt_secret", empty)])).ends_with("must not be empty"));
        let path = file(directory.path(), empty.as_bytes());
        assert!(error_of(load_set(&[("auth.jwt_secret_file", &path)])).ends_with("is empty"));
    }
}

#[test]
fn a_secret_comes_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), LONG.as_bytes());
    let config = load_set(&[("auth.jwt_secret_file", &path), ("listen", "0.0.0.0:0")]).unwrap();
    assert!(!config.development && config.warnings().is_empty() && config.check_serving().is_ok());
    let printed = config.to_toml();
    assert!(printed.contains("# jwt_secret = \"(set, hidden)\"") && !printed.contains(LONG), "{printed}");
    assert_eq!(load_file(&printed).unwrap().auth.jwt_secret, config.auth.jwt_secret, "what is printed names the file");
    let both = load_set(&[("auth.jwt_secret_file", &path), ("auth.jwt_secret", LONG)]);
    assert_eq!(error_of(both), "auth.jwt_secret_file (--set): given beside auth.jwt_secret; one of them must go");
    let alone = error_of(load_set(&[("auth.jwt_previous_secret_file", &path)]));
    assert!(alone.starts_with("auth.jwt_previous_secret: needs auth.jwt_secret"), "{alone}");
    let pem = file(directory.path(), b"-----BEGIN PUBLIC KEY-----\n");
    assert!(error_of(load_set(&[("auth.jwt_secret_file", &pem)])).contains("is a PEM key"));
    // A container's secrets are links to files for everybody: a warning, no refusal.
    let path = file(directory.path(), LONG.as_bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let config = load_set(&[("auth.jwt_secret_file", link.to_str().unwrap())]).unwrap();
    assert_eq!(config.warnings(), ["auth.jwt_secret_file: the file can be read by every user of this machine"]);
}

#[test]
fn a_short_secret_is_for_loopback_only_unless_it_is_forced() {
    let (fits, short) = ("x".repeat(32), "x".repeat(31));
    for (secret, previous, listen, forced, refused) in [
        (&fits, None, "0.0.0.0:0", "false", None),
        (&short, None, "0.0.0.0:0", "false", Some("auth.jwt_secret: ")),
        (&fits, Some(&short), "192.0.2.1:0", "false", Some("auth.jwt_previous_secret: ")),
        (&short, None, "[::]:0", "false", Some("auth.jwt_secret: ")),
        (&short, None, "[::1]:0", "false", None),
        (&short, None, "127.0.0.1:0", "false", None),
        (&short, Some(&short), "0.0.0.0:0", "true", None),
    ] {
        let mut pairs = vec![("auth.jwt_secret", &**secret), ("listen", listen), ("auth.allow_short_secret", forced)];
        pairs.extend(previous.map(|previous| ("auth.jwt_previous_secret", &**previous)));
        let config = load_set(&pairs).unwrap();
        let is_short = secret == &short || previous == Some(&short);
        assert_eq!(config.warnings().iter().any(|warning| warning.contains("may be guessed")), is_short, "{pairs:?}");
        let error = config.check_serving().err().map(|error| error.to_string());
        assert_eq!(error.is_some(), refused.is_some(), "{pairs:?}: {error:?}");
        if let (Some(error), Some(start)) = (error, refused) {
            assert!(error.starts_with(start) && error.contains("auth.allow_short_secret"), "{error}");
        }
    }
}

#[test]
fn a_short_key_of_the_api_counts_where_the_api_is() {
    let (loopback, open) = ("127.0.0.1:1", "0.0.0.0:2");
    for (listen, admin, served) in [
        (loopback, None, true),
        (open, None, false),
        (loopback, Some(open), false),
        (open, Some(loopback), true),
        (loopback, Some("127.0.0.1:3"), true),
    ] {
        for (key, forced) in
            [("ops:short", "false"), ("ops:short", "true"), (&*format!("ops:{}", "x".repeat(32)), "false")]
        {
            let mut pairs = vec![("auth.jwt_secret", LONG), ("listen", listen), ("http.api_key", key)];
            pairs.push(("auth.allow_short_secret", forced));
            pairs.extend(admin.map(|admin| ("http.admin_listen", admin)));
            let refusal = load_set(&pairs).unwrap().check_serving().err().map(|error| error.to_string());
            assert_eq!(refusal.is_none(), served || forced == "true" || key.contains("xxx"), "{pairs:?}: {refusal:?}");
            assert!(
                refusal.is_none_or(|line| line.starts_with("http.api_key: shorter") && line.contains("use the API"))
            );
        }
    }
}

#[test]
fn development_mode_is_for_loopback_only() {
    for (listen, serves) in [
        ("127.0.0.1:0", true),
        ("127.8.9.10:0", true),
        ("[::1]:0", true),
        ("[::ffff:127.0.0.1]:0", true),
        ("0.0.0.0:0", false),
        ("[::]:0", false),
        ("192.0.2.1:0", false),
        ("[::ffff:192.0.2.1]:0", false),
    ] {
        let config = load_set(&[("listen", listen)]).unwrap();
        assert!(config.development);
        assert_eq!(config.check_serving().is_ok(), serves, "{listen}");
        assert!(config.warnings().is_empty(), "{listen}");
        let config =
            load_set(&[("listen", listen), ("auth.jwt_secret", "a secret that is long enough for anybody")]).unwrap();
        assert!(!config.development && config.check_serving().is_ok() && config.warnings().is_empty(), "{listen}");
    }
    let error = load_set(&[("listen", "0.0.0.0:80")]).unwrap().check_serving().unwrap_err().to_string();
    assert!(error.starts_with("auth.jwt_secret: not set: "), "{error}");
    let short = load_set(&[("auth.jwt_secret", "short")]).unwrap();
    assert_eq!(short.warnings(), ["auth.jwt_secret is shorter than 32 bytes and may be guessed"]);
}
