//! The part of YAML that `data.yaml` files use: maps, lists and plain values, indented or in brackets.
//!
//! Anchors, tags and several documents are refused; text blocks (`|`, `>`) are passed over.

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Yaml {
    /// A word, number or quoted text; `null` and nothing are empty.
    Plain(String),
    /// A list.
    List(Vec<Yaml>),
    /// A map, in its order.
    Map(Vec<(String, Yaml)>),
}

/// The deepest nesting.
const MAX_DEPTH: usize = 8;
/// The most lines.
const MAX_LINES: usize = 1 << 20;

impl Yaml {
    /// A member of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// A plain value that is not empty.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// A line with something on it.
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

/// Reads a document, a map.
///
/// # Errors
/// A message that names the line.
pub fn parse(text: &str) -> Result<Yaml, String> {
    let mut lines = Vec::new();
    for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let number = i + 1;
        if number > MAX_LINES {
            return Err(format!("line {number}: more than {MAX_LINES} lines"));
        }
        let indent = line.len() - line.trim_start_matches(' ').len();
        let text = without_comment(&line[indent..]).trim_end();
        if text.is_empty() || (text == "---" && lines.is_empty()) {
            continue;
        }
        if text.starts_with('\t') {
            return Err(format!("line {number}: a tab before the text; indent with spaces"));
        }
        lines.push(Line { number, indent, text });
    }
    let mut at = 0;
    let value = block(&lines, &mut at, 0, 0)?;
    match lines.get(at) {
        Some(line) => Err(format!("line {}: indented otherwise than what it belongs to", line.number)),
        None => Ok(value),
    }
}

/// Up to a `#` that begins a comment.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (i, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') if before == ' ' || before == '\t' => return &line[..i],
            (None, '"' | '\'') if matches!(before, ' ' | '[' | '{' | ',' | ':') => quote = Some(c),
            (Some(q), c) if c == q && before != '\\' => quote = None,
            _ => {}
        }
        before = c;
    }
    line
}

/// The lines from `at` that are indented alike, by at least `least`.
fn block(lines: &[Line], at: &mut usize, least: usize, depth: usize) -> Result<Yaml, String> {
    let Some(first) = lines.get(*at).filter(|l| l.indent >= least) else {
        return Ok(Yaml::Plain(String::new()));
    };
    if depth > MAX_DEPTH {
        return Err(format!("line {}: nested deeper than {MAX_DEPTH}", first.number));
    }
    let indent = first.indent;
    let is_item = |text: &str| text == "-" || text.starts_with("- ");
    let mut list = Vec::new();
    let mut map: Vec<(String, Yaml)> = Vec::new();
    let as_list = is_item(first.text);
    while let Some(line) = lines.get(*at).filter(|l| l.indent == indent) {
        let fault = |message: &str| format!("line {}: {message}", line.number);
        if is_item(line.text) != as_list {
            // A list may stand as far left as the key that it belongs to; then the key's block goes on.
            if as_list {
                break;
            }
            return Err(fault("a list item among keys"));
        }
        *at += 1;
        if as_list {
            let rest = line.text[1..].trim_start();
            list.push(if rest.is_empty() {
                block(lines, at, indent + 1, depth + 1)?
            } else {
                value(rest, line.number)?
            });
            continue;
        }
        let Some((key, rest)) = key(line.text) else {
            return Err(fault("neither `key: value` nor `- item`"));
        };
        let key = unquoted(key).map_err(|e| fault(&e))?;
        if map.iter().any(|(k, _)| *k == key) {
            return Err(fault(&format!("a second `{key}`")));
        }
        let value = if rest.starts_with(['|', '>']) {
            while lines.get(*at).is_some_and(|l| l.indent > indent) {
                *at += 1;
            }
            Yaml::Plain(String::new())
        } else if !rest.is_empty() {
            flow_lines(rest, lines, at, line.number)?
        } else if lines.get(*at).is_some_and(|l| l.indent == indent && is_item(l.text)) {
            block(lines, at, indent, depth + 1)?
        } else {
            block(lines, at, indent + 1, depth + 1)?
        };
        map.push((key, value));
    }
    Ok(if as_list { Yaml::List(list) } else { Yaml::Map(map) })
}

/// `key: rest`.
fn key(text: &str) -> Option<(&str, &str)> {
    let from = match text.chars().next()? {
        quote @ ('"' | '\'') => 1 + text[1..].find(quote)?,
        _ => 0,
    };
    let colon = from
        + text[from..]
            .char_indices()
            .find(|&(i, c)| c == ':' && text[from + i + 1..].chars().next().is_none_or(|next| next == ' '))?
            .0;
    Some((text[..colon].trim(), text[colon + 1..].trim()))
}

/// A value that may go on over further lines while brackets are open.
fn flow_lines(rest: &str, lines: &[Line], at: &mut usize, number: usize) -> Result<Yaml, String> {
    let mut text = rest.to_string();
    while text.starts_with(['[', '{']) && open_brackets(&text) > 0 {
        let Some(line) = lines.get(*at) else {
            return Err(format!("line {number}: a bracket that is not closed"));
        };
        text.push(' ');
        text.push_str(line.text);
        *at += 1;
    }
    value(&text, number)
}

fn open_brackets(text: &str) -> isize {
    let mut quote = None;
    text.chars().fold(0, |open, c| match (quote, c) {
        (None, '"' | '\'') => {
            quote = Some(c);
            open
        }
        (Some(q), c) if c == q => {
            quote = None;
            open
        }
        (None, '[' | '{') => open + 1,
        (None, ']' | '}') => open - 1,
        _ => open,
    })
}

/// A value on one line.
fn value(text: &str, number: usize) -> Result<Yaml, String> {
    let fault = |message: &str| format!("line {number}: {message}");
    let mut rest = text;
    let value = flow(&mut rest, 0).map_err(|e| fault(&e))?;
    if rest.trim().is_empty() { Ok(value) } else { Err(fault(&format!("{rest:?} behind the value"))) }
}

/// Takes a value; `depth` is of brackets.
fn flow(rest: &mut &str, depth: usize) -> Result<Yaml, String> {
    *rest = rest.trim_start();
    if depth > MAX_DEPTH {
        return Err(format!("nested deeper than {MAX_DEPTH}"));
    }
    match rest.chars().next() {
        Some('[') => {
            let mut items = Vec::new();
            elements(rest, ']', |rest| {
                items.push(flow(rest, depth + 1)?);
                Ok(())
            })?;
            Ok(Yaml::List(items))
        }
        Some('{') => {
            let mut members = Vec::new();
            elements(rest, '}', |rest| {
                let end = rest.find(':').ok_or("a member without a colon")?;
                let key = unquoted(rest[..end].trim())?;
                *rest = &rest[end + 1..];
                members.push((key, flow(rest, depth + 1)?));
                Ok(())
            })?;
            Ok(Yaml::Map(members))
        }
        Some(quote @ ('"' | '\'')) => {
            let end = rest[1..].find(quote).ok_or("a quote that is not closed")?;
            let (inside, after) = (&rest[1..=end], &rest[end + 2..]);
            *rest = after;
            Ok(Yaml::Plain(inside.to_string()))
        }
        Some('&' | '*' | '!' | '@' | '`' | '%') => Err("anchors, aliases and tags are not understood".into()),
        _ => {
            let end = if depth == 0 { rest.len() } else { rest.find([',', ']', '}']).unwrap_or(rest.len()) };
            let text = rest[..end].trim();
            *rest = &rest[end..];
            let empty = matches!(text, "null" | "~" | "Null" | "NULL");
            Ok(Yaml::Plain(if empty { String::new() } else { text.to_string() }))
        }
    }
}

/// Takes the elements of a bracket.
fn elements(
    rest: &mut &str,
    close: char,
    mut element: impl FnMut(&mut &str) -> Result<(), String>,
) -> Result<(), String> {
    *rest = &rest[1..];
    loop {
        *rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(close) {
            *rest = after;
            return Ok(());
        }
        element(rest)?;
        *rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => *rest = after,
            None if rest.starts_with(close) => {}
            None => return Err(format!("{close:?} is missing")),
        }
    }
}

fn unquoted(text: &str) -> Result<String, String> {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let inside = text[1..].strip_suffix(quote).ok_or("a quote that is not closed")?;
            Ok(inside.to_string())
        }
        _ => Ok(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn plain(text: &str) -> Yaml {
        Yaml::Plain(text.into())
    }

    #[test]
    fn the_ways_of_writing_classes() {
        let named = [("0", "cat"), ("1", "big dog")];
        let map = Yaml::Map(named.iter().map(|(k, v)| (k.to_string(), plain(v))).collect());
        let list = Yaml::List(named.iter().map(|(_, v)| plain(v)).collect());
        for (text, expected) in [
            ("names:\n  0: cat # a cat\n  1: big dog\n", &map),
            ("names: {0: cat, 1: 'big dog'}", &map),
            ("names:\n- cat\n- \"big dog\"\nnc: 2", &list),
            ("names:\n  - cat\n  - big dog\n", &list),
            ("# words\n---\nnc: 2\nnames: [ 'cat', big dog ]  # two", &list),
            ("names: [cat,\n  big dog]\n", &list),
        ] {
            assert_eq!(parse(text).unwrap().get("names"), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_ultralytics_writes_is_read() {
        let text = "path: ../datasets/coco8 # root\ntrain: images/train\nval:\n  - images/val\ntest:\n\nnames:\n  0: person\n\
                    download: |\n  from x import y\n  z = {1: [2\nlast: https://a.b/c#d\n";
        let read = parse(text).unwrap();
        assert_eq!(read.get("path").unwrap().text(), Some("../datasets/coco8"));
        assert_eq!(read.get("val"), Some(&Yaml::List(vec![plain("images/val")])));
        assert_eq!(read.get("test").unwrap().text(), None);
        assert_eq!(read.get("last").unwrap().text(), Some("https://a.b/c#d"));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line) in [
            ("a: 1\na: 2", 2),
            ("a: &x 1", 1),
            ("a: 1\n\tb: 2", 2),
            ("a: [1, 2", 1),
            ("a: 1\n- b", 2),
            ("a: 1\n  b: 2", 2),
            ("words", 1),
            ("a: 'x", 1),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.starts_with(&format!("line {line}: ")), "{text:?}: {fault}");
        }
        assert!(parse(&format!("a: {}", "[".repeat(10_000))).is_err());
        let deep: String = (0..100).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        assert!(parse(&deep).unwrap_err().contains("nested deeper"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([a-c0-1:\\-\\[\\]{},'\"#|& \n]|: |- |\n  ){0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_words_are_read_or_refused(text: String) {
            let _ = parse(&text);
        }
    }
}
