//! [`Pattern`]: names of namespaces with parts that vary, such as `/orders-{id}`.

use std::collections::BTreeMap;

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// One or more characters other than `/`, under this name.
    Param(String),
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Part>);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is no pattern of a namespace: {reason}")]
pub struct PatternError {
    pattern: String,
    reason: &'static str,
}

impl Pattern {
    pub(crate) fn parse(pattern: &str) -> Result<Self, PatternError> {
        let error = |reason| PatternError { pattern: pattern.to_owned(), reason };
        let (mut parts, mut rest): (Vec<Part>, &str) = (Vec::new(), pattern);
        while !rest.is_empty() {
            let (literal, param) = rest.split_once('{').map_or((rest, None), |(literal, rest)| (literal, Some(rest)));
            if literal.contains('}') {
                return Err(error("a } without a {"));
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            } else if matches!(parts.last(), Some(Part::Param(_))) {
                return Err(error("nothing stands between two parameters"));
            }
            let Some(param) = param else { break };
            let (name, after) = param.split_once('}').ok_or_else(|| error("a { without a }"))?;
            if name.is_empty() || name.contains('{') {
                return Err(error("a parameter has no name"));
            }
            if parts.iter().any(|part| matches!(part, Part::Param(other) if other == name)) {
                return Err(error("two parameters have one name"));
            }
            parts.push(Part::Param(name.to_owned()));
            rest = after;
        }
        match parts.first() {
            Some(Part::Literal(first)) if first.starts_with('/') => Ok(Self(parts)),
            _ => Err(error("it begins with /")),
        }
    }

    /// Whether it has no parameters, and so is the name of one namespace.
    pub(crate) fn is_literal(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    /// The parameters of a name that fits.
    pub(crate) fn matches(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let mut params = BTreeMap::new();
        Self::match_parts(&self.0, name, &mut params).then_some(params)
    }

    /// A parameter ends where the literal after it is found first. That loses no match: the next parameter takes what a later
    /// end would have put into this one. So nothing is tried twice, whatever name a client sends.
    fn match_parts(parts: &[Part], name: &str, params: &mut BTreeMap<String, String>) -> bool {
        let (param, rest) = match parts {
            [] => return name.is_empty(),
            [Part::Literal(literal), rest @ ..] => {
                return name.strip_prefix(literal.as_str()).is_some_and(|name| Self::match_parts(rest, name, params));
            }
            [Part::Param(param), rest @ ..] => (param, rest),
        };
        let end = match rest {
            [] => Some(name.len()),
            [Part::Literal(last)] => name.strip_suffix(last.as_str()).map(str::len),
            [Part::Literal(next), ..] => {
                // At least one character is the parameter's.
                let first = name.chars().next().map_or(0, char::len_utf8);
                name.get(first..).and_then(|after| after.find(next.as_str())).map(|at| first + at)
            }
            [Part::Param(_), ..] => None,
        };
        let Some((value, after)) = end.and_then(|end| name.split_at_checked(end)) else { return false };
        if value.is_empty() || value.contains('/') || !Self::match_parts(rest, after, params) {
            return false;
        }
        params.insert(param.clone(), value.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pattern: &str, name: &str) -> Option<Vec<(String, String)>> {
        Pattern::parse(pattern).unwrap().matches(name).map(|params| params.into_iter().collect())
    }

    #[test]
    fn a_pattern_takes_names_apart() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (pattern, name, expected) in [
            ("/", "/", Some(vec![])),
            ("/chat", "/chat", Some(vec![])),
            ("/chat", "/chat2", None),
            ("/chat", "/", None),
            ("/orders-{id}", "/orders-7", Some(vec![pair("id", "7")])),
            ("/orders-{id}", "/orders-", None),
            ("/orders-{id}", "/orders-a/b", None),
            ("/orders-{id}", "/orders-ü", Some(vec![pair("id", "ü")])),
            ("/{a}-{b}/end", "/x-y-z/end", Some(vec![pair("a", "x"), pair("b", "y-z")])),
            ("/{a}/{b}", "/1/2", Some(vec![pair("a", "1"), pair("b", "2")])),
            ("/{a}/{b}", "/1/2/3", None),
            ("/{a}-{b}.x", "/1.x-2.x", Some(vec![pair("a", "1.x"), pair("b", "2")])),
            ("/{a}--{b}", "/---", None),
            ("/{a}--{b}", "/----", Some(vec![pair("a", "-"), pair("b", "-")])),
        ] {
            assert_eq!(params(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_an_error() {
        for pattern in ["", "chat", "{id}", "/{", "/}", "/{}", "/{a}{b}", "/{a}-{a}", "/{a{b}}"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        assert!(Pattern::parse("/chat").unwrap().is_literal());
        assert!(!Pattern::parse("/{id}").unwrap().is_literal());
    }
}
