//! The chat protocol is documented in English and in French, section by section. What a client's code depends on must not differ:
//! names, keys and codes (the text between backticks), examples, rows of tables.
//!
//! The metrics that documents and the dashboard name are those of a running server.

mod support;

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};

use support::{PATIENCE, Server};

const ENGLISH: &str = "chat-protocol.md";
const FRENCH: &str = "protocole-chat.md";

/// What must be the same in both languages, of one section.
#[derive(Debug, Default, PartialEq, Eq)]
struct Section {
    /// How many `#` its heading has; 0 of what comes before the first.
    level: usize,
    /// The examples between fences.
    examples: Vec<String>,
    /// The code spans, sorted, since word order differs.
    code: Vec<String>,
    table_rows: usize,
    /// Items of lists.
    items: usize,
}

/// The sections of a document, with their headings.
fn sections(text: &str) -> Vec<(String, Section)> {
    let mut sections = vec![(String::new(), Section::default())];
    let mut prose = vec![String::new()];
    let mut fenced = false;
    for line in text.lines() {
        let (_, section) = sections.last_mut().expect("there is a first one");
        if line.starts_with("```") {
            fenced = !fenced;
            if fenced {
                section.examples.push(String::new());
            }
        }
        if fenced || line.starts_with("```") {
            let example = section.examples.last_mut().expect("begun at the fence");
            *example += line;
            example.push('\n');
            continue;
        }
        let level = line.chars().take_while(|&c| c == '#').count();
        if level > 0 {
            sections.push((line.to_owned(), Section { level, ..Section::default() }));
            prose.push(String::new());
        } else {
            section.table_rows += usize::from(line.starts_with('|'));
            let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
            section.items +=
                usize::from(line.starts_with("- ") || number.len() < line.len() && number.starts_with(". "));
        }
        let prose = prose.last_mut().expect("one of each section");
        *prose += line;
        prose.push(' ');
    }
    assert!(!fenced, "a fence is not closed");
    for ((heading, section), prose) in sections.iter_mut().zip(prose) {
        let parts: Vec<&str> = prose.split('`').collect();
        assert!(parts.len() % 2 == 1, "a code span is not closed below {heading:?}");
        section.code = parts.into_iter().skip(1).step_by(2).map(str::to_owned).collect();
        section.code.sort_unstable();
    }
    sections
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the first list has more often than the second; both are sorted.
fn missing(from: &[String], of: &[String]) -> Vec<String> {
    let mut rest = from.to_vec();
    rest.retain({
        let mut of = of.to_vec();
        move |code| of.iter().position(|other| other == code).map(|at| of.swap_remove(at)).is_none()
    });
    rest
}

#[test]
fn the_chat_protocol_is_the_same_in_english_and_french() {
    let (english, french) = (sections(&read(ENGLISH)), sections(&read(FRENCH)));
    for ((heading, section), (titre, other)) in english.iter().zip(&french) {
        let place = format!("{ENGLISH}, {heading:?}, and {FRENCH}, {titre:?}");
        let only = (missing(&section.code, &other.code), missing(&other.code, &section.code));
        assert_eq!(only, (vec![], vec![]), "{place}: code spans that only the one or only the other has");
        assert_eq!(section, other, "{place}");
    }
    assert_eq!(english.len(), french.len(), "the number of sections");
    assert!(english.len() > 8 && english.iter().any(|(_, section)| section.table_rows > 10), "the documents were read");
}

#[test]
fn each_language_links_to_the_other() {
    for (name, other) in [(ENGLISH, FRENCH), (FRENCH, ENGLISH)] {
        let top: Vec<String> = read(name).lines().take(3).map(str::to_owned).collect();
        assert!(
            top.iter().any(|line| line.contains(&format!("]({other})"))),
            "{name} does not link to {other} at its top"
        );
    }
}

#[test]
fn links_within_a_document_lead_to_its_headings() {
    for name in [ENGLISH, FRENCH] {
        let text = read(name);
        let anchors: Vec<String> = sections(&text).iter().map(|(heading, _)| anchor(heading)).collect();
        for link in text.split("](#").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            assert!(
                anchors.iter().any(|anchor| anchor == link),
                "{name}: there is no heading #{link}, only {anchors:?}"
            );
        }
    }
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    title
        .chars()
        .filter(|&c| c.is_alphanumeric() || " -_".contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// What `/metrics` says of a server that has all of them.
fn metrics() -> String {
    // Nothing listens on port 1.
    let server = Server::start(&[
        "auth.jwks=http://127.0.0.1:1/jwks",
        "http.api_key=0123456789abcdef0123456789abcdef",
        "store.kind=sqlite",
        "webhooks.url=http://127.0.0.1:1/hook",
        "webhooks.secret=0123456789abcdef0123456789abcdef",
    ]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    answer
}

/// What metrics are called in documents, in which a histogram has one name, and what their series are called.
fn names(metrics: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut metric_names, mut series) = (BTreeSet::new(), BTreeSet::new());
    for line in metrics.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["#", "TYPE", name, "counter"] => drop(metric_names.insert(format!("{name}_total"))),
            ["#", "TYPE", name, _] => drop(metric_names.insert(name.to_owned())),
            [name, _] => drop(series.insert(name.split('{').next().unwrap_or_default().to_owned())),
            _ => {}
        }
    }
    (metric_names, series)
}

/// The words of a text that look like metrics.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("chat_") || word.starts_with("process_")).map(str::to_owned).collect()
}

#[test]
fn documents_and_dashboard_name_the_metrics_that_there_are() {
    let (mut metrics, series) = names(&metrics());
    // Other systems do not tell it.
    if !cfg!(target_os = "linux") {
        metrics.insert("process_resident_memory_bytes".to_owned());
    }
    assert!(metrics.len() > 35 && series.len() > metrics.len(), "the answer was read: {metrics:?}");
    let dashboard = named(&read("grafana-dashboard.json"));
    let unknown: Vec<_> = dashboard.difference(&series).collect();
    assert!(dashboard.len() > 30 && unknown.is_empty(), "grafana-dashboard.json names {unknown:?}");
    for document in ["operations.md", ENGLISH, FRENCH] {
        let documented = named(&read(document));
        let unknown: Vec<_> = documented.difference(&metrics).collect();
        assert!(unknown.is_empty(), "{document} names {unknown:?}");
        let missing: Vec<_> = metrics.difference(&documented).collect();
        assert!(missing.is_empty(), "{document} does not name {missing:?}");
    }
}

#[test]
fn differences_are_found() {
    let of = |text| sections(text).pop().expect("a section").1;
    let section = of("# A\n`x` and `y`\n\n| a |\n|---|\n| `x` |\n- one\n1. two\n```js\nf()\n```\n");
    assert_eq!(section, of("# B\n`y` et `x`\n\n| b |\n|---|\n| `x` |\n- un\n1. deux\n```js\nf()\n```\n"));
    assert_eq!((section.level, section.table_rows, section.items), (1, 3, 2));
    assert_eq!(section.code, ["x", "x", "y"]);
    assert_eq!(section.examples, ["```js\nf()\n```\n"]);
    assert_eq!(missing(&section.code, &["x".to_owned(), "z".to_owned()]), ["x", "y"]);
}
