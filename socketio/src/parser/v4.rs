//! Where protocol v4 of Socket.IO differs from v5 for a server. Clients of version 2 speak it, over Engine.IO v3.
//!
//! - A client is connected to `/` without a CONNECT of its own. The answers to CONNECT are in [`super::Encoder`].
//! - A client that connects to another namespace may put a query behind its name: `0/chat?token=abc,`. It has the place of
//!   v5's auth payload. Node reads such names as URLs, in packets of every type, and so does [`split`].
//!
//! Events, acknowledgements and attachments are the same. Socket.IO protocol v5, "Difference between v5 and v4".

use std::{borrow::Cow, collections::HashMap};

use crate::json;

/// The longest name with its query, in bytes: as much as the engine accepts for the path and query of a request, where the
/// same clients put the same query.
pub(crate) const MAX_NAME: usize = 8 * 1024;

/// The most members of a query that are read, as in Node's `querystring`.
const MAX_MEMBERS: usize = 1000;

/// The namespace and the query of a name.
pub(crate) fn split(name: &str) -> (&str, &str) {
    let (name, _fragment) = name.split_once('#').unwrap_or((name, ""));
    name.split_once('?').unwrap_or((name, ""))
}

/// A query as an auth payload: a JSON object whose values are strings, or arrays of strings where a name is repeated.
/// `None` for a query without members.
pub(crate) fn auth(query: &str) -> Option<String> {
    let mut members: Vec<(Cow<'_, str>, Vec<Cow<'_, str>>)> = Vec::new();
    let mut places = HashMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()).take(MAX_MEMBERS) {
        let place = *places.entry(name.clone()).or_insert(members.len());
        match members.get_mut(place) {
            Some((_, values)) => values.push(value),
            None => members.push((name, vec![value])),
        }
    }
    let mut object = Vec::with_capacity(query.len() + 16);
    for (name, values) in &members {
        object.push(if object.is_empty() { b'{' } else { b',' });
        json::quote(name, &mut object);
        object.push(b':');
        push_values(values, &mut object);
    }
    if object.is_empty() {
        return None;
    }
    object.push(b'}');
    String::from_utf8(object).ok()
}

fn push_values(values: &[Cow<'_, str>], out: &mut Vec<u8>) {
    if let [value] = values {
        return json::quote(value, out);
    }
    for (index, value) in values.iter().enumerate() {
        out.push(if index == 0 { b'[' } else { b',' });
        json::quote(value, out);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_split_at_its_query() {
        for (name, expected) in [
            ("/", ("/", "")),
            ("/chat", ("/chat", "")),
            ("/chat?", ("/chat", "")),
            ("/chat?token=abc", ("/chat", "token=abc")),
            ("/chat?a=1?b=2", ("/chat", "a=1?b=2")),
            ("/chat?a=1#b", ("/chat", "a=1")),
            ("/chat#b?a=1", ("/chat", "")),
            ("/?a=1", ("/", "a=1")),
        ] {
            assert_eq!(split(name), expected, "{name}");
        }
    }

    #[test]
    fn a_query_is_an_object_of_strings() {
        #[rustfmt::skip]
        let table = [
            ("", None),
            ("&&", None),
            ("token=abc", Some(r#"{"token":"abc"}"#)),
            ("a=1&b=x+y%20z&c", Some(r#"{"a":"1","b":"x y z","c":""}"#)),
            // What `parseqs` of the client makes of such values.
            ("n=%C3%A9%22%5C&b=true", Some(r#"{"n":"é\"\\","b":"true"}"#)),
            ("a=1&b=2&a=3&a=4", Some(r#"{"a":["1","3","4"],"b":"2"}"#)),
            // Not UTF-8, no escape, no name, one `=` too many.
            ("a=%ff&b=%zz&=c&d=e=f", Some("{\"a\":\"\u{fffd}\",\"b\":\"%zz\",\"\":\"c\",\"d\":\"e=f\"}")),
            ("__proto__=1", Some(r#"{"__proto__":"1"}"#)),
        ];
        for (query, expected) in table {
            assert_eq!(auth(query).as_deref(), expected, "{query}");
        }
    }

    #[test]
    fn no_more_members_are_read_than_node_reads() {
        let query: Vec<String> = (0..2000).map(|index| format!("k{index}")).collect();
        let object = auth(&query.join("&")).unwrap();
        assert_eq!(json::members(&object).count(), MAX_MEMBERS);
    }
}
