//! Typed settings from TOML: a file, then `--set a.b=c` overrides, then flags, each later one winning.
//!
//! Unknown keys are errors that suggest the nearest known key, because a silently ignored
//! `learning_rat = 0.1` costs its user a night.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::error::{Error, Result};

/// The largest settings file read, in bytes; a run's whole configuration is a few kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// Settings being put together, before they are checked against their type.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    table: Table,
    origin: String,
}

impl Draft {
    /// An empty draft: every value will be the type's default.
    pub fn new() -> Self {
        Self { table: Table::new(), origin: "the command line".into() }
    }

    /// A draft from TOML text; `origin` names it in errors.
    pub fn from_text(text: &str, origin: &str) -> Result<Self> {
        let table = text.parse::<Table>().map_err(|e| {
            Error::Config(format!(
                "{origin} is not valid TOML: {}. Correct that line",
                flatten(&e.to_string())
            ))
        })?;
        Ok(Self { table, origin: origin.into() })
    }

    /// A draft from a TOML file.
    pub fn from_file(path: &Path) -> Result<Self> {
        let bytes = crate::files::read_limited(path, MAX_FILE)?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Error::Config(format!("{} is not UTF-8 text; a configuration is TOML", path.display()))
        })?;
        Self::from_text(&text, &path.display().to_string())
    }

    /// Applies one `a.b=c` override. The value is read as TOML and, failing that, as a plain string.
    pub fn set_text(&mut self, assignment: &str) -> Result<()> {
        let (key, value) = assignment.split_once('=').ok_or_else(|| {
            Error::Config(format!("--set {assignment:?} has no '='; write --set section.key=value"))
        })?;
        let parsed = format!("v = {}", value.trim()).parse::<Table>().ok().and_then(|mut t| t.remove("v"));
        self.set(key.trim(), parsed.unwrap_or_else(|| Value::String(value.trim().into())))
    }

    /// Sets the value at a dotted key, creating the tables on the way.
    pub fn set(&mut self, dotted: &str, value: impl Into<Value>) -> Result<()> {
        let mut table = &mut self.table;
        let mut parts = dotted.split('.').peekable();
        while let Some(part) = parts.next() {
            if part.is_empty() {
                return Err(Error::Config(format!("{dotted:?} is not a key; write section.key")));
            }
            if parts.peek().is_none() {
                table.insert(part.into(), value.into());
                return Ok(());
            }
            let next = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            table = next.as_table_mut().ok_or_else(|| {
                Error::Config(format!("cannot set {dotted}: {part} is a value, not a section"))
            })?;
        }
        Ok(())
    }

    /// Whether a value stands at a dotted key.
    pub fn has(&self, dotted: &str) -> bool {
        let mut value: Option<&Value> = None;
        for part in dotted.split('.') {
            let table = match value {
                None => Some(&self.table),
                Some(v) => v.as_table(),
            };
            value = match table.and_then(|t| t.get(part)) {
                Some(v) => Some(v),
                None => return false,
            };
        }
        true
    }

    /// Checks the draft against its type. The type derives `Deserialize` with
    /// `#[serde(default, deny_unknown_fields)]`.
    pub fn resolve<T: DeserializeOwned>(&self) -> Result<T> {
        // The error path is found by deserialising section by section: serde names the field, not the section.
        T::deserialize(Value::Table(self.table.clone())).map_err(|e| {
            let message = flatten(&e.to_string());
            let advice =
                suggestion(&message).map_or(String::new(), |near| format!(". Did you mean `{near}`?"));
            Error::Config(format!("configuration from {}: {message}{advice}", self.origin))
        })
    }
}

/// The command that makes settings: `--net` and `--seed` from `net.name` and `seed`, and one `--set` for every other
/// value that is not the usual one.
///
/// # Errors
/// [`Error::Config`] if a value cannot be written as TOML.
pub fn command(verb: &str, settings: &impl Serialize, usual: &impl Serialize) -> Result<String> {
    let usual: BTreeMap<String, Value> = flat(usual)?.into_iter().collect();
    let quoted = |text: &str| match text.contains(|c: char| c.is_whitespace() || "[]{}\"'".contains(c)) {
        true => format!("'{text}'"),
        false => text.to_owned(),
    };
    let mut command = verb.to_owned();
    for (key, value) in flat(settings)? {
        match (key.as_str(), value.as_str()) {
            ("net.name", Some(name)) => command += &format!(" --net {name}"),
            ("seed", _) => command += &format!(" --seed {value}"),
            _ if usual.get(&key) != Some(&value) => {
                command += &format!(" --set {}", quoted(&format!("{key}={value}")));
            }
            _ => {}
        }
    }
    Ok(command)
}

/// Every value of some settings under its dotted key, in the settings' own order.
///
/// # Errors
/// [`Error::Config`] for a value that TOML cannot hold.
pub fn flat(settings: &impl Serialize) -> Result<Vec<(String, Value)>> {
    fn walk(prefix: &str, table: &Table, into: &mut Vec<(String, Value)>) {
        for (key, value) in table {
            let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Table(table) => walk(&key, table, into),
                value => into.push((key, value.clone())),
            }
        }
    }
    let table = Table::try_from(settings)
        .map_err(|e| Error::Config(format!("the configuration cannot be written as TOML: {e}")))?;
    let mut values = Vec::new();
    walk("", &table, &mut values);
    Ok(values)
}

/// TOML errors span lines with a drawing of the place; an error is one paragraph.
fn flatten(message: &str) -> String {
    message
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.chars().all(|c| "|^ ~-".contains(c)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The nearest expected name in serde's "unknown field `x`, expected one of `a`, `b`" (variants likewise).
fn suggestion(message: &str) -> Option<String> {
    if !message.contains("unknown field") && !message.contains("unknown variant") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    nearest(unknown, quoted)
}

/// The candidate nearest to `word`, if it is near enough to be a slip of the keyboard.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    candidates
        .into_iter()
        .map(|c| (distance(&word.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(d, c)| *d <= 1 + word.len().max(c.len()) / 3)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c.to_string())
}

/// Levenshtein distance over characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Optimizer {
        learning_rate: f64,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        optimizer: Optimizer,
        net: String,
    }

    #[test]
    fn later_values_win_and_types_are_kept() {
        let mut draft = Draft::from_text("net = 'a'\n[optimizer]\nlearning_rate = 0.1", "f").unwrap();
        draft.set_text("optimizer.learning_rate=0.5").unwrap();
        draft.set_text("net=resnet18").unwrap();
        let config: Config = draft.resolve().unwrap();
        assert_eq!((config.optimizer.learning_rate, config.net.as_str()), (0.5, "resnet18"));
        assert!(draft.has("optimizer.learning_rate") && !draft.has("optimizer.momentum"));
    }

    #[test]
    fn an_unknown_key_suggests_the_nearest_one() {
        let mut draft = Draft::new();
        draft.set("optimizer.learning_rat", 0.5).unwrap();
        let message = draft.resolve::<Config>().unwrap_err().to_string();
        assert!(message.contains("Did you mean `learning_rate`?"), "{message}");
    }

    #[test]
    fn overrides_that_make_no_sense_are_errors() {
        let mut draft = Draft::from_text("net = 'a'", "f").unwrap();
        assert!(draft.set_text("net").is_err());
        assert!(draft.set_text("net.x=1").is_err());
        assert!(draft.set_text(".x=1").is_err());
        assert!(Draft::from_text("net = ", "f").is_err());
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
