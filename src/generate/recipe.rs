//! What a picture was made from, kept inside its file, so that it can be made again.

use std::fmt;

use opticus_pixels::Image8;
use opticus_pixels::codec::{encode_png_with_text, read_png_text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::{Condition, Wish};
use super::predict::Generator;
use crate::error::{Error, Result};

/// The keyword of the recipe among a PNG's texts.
const KEYWORD: &str = "opticus";

/// What a picture is asked by, as the user says it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// Nothing.
    #[default]
    Any,
    /// A label's name.
    Label(String),
    /// A number for each of the model's columns.
    Numbers(Vec<f64>),
    /// A description.
    Text(String),
}

impl Ask {
    /// In the model's terms, beside words that it does not know.
    ///
    /// # Errors
    /// [`Error::Config`] for something that the model cannot be asked.
    pub fn wish(&self, condition: &Condition) -> Result<(Wish, Vec<String>)> {
        match (self, condition) {
            (Self::Any, Condition::None) => Ok((Wish::Any, Vec::new())),
            (Self::Any, _) => Err(Error::Config(format!("this model takes {condition}"))),
            (Self::Label(label), _) => Ok((condition.label(label)?, Vec::new())),
            (Self::Numbers(numbers), _) => Ok((condition.numbers(numbers)?, Vec::new())),
            (Self::Text(text), _) => condition.text(text),
        }
    }

    /// As a part of a file's name: letters and digits, dashes for what lies between; nothing where nothing is asked.
    pub fn slug(&self) -> String {
        const LONGEST: usize = 48;
        if *self == Self::Any {
            return String::new();
        }
        let mut slug = String::new();
        for c in self.to_string().chars() {
            // A number's point and sign stay: else 1.5 and -1.5 would both be 1-5.
            let kept = c.is_alphanumeric() || matches!(self, Self::Numbers(_)) && matches!(c, '.' | '-');
            if kept {
                slug.push(c);
            } else if !slug.ends_with('-') && !slug.is_empty() {
                slug.push('-');
            }
            if slug.chars().count() >= LONGEST {
                break;
            }
        }
        slug.trim_end_matches(['-', '.']).to_owned()
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Label(label) => f.write_str(label),
            Self::Numbers(numbers) => {
                let words: Vec<String> = numbers.iter().map(f64::to_string).collect();
                f.write_str(&words.join(","))
            }
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Everything that a picture is a function of, and the command that makes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of the latent numbers; of the search for them where they are given.
    pub seed: u64,
    /// What was asked for.
    pub ask: Ask,
    /// Latent numbers farther from zero were drawn again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncation: Option<f64>,
    /// Latent numbers, where no seed gives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latent: Option<Vec<f32>>,
    /// The condition's embedding, where nothing that can be asked gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Vec<f32>>,
    /// [`Generator::fingerprint`].
    pub model: String,
    /// What to type.
    pub command: String,
    /// Version of Opticus that drew it.
    pub product_version: String,
}

impl Recipe {
    /// The picture as a PNG file that carries the recipe; equal for equal recipes and pictures.
    ///
    /// # Errors
    /// [`Error::Input`] for what PNG cannot hold.
    pub fn png(&self, picture: &Image8) -> Result<Vec<u8>> {
        let unwritable = |e: String| Error::Input(format!("the picture's recipe cannot be written: {e}"));
        let text = serde_json::to_string(self).map_err(|e| unwritable(e.to_string()))?;
        let software = format!("Opticus {}", self.product_version);
        // `Software` and `Comment` are PNG's own keywords, which picture viewers show.
        let texts =
            [("Software", software.as_str()), ("Comment", self.command.as_str()), (KEYWORD, text.as_str())];
        encode_png_with_text(picture, &texts).map_err(|e| unwritable(e.to_string()))
    }

    /// The recipe in a PNG file's bytes. The message does not name the file.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let texts = read_png_text(bytes).map_err(|e| Error::Input(e.to_string()))?;
        let (_, text) = texts.iter().find(|(keyword, _)| keyword == KEYWORD).ok_or_else(|| {
            Error::Input(
                "the picture does not say how it was made. Give a PNG of `opticus generate sample`, unchanged: other \
                 programs leave out what they do not know"
                    .into(),
            )
        })?;
        serde_json::from_str(text)
            .map_err(|e| Error::Input(format!("what the picture says of itself is damaged: {e}")))
    }

    /// The picture, again.
    ///
    /// # Errors
    /// [`Error::Config`] naming both fingerprints if another model drew it.
    pub fn draw(&self, generator: &Generator) -> Result<Image8> {
        let fingerprint = generator.fingerprint();
        if fingerprint != self.model {
            return Err(Error::Config(format!(
                "the picture was drawn by the model {}, and this one is {fingerprint}; give the same --model",
                self.model
            )));
        }
        let latent = match &self.latent {
            Some(latent) => latent.clone(),
            None => generator.latent(self.seed, self.truncation)?,
        };
        let embedding = match &self.embedding {
            Some(embedding) => Some(embedding.clone()),
            None => {
                generator.embed(&[self.ask.wish(generator.condition())?.0])?.map(|mut e| e.swap_remove(0))
            }
        };
        let drawn = generator.draw_embedded(&[latent], embedding.map(|e| vec![e]).as_deref())?;
        drawn.into_iter().next().ok_or_else(|| Error::ModelFile("the model draws nothing".into()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use opticus_pixels::Size;
    use opticus_pixels::codec::encode_png;

    use super::*;

    #[test]
    fn a_recipe_comes_back() {
        let picture = Image8 { size: Size::new(2, 1), channels: 3, data: vec![1, 2, 3, 4, 5, 6] };
        for ask in [
            Ask::Any,
            Ask::Label("3".into()),
            Ask::Numbers(vec![0.1, -3e-9]),
            Ask::Text("red \"drägon\"\n猫".into()),
        ] {
            let recipe = Recipe {
                seed: u64::MAX,
                ask,
                truncation: Some(0.7),
                latent: Some(vec![0.1, f32::MIN_POSITIVE, -1.0 / 3.0]),
                embedding: None,
                model: "ab".into(),
                command: "opticus generate sample".into(),
                product_version: "1".into(),
            };
            let png = recipe.png(&picture).unwrap();
            assert_eq!(Recipe::read(&png).unwrap(), recipe);
            assert_eq!(recipe.png(&picture).unwrap(), png);
        }
        let silent = Recipe::read(&encode_png(&picture).unwrap()).unwrap_err().to_string();
        assert!(silent.contains("does not say how"), "{silent}");
        let strange = encode_png_with_text(&picture, &[(KEYWORD, "{\"seed\":1}")]).unwrap();
        assert!(Recipe::read(&strange).unwrap_err().to_string().contains("damaged"));
        assert!(Recipe::read(b"GIF89a").is_err());
    }

    #[test]
    fn names_of_files_are_readable() {
        assert_eq!(Ask::Text("Red  dragon, /etc/../x!".into()).slug(), "Red-dragon-etc-x");
        assert_eq!(Ask::Numbers(vec![3.2, -0.1]).slug(), "3.2--0.1");
        assert_eq!(Ask::Text("../..".into()).slug(), "");
        assert!(Ask::Text("ü".repeat(500)).slug().chars().count() <= 48);
    }
}
