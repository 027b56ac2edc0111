//! Label maps: which number means which class. The TensorFlow Object Detection API's `.pbtxt`, JSON, plain text.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files::read_limited;

/// The most bytes of a label map.
const MAX_FILE: u64 = 16 << 20;

/// Names by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelMap {
    /// Names by number, in order.
    pub names: BTreeMap<i64, String>,
    /// What is unusual and should be known: gaps in the numbers, a number 0.
    pub notes: Vec<String>,
}

impl LabelMap {
    /// The names in the order of their numbers: the classes of a network.
    pub fn classes(&self) -> Vec<String> {
        self.names.values().cloned().collect()
    }

    fn from_items(items: Vec<(i64, String, usize)>) -> Result<Self, String> {
        let mut map = Self::default();
        let mut numbers: BTreeMap<String, i64> = BTreeMap::new();
        for (id, name, line) in items {
            if let Some(earlier) = map.names.get(&id) {
                return Err(format!("line {line}: the number {id} of {name:?} is taken by {earlier:?}"));
            }
            if let Some(earlier) = numbers.get(&name) {
                return Err(format!("line {line}: {name:?} has the number {id} and the number {earlier}"));
            }
            numbers.insert(name.clone(), id);
            map.names.insert(id, name);
        }
        let (Some((&first, _)), Some((&last, _))) = (map.names.first_key_value(), map.names.last_key_value())
        else {
            return Err("line 1: no label".into());
        };
        if first < 0 {
            return Err(format!("line 1: the number {first} is negative"));
        }
        if first == 0 {
            let name = &map.names[&0];
            map.notes.push(format!(
                "{name:?} has the number 0, which the Object Detection API keeps for the background"
            ));
        }
        let missing = (i128::from(last) - i128::from(first) + 1) - map.names.len() as i128;
        if missing > 0 {
            let gap = map.names.keys().zip(map.names.keys().skip(1)).find(|(a, b)| **b > **a + 1);
            let at = gap.map_or_else(String::new, |(a, _)| format!(", the first after {a}"));
            map.notes.push(format!("{missing} numbers between {first} and {last} are not used{at}"));
        }
        Ok(map)
    }
}

/// Reads a label map, the kind by its ending and content.
///
/// # Errors
/// [`Error::Input`] with file and line, [`Error::Limit`], [`Error::Io`].
pub fn read(path: &Path) -> Result<LabelMap> {
    let bytes = read_limited(path, MAX_FILE)?;
    parse(&bytes).map_err(|why| Error::Input(format!("{}: {why}", path.display())))
}

/// Reads a label map: `item { id: 1 name: 'cat' }`; `{"1": "cat"}`, `{"cat": 1}`, `["cat"]` or
/// `[{"id": 1, "name": "cat"}]`; or a name a line, numbered from 1.
///
/// # Errors
/// A message that names the line.
pub fn parse(bytes: &[u8]) -> Result<LabelMap, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        format!(
            "line {}: not UTF-8 text",
            1 + bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count()
        )
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let start = text.trim_start();
    let items = if start.starts_with(['{', '[']) {
        from_json(text)?
    } else if tokens(text).ok().and_then(|t| Some(t.first()?.1 == "item" && t.get(1)?.1 == "{")) == Some(true)
    {
        from_pbtxt(text)?
    } else {
        let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
        let named = lines.filter(|(_, name)| !name.is_empty() && !name.starts_with('#'));
        named.zip(1i64..).map(|((line, name), id)| (id, name.to_string(), line)).collect()
    };
    LabelMap::from_items(items)
}

fn from_json(text: &str) -> Result<Vec<(i64, String, usize)>, String> {
    use serde_json::Value;
    let value: Value = serde_json::from_str(text).map_err(|e| format!("line {}: {e}", e.line()))?;
    let odd = || {
        "line 1: neither {\"1\": \"cat\"}, {\"cat\": 1}, [\"cat\"] nor [{\"id\": 1, \"name\": \"cat\"}]"
            .to_string()
    };
    let number = |v: &Value| v.as_i64().or_else(|| v.as_str()?.trim().parse().ok());
    match value {
        Value::Array(list) => list
            .iter()
            .zip(1i64..)
            .map(|(item, place)| match item {
                Value::String(name) => Ok((place, name.clone(), 1)),
                Value::Object(members) => {
                    let name = ["display_name", "name"].iter().find_map(|k| members.get(*k)?.as_str());
                    let id = members.get("id").and_then(number);
                    Ok((id.ok_or_else(odd)?, name.ok_or_else(odd)?.to_string(), 1))
                }
                _ => Err(odd()),
            })
            .collect(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| match (key.trim().parse::<i64>(), value) {
                (Ok(id), Value::String(name)) => Ok((id, name.clone(), 1)),
                (_, value) => Ok((number(value).ok_or_else(odd)?, key.clone(), 1)),
            })
            .collect(),
        _ => Err(odd()),
    }
}

/// Words, signs and quoted texts of a text-format protocol buffer, with their lines. A quoted text keeps its quote.
fn tokens(text: &str) -> Result<Vec<(usize, String)>, String> {
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(c) = rest.chars().next() {
            let length = match c {
                '#' => break,
                '{' | '}' | ':' | ',' | ';' | '<' | '>' | '[' | ']' => 1,
                '"' | '\'' => {
                    let mut escaped = false;
                    let end = rest[1..].char_indices().find(|(_, c)| {
                        let ends = *c == rest.as_bytes()[0] as char && !escaped;
                        escaped = *c == '\\' && !escaped;
                        ends
                    });
                    end.map(|(at, _)| at + 2).ok_or(format!("line {}: a quote that is not closed", i + 1))?
                }
                _ => rest
                    .find(|c: char| c.is_whitespace() || "{}:,;<>[]\"'#".contains(c))
                    .unwrap_or(rest.len()),
            };
            found.push((i + 1, rest[..length].to_string()));
            rest = rest[length..].trim_start();
        }
    }
    Ok(found)
}

fn from_pbtxt(text: &str) -> Result<Vec<(i64, String, usize)>, String> {
    let tokens = tokens(text)?;
    let word = |i: usize| tokens.get(i).map_or("", |t| t.1.as_str());
    let line = |i: usize| tokens.get(i).or(tokens.last()).map_or(1, |t| t.0);
    let mut items = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        if word(i) != "item" || word(i + 1) != "{" {
            return Err(format!("line {}: {:?} instead of `item {{`", line(i), word(i)));
        }
        let begin = line(i);
        i += 2;
        let (mut id, mut name, mut display) = (None, None, None);
        loop {
            match (word(i), word(i + 1)) {
                ("}", _) => {
                    i += 1;
                    break;
                }
                ("," | ";", _) => i += 1,
                ("", _) => return Err(format!("line {begin}: an item that is not closed")),
                // Groups of an item: key points and the like.
                (_, "{") => {
                    i = behind_group(&tokens, i + 1)
                        .ok_or(format!("line {begin}: an item that is not closed"))?
                }
                (key, ":") if word(i + 2) != "{" => {
                    let value = word(i + 2);
                    match key {
                        "id" => {
                            id = Some(value.parse().map_err(|_| format!("line {}: id: {value}", line(i)))?);
                        }
                        "name" => name = Some(unquoted(value)),
                        "display_name" => display = Some(unquoted(value)),
                        _ => {}
                    }
                    i += 3;
                }
                (_, ":") => {
                    i = behind_group(&tokens, i + 2)
                        .ok_or(format!("line {begin}: an item that is not closed"))?
                }
                (other, _) => return Err(format!("line {}: {other:?} without a value", line(i))),
            }
        }
        let id = id.ok_or(format!("line {begin}: an item without `id`"))?;
        // `name` may be a key of a knowledge graph ("/m/01g317"); people read `display_name`.
        let name = display.or(name).ok_or(format!("line {begin}: an item without `name`"))?;
        items.push((id, name, begin));
    }
    Ok(items)
}

/// The place behind the group that opens at `at`.
fn behind_group(tokens: &[(usize, String)], at: usize) -> Option<usize> {
    let mut open = 0usize;
    for (i, (_, word)) in tokens.iter().enumerate().skip(at) {
        match word.as_str() {
            "{" => open += 1,
            "}" => {
                open -= 1;
                if open == 0 {
                    return Some(i + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn unquoted(text: &str) -> String {
    let mut out = String::new();
    let inside = text.strip_prefix(['"', '\'']).and_then(|t| t.strip_suffix(['"', '\''])).unwrap_or(text);
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn names(text: &str) -> Vec<(i64, String)> {
        parse(text.as_bytes()).unwrap().names.into_iter().collect()
    }

    #[test]
    fn all_kinds_give_the_same() {
        let expected = [(1, "cat".to_string()), (2, "it's a dog".to_string())];
        for text in [
            "item {\n  id: 1\n  name: 'cat'\n}\nitem {\n  name: \"it's a dog\"\n  id: 2 # words\n}\n",
            "item{id:1,name:\"/m/1\",display_name:'cat', keypoints { id: 7 label: 'x' }} item { id: 2; name: 'it\\'s a dog' }",
            "{\"1\": \"cat\", \"2\": \"it's a dog\"}",
            "{\"it's a dog\": 2, \"cat\": 1}",
            "[\"cat\", \"it's a dog\"]",
            "[{\"id\": 1, \"name\": \"cat\"}, {\"id\": 2, \"name\": \"it's a dog\"}]",
            "\u{feff}cat\r\n\r\nit's a dog\n",
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn gaps_and_zero_are_named_and_duplicates_refused() {
        let map = parse(b"item { id: 0 name: 'a' } item { id: 4 name: 'b' }").unwrap();
        assert_eq!(map.classes(), ["a", "b"]);
        assert!(
            map.notes[0].contains("number 0") && map.notes[1].contains("3 numbers between 0 and 4"),
            "{:?}",
            map.notes
        );
        let fault = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert!(
            fault("item { id: 1 name: 'a' }\nitem { id: 1 name: 'b' }").starts_with("line 2: the number 1")
        );
        assert!(fault("a\nb\na").starts_with("line 3: \"a\" has the number 3 and the number 1"));
        assert!(fault("item { name: 'a' }").contains("without `id`"));
        assert!(fault("item {\n id: 1").contains("not closed") && fault("").contains("no label"));
        assert!(fault("{\"1\": [}").starts_with("line 1") && fault("{\"cat\": -9}").contains("negative"));
        assert!(fault("[3]").contains("neither"));
        // Numbers whose difference does not fit.
        assert!(parse(format!("{{\"a\": {}, \"b\": 0}}", i64::MAX).as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(item|id|name|:|\\{|\\}|'a'|\"|\\\\|1|,| |\n|\\[|é){0,30}") {
            let _ = parse(text.as_bytes());
        }
    }
}
