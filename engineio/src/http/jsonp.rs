//! JSONP: polling with script elements and forms, for browsers that can do nothing better. Engine.IO protocol v3 only.

use super::json;

/// The script that answers a poll: a call of the function whose number is in the request. It uses only the digits of
/// `number`, because the client chooses it and it is put into a script.
#[must_use]
pub fn script(number: &str, body: &str) -> String {
    let mut script = String::with_capacity(body.len() + body.len() / 8 + 24);
    script.push_str("___eio[");
    script.extend(number.chars().filter(char::is_ascii_digit));
    script.push_str("](");
    let start = script.len();
    json::push_string(body, &mut script);
    // These were line ends in scripts, though not in JSON, until ECMAScript 2019.
    if script.get(start..).is_some_and(|json| json.contains(['\u{2028}', '\u{2029}'])) {
        let escaped = script.split_off(start).replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
        script.push_str(&escaped);
    }
    script.push_str(");");
    script
}

/// The payload in the body of a POST: the form field `d`, in which `\n` means a line feed and `\\n` means `\n` (a form
/// would change line ends). `None` if the field is missing, repeated or not UTF-8.
#[must_use]
pub fn form_data(body: &[u8]) -> Option<String> {
    let mut fields = body.split(|byte| *byte == b'&').filter_map(|field| field.strip_prefix(b"d="));
    let (value, None) = (fields.next()?, fields.next()) else { return None };
    Some(restore_newlines(&decode_component(value)?))
}

/// Decodes a form value, strictly: a lenient decoder would pass on what nobody sent.
fn decode_component(value: &[u8]) -> Option<String> {
    let mut bytes = value.iter();
    let mut out = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => *byte,
        });
    }
    String::from_utf8(out).ok()
}

fn restore_newlines(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        (out, rest) = if let Some(after) = from.strip_prefix("\\\\n") {
            (out + "\\n", after)
        } else if let Some(after) = from.strip_prefix("\\n") {
            (out + "\n", after)
        } else {
            (out + "\\", from.strip_prefix('\\').unwrap_or_default())
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_calls_the_function_of_its_number() {
        for (number, body, expected) in [
            ("0", "2:4a", r#"___eio[0]("2:4a");"#),
            ("12", "", r#"___eio[12]("");"#),
            ("", "1:6", r#"___eio[]("1:6");"#),
            ("1];alert(2)", "1:6", r#"___eio[12]("1:6");"#),
            ("1", "5:4\"\\\n</script>", r#"___eio[1]("5:4\"\\\n</script>");"#),
            ("1", "a\u{2028}b\u{2029}€\0", r#"___eio[1]("a\u2028b\u2029€\u0000");"#),
        ] {
            assert_eq!(script(number, body), expected, "{number} {body:?}");
        }
    }

    #[test]
    fn a_form_holds_a_payload() {
        for (body, expected) in [
            (&b"d=2%3A4a"[..], Some("2:4a")),
            (b"d=2:4+", Some("2:4 ")),
            (b"x=1&d=3%3a4%E2%82%AC", Some("3:4€")),
            (b"d=", Some("")),
            // A backslash and n is a line feed; two backslashes and n are one backslash and n; others stay.
            (br"d=4a\nb", Some("4a\nb")),
            (br"d=4a\\nb", Some("4a\\nb")),
            (br"d=4a\\\nb", Some("4a\\\\nb")),
            (br"d=\n\\n\x\", Some("\n\\n\\x\\")),
            (b"d=%5Cn", Some("\n")),
            (b"", None),
            (b"e=1", None),
            (b"D=1", None),
            (b"d=1&d=2", None),
            (b"d=%", None),
            (b"d=%4", None),
            (b"d=%zz", None),
            (b"d=%ff", None),
        ] {
            assert_eq!(form_data(body).as_deref(), expected, "{}", body.escape_ascii());
        }
    }
}
