//! Words of descriptions: how a caption, a file's path or an emoji's name becomes numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The token of nothing: what fills a description up to its length.
pub const PADDING: u32 = 0;

/// The words of a text in order: runs of letters in lower case, the plural's `s` left out; digits and signs part
/// words. `mon/dragons/redDragon2.png` has the words `mon`, `dragon`, `red`, `dragon`.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut lower = false;
    let mut end = |word: &mut String| {
        if !word.is_empty() {
            words.push(singular(std::mem::take(word)));
        }
    };
    for c in text.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && lower) {
            end(&mut word);
        }
        lower = c.is_lowercase();
        if c.is_alphabetic() {
            word.extend(c.to_lowercase());
        }
    }
    end(&mut word);
    words
}

/// Without the plural's `s`, for words long enough to have one. A rule, not a dictionary: it need only be the same for
/// every text.
fn singular(mut word: String) -> String {
    let long = word.chars().count() > 3;
    if long && word.ends_with('s') && !["ss", "us", "is"].iter().any(|end| word.ends_with(end)) {
        word.pop();
    }
    word
}

/// The words that a model knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vocabulary {
    /// In alphabetical order; the token of `words[i]` is `i + 1`.
    words: Vec<String>,
}

impl Vocabulary {
    /// The words that occur in at least `least` of these texts; the `most` frequent if there are more.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>, least: usize, most: usize) -> Self {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for text in texts {
            let mut all = words(text);
            all.sort_unstable();
            all.dedup();
            all.into_iter().for_each(|word| *counts.entry(word).or_default() += 1);
        }
        let mut known: Vec<(String, usize)> = counts.into_iter().filter(|(_, n)| *n >= least).collect();
        // Stable: equally frequent words stay in alphabetical order.
        known.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        known.truncate(most);
        let mut words: Vec<String> = known.into_iter().map(|(word, _)| word).collect();
        words.sort_unstable();
        Self { words }
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether no word is known.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The words, in alphabetical order.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether the words are in order, each once: else tokens would be ambiguous.
    pub fn is_ordered(&self) -> bool {
        self.words.windows(2).all(|pair| pair[0] < pair[1])
    }

    /// The token of a word.
    pub fn token(&self, word: &str) -> Option<u32> {
        self.words.binary_search_by(|known| known.as_str().cmp(word)).ok().map(|i| i as u32 + 1)
    }

    /// A text's tokens, at most `length`; beside them its words that are not known.
    pub fn tokens(&self, text: &str, length: usize) -> (Vec<u32>, Vec<String>) {
        let (mut tokens, mut unknown) = (Vec::new(), Vec::new());
        for word in words(text) {
            match self.token(&word) {
                Some(token) => tokens.push(token),
                None => unknown.push(word),
            }
        }
        tokens.truncate(length);
        (tokens, unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_have_words() {
        assert_eq!(words("mon/dragons/redDragon2.png"), ["mon", "dragon", "red", "dragon", "png"]);
        assert_eq!(words("i-CURE__mutation 07"), ["i", "cure", "mutation"]);
        assert_eq!(words("glass bus iris Äpfel"), ["glass", "bus", "iris", "äpfel"]);
        assert!(words(" 123 -- ").is_empty());
    }

    #[test]
    fn a_vocabulary_keeps_frequent_words() {
        let texts = ["red dragon", "red sword", "green dragon", "axe"];
        let all = Vocabulary::of(texts, 1, 100);
        assert_eq!(all.words(), ["axe", "dragon", "green", "red", "sword"]);
        assert_eq!(all.tokens("Sword, RED; lamp", 9), (vec![5, 4], vec!["lamp".to_owned()]));
        assert_eq!(Vocabulary::of(texts, 2, 100).words(), ["dragon", "red"]);
        assert_eq!(Vocabulary::of(texts, 1, 3).words(), ["axe", "dragon", "red"]);
        assert_eq!(all.tokens("axe axe axe", 2).0, [1, 1]);
        assert!(all.is_ordered());
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC*") {
            let known = Vocabulary::of([text.as_str()], 1, usize::MAX);
            let (tokens, unknown) = known.tokens(&text, usize::MAX);
            prop_assert!(unknown.is_empty());
            prop_assert_eq!(tokens.len(), words(&text).len());
            prop_assert!(tokens.iter().all(|t| (1..=known.len() as u32).contains(t)));
        }
    }
}
