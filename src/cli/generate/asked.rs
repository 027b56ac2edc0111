//! The model and what it is asked, as all verbs that draw take them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::Args;

use super::super::Global;
use crate::error::{Error, Result};
use crate::generate::{Ask, Condition, Generator, Recipe, Wish};

/// Which model draws.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// A model of `opticus generate train`; by default the one that comes with the program, which draws digits.
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
}

impl ModelArgs {
    /// The model.
    pub fn open(&self, device: &Device) -> Result<Generator> {
        match &self.model {
            Some(path) => Generator::load(path, device),
            None => Generator::builtin(device),
        }
    }
}

/// What a model is asked, in words.
#[derive(Args, Clone, Debug)]
pub struct AskArgs {
    /// Draw this label; may be given several times.
    #[arg(long, value_name = "LABEL")]
    pub label: Vec<String>,
    /// Draw what these words describe; may be given several times.
    #[arg(long, value_name = "WORDS")]
    pub text: Vec<String>,
    /// Draw for these numbers, one for each of the model's columns, with commas; may be given several times.
    #[arg(long, value_name = "NUMBERS", allow_hyphen_values = true, value_parser = numbers)]
    pub numbers: Vec<Numbers>,
}

/// The numbers of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers(Vec<f64>);

fn numbers(text: &str) -> Result<Numbers, String> {
    let number = |part: &str| part.trim().parse::<f64>().ok().filter(|v| v.is_finite());
    let all: Option<Vec<f64>> = text.split(',').map(number).collect();
    all.map(Numbers).ok_or_else(|| "write numbers with commas between them, like 3.2,0.1".to_owned())
}

/// One thing asked: in words, in the model's terms, and in files' names.
#[derive(Clone, Debug)]
pub struct Asked {
    /// In words.
    pub ask: Ask,
    /// In the model's terms.
    pub wish: Wish,
    /// Another one for each; empty for nothing.
    pub slug: String,
}

impl AskArgs {
    /// What was said, each once.
    pub fn asks(&self) -> Vec<Ask> {
        let labels = self.label.iter().cloned().map(Ask::Label);
        let texts = self.text.iter().cloned().map(Ask::Text);
        let numbers = self.numbers.iter().map(|n| Ask::Numbers(n.0.clone()));
        let mut asks: Vec<Ask> = Vec::new();
        for ask in labels.chain(texts).chain(numbers) {
            if !asks.contains(&ask) {
                asks.push(ask);
            }
        }
        asks
    }

    /// What was said, as the model takes it, in order; all labels where none is given. Words that the model does not
    /// know are named on standard error.
    pub fn resolve(&self, condition: &Condition, global: &Global) -> Result<Vec<Asked>> {
        let mut asks = self.asks();
        if asks.is_empty() {
            asks = match condition {
                Condition::Label { names } => names.iter().cloned().map(Ask::Label).collect(),
                _ => vec![Ask::Any],
            };
        }
        let mut taken = BTreeSet::new();
        let mut resolved = Vec::with_capacity(asks.len());
        for ask in asks {
            let wish = wish(&ask, condition, global)?;
            let slug = unused(ask.slug(), ask == Ask::Any, &mut taken);
            resolved.push(Asked { ask, wish, slug });
        }
        Ok(resolved)
    }
}

/// The wish, with a note on words that count for nothing.
pub fn wish(ask: &Ask, condition: &Condition, global: &Global) -> Result<Wish> {
    if *ask == Ask::Any
        && let Condition::Text { vocabulary, .. } = condition
    {
        const SHOWN: usize = 30;
        let step = (vocabulary.len() / SHOWN).max(1);
        let some: Vec<&str> = vocabulary.words().iter().step_by(step).map(String::as_str).collect();
        return Err(Error::Config(format!(
            "this model draws what words say: give --text \"…\". It knows {} words, such as {}",
            vocabulary.len(),
            some.join(", ")
        )));
    }
    let (wish, unknown) = ask.wish(condition)?;
    if !unknown.is_empty() && !global.quiet {
        eprintln!(
            "note: the model does not know {}, which counts for nothing in {:?}",
            unknown.join(", "),
            ask.to_string()
        );
    }
    Ok(wish)
}

/// A name that no other has, in lower and upper case alike: some file systems do not tell them apart.
fn unused(slug: String, empty: bool, taken: &mut BTreeSet<String>) -> String {
    let base = if slug.is_empty() && !empty { "asked".to_owned() } else { slug };
    let mut name = base.clone();
    let mut number = 2;
    while !taken.insert(name.to_lowercase()) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

/// A recipe for this model, with the command that makes the same picture: no folder, and of the model's place only its
/// name, so that a picture that is passed on does not tell its maker's folders.
pub fn recipe(seed: u64, ask: &Ask, truncation: Option<f64>, source: &Source<'_>) -> Recipe {
    let mut command = format!("opticus generate sample{} --out . --seeds {seed}", model_word(source.model));
    command += &ask_word(ask);
    if let Some(truncation) = truncation {
        command += &format!(" --truncation {truncation}");
    }
    Recipe {
        seed,
        ask: ask.clone(),
        truncation,
        latent: None,
        embedding: None,
        model: source.fingerprint.to_owned(),
        command,
        product_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The model that draws: its file, if it came from one, and its fingerprint.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// `--model`.
    pub model: Option<&'a Path>,
    /// [`Generator::fingerprint`].
    pub fingerprint: &'a str,
}

/// ` --model NAME`.
pub fn model_word(model: Option<&Path>) -> String {
    let name = model.and_then(Path::file_name);
    name.map_or_else(String::new, |name| format!(" --model {}", quoted(&name.to_string_lossy())))
}

/// ` --label NAME` or what else is asked.
pub fn ask_word(ask: &Ask) -> String {
    match ask {
        Ask::Any => String::new(),
        Ask::Label(label) => format!(" --label {}", quoted(label)),
        Ask::Numbers(_) => format!(" --numbers {ask}"),
        Ask::Text(text) => format!(" --text {}", quoted(text)),
    }
}

/// A word as a POSIX shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./,:=+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Refuses to replace a file unless asked to.
pub fn refuse_existing(path: &Path, overwrite: bool) -> Result<()> {
    match !overwrite && path.exists() {
        true => Err(Error::Config(format!(
            "{} exists already; choose another --out, or say --overwrite",
            path.display()
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(["a-b", "two words", "it's", ""].map(quoted), ["a-b", "'two words'", r"'it'\''s'", "''"]);
        let source = Source { model: Some(Path::new("/some/where/my model.safetensors")), fingerprint: "f" };
        let found = recipe(7, &Ask::Text("red dragon".into()), Some(0.5), &source).command;
        let expected = "opticus generate sample --model 'my model.safetensors' --out . --seeds 7 --text 'red dragon' \
                        --truncation 0.5";
        assert_eq!(found, expected);
    }

    #[test]
    fn numbers_are_read() {
        assert_eq!(numbers("3.2, -0.1").unwrap(), Numbers(vec![3.2, -0.1]));
        for wrong in ["", "a", "1,,2", "NaN", "inf"] {
            assert!(numbers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_differ() {
        let mut taken = BTreeSet::new();
        let mut name = |slug: &str| unused(slug.into(), false, &mut taken);
        assert_eq!([name("a"), name("A"), name(""), name("a")], ["a", "A-2", "asked", "a-3"]);
    }
}
