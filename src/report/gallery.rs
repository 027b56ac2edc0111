//! Pictures with what is to be said about them.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opticus_pixels::codec::encode_png;
use opticus_pixels::{Image8, Size};

use super::markup::{Markup, escape, shortened};
use super::number::percent;
use crate::error::{Error, Result};

/// Pictures whose longer side is below this are shown with visible pixels rather than blurred.
const SMALL: u32 = 100;

/// A picture inside the page.
#[derive(Clone, Debug)]
pub struct Picture {
    base64: String,
    size: Size,
    alt: String,
}

impl Picture {
    /// Encodes a picture. `alt` says in words what it shows, for those who cannot see it.
    ///
    /// # Errors
    /// [`Error::Input`] if the picture cannot be encoded (its samples do not fit its size).
    pub fn new(image: &Image8, alt: &str) -> Result<Self> {
        let png = encode_png(image)
            .map_err(|e| Error::Input(format!("cannot put a picture into the report ({alt}): {e}")))?;
        Ok(Self { base64: STANDARD.encode(png), size: image.size, alt: alt.to_owned() })
    }

    fn html(&self) -> String {
        let small = self.size.width.max(self.size.height) < SMALL;
        format!(
            "<img src=\"data:image/png;base64,{}\" width=\"{}\" height=\"{}\" alt=\"{}\"{}>",
            self.base64,
            self.size.width,
            self.size.height,
            escape(&self.alt),
            if small { " class=\"pixels\"" } else { "" }
        )
    }
}

impl From<Picture> for Markup {
    fn from(picture: Picture) -> Self {
        Self::written(format!("<figure class=\"picture\">{}</figure>\n", picture.html()))
    }
}

/// Whether what a card shows is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Right,
    /// Not as it should be.
    Wrong,
}

/// One answer with its probability, drawn as a bar.
#[derive(Clone, Debug)]
pub struct Guess {
    /// The answer.
    pub label: String,
    /// 0..=1.
    pub probability: f64,
    /// Whether it is the true one.
    pub truth: bool,
}

/// One or more pictures side by side with title, caption and guesses.
#[derive(Clone, Debug)]
pub struct Card {
    pictures: Vec<Picture>,
    title: String,
    caption: String,
    verdict: Option<Verdict>,
    guesses: Vec<Guess>,
}

impl Card {
    /// A card with a picture and nothing said yet.
    pub fn new(picture: Picture) -> Self {
        Self {
            pictures: vec![picture],
            title: String::new(),
            caption: String::new(),
            verdict: None,
            guesses: Vec::new(),
        }
    }

    /// Another picture to the right of the first: the same with a heat map, say.
    #[must_use]
    pub fn beside(mut self, picture: Picture) -> Self {
        self.pictures.push(picture);
        self
    }

    /// The line in ink under the picture.
    #[must_use]
    pub fn title(mut self, title: &str) -> Self {
        title.clone_into(&mut self.title);
        self
    }

    /// The quiet line below.
    #[must_use]
    pub fn caption(mut self, caption: &str) -> Self {
        caption.clone_into(&mut self.caption);
        self
    }

    /// Marks the card as right or wrong, by sign and by colour.
    #[must_use]
    pub fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = Some(verdict);
        self
    }

    /// Adds an answer.
    #[must_use]
    pub fn guess(mut self, guess: Guess) -> Self {
        self.guesses.push(guess);
        self
    }

    fn write(&self, out: &mut String) {
        let wide = if self.pictures.len() > 1 { " wide" } else { "" };
        let _ = write!(out, "<figure class=\"card{wide}\"><div class=\"pictures\">");
        for picture in &self.pictures {
            out.push_str(&picture.html());
        }
        out.push_str("</div><figcaption>");
        if !self.title.is_empty() {
            let sign = match self.verdict {
                Some(Verdict::Right) => "<span class=\"right\" role=\"img\" aria-label=\"right\">✓</span> ",
                Some(Verdict::Wrong) => "<span class=\"wrong\" role=\"img\" aria-label=\"wrong\">✗</span> ",
                None => "",
            };
            let _ = write!(out, "<strong>{sign}<bdi>{}</bdi></strong>", escape(&shortened(&self.title, 80)));
        }
        if !self.guesses.is_empty() {
            out.push_str("<ul class=\"guesses\">");
            for guess in &self.guesses {
                let share =
                    if guess.probability.is_finite() { guess.probability.clamp(0.0, 1.0) } else { 0.0 };
                let _ = write!(
                    out,
                    "<li{} style=\"--share:{:.2}%\" title=\"{}\"><bdi>{}</bdi><span>{}</span></li>",
                    if guess.truth { " class=\"truth\"" } else { "" },
                    share * 100.0,
                    escape(&guess.label),
                    escape(&shortened(&guess.label, 28)),
                    percent(guess.probability, 1),
                );
            }
            out.push_str("</ul>");
        }
        if !self.caption.is_empty() {
            let _ = write!(
                out,
                "<small title=\"{}\"><bdi>{}</bdi></small>",
                escape(&self.caption),
                escape(&shortened(&self.caption, 120))
            );
        }
        out.push_str("</figcaption></figure>\n");
    }
}

/// Cards in rows, as many a row as there is room for.
#[derive(Clone, Debug, Default)]
pub struct Gallery {
    cards: Vec<Card>,
}

impl Gallery {
    /// An empty gallery.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a card.
    #[must_use]
    pub fn card(mut self, card: Card) -> Self {
        self.cards.push(card);
        self
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }
}

impl Extend<Card> for Gallery {
    fn extend<T: IntoIterator<Item = Card>>(&mut self, cards: T) {
        self.cards.extend(cards);
    }
}

impl FromIterator<Card> for Gallery {
    fn from_iter<T: IntoIterator<Item = Card>>(cards: T) -> Self {
        Self { cards: cards.into_iter().collect() }
    }
}

impl From<Gallery> for Markup {
    fn from(gallery: Gallery) -> Self {
        if gallery.is_empty() {
            return Self::default();
        }
        let mut out = String::from("<div class=\"gallery\">\n");
        for card in &gallery.cards {
            card.write(&mut out);
        }
        out.push_str("</div>\n");
        Self::written(out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn dot() -> Image8 {
        Image8 { size: Size::new(2, 1), channels: 3, data: vec![255, 0, 0, 0, 0, 255] }
    }

    #[test]
    fn a_picture_in_the_page_is_the_picture_given() {
        let html = Markup::from(Picture::new(&dot(), "red \"and\" blue").unwrap()).as_str().to_owned();
        assert!(html.contains("alt=\"red &quot;and&quot; blue\"") && html.contains("class=\"pixels\""));
        let data = html.split("base64,").nth(1).unwrap().split('"').next().unwrap();
        let png = STANDARD.decode(data).unwrap();
        let back = opticus_pixels::codec::decode(&png, &opticus_pixels::codec::Limits::default()).unwrap();
        assert_eq!(back.to_image8(opticus_pixels::codec::ColorMode::Rgb), dot());
    }

    #[test]
    fn a_picture_that_is_none_is_an_error() {
        let broken = Image8 { size: Size::new(9, 9), channels: 3, data: vec![0; 5] };
        assert!(matches!(Picture::new(&broken, "x"), Err(Error::Input(_))));
    }

    #[test]
    fn cards_escape_what_they_say() {
        let guess = Guess { label: "<a>".into(), probability: 0.25, truth: true };
        let card = Card::new(Picture::new(&dot(), "<b>").unwrap()).beside(Picture::new(&dot(), "").unwrap());
        let card = card.title("<c>").caption("<d>").verdict(Verdict::Wrong).guess(guess);
        let html = Markup::from(Gallery::new().card(card)).as_str().to_owned();
        for tag in ["<a>", "<b>", "<c>", "<d>"] {
            assert!(!html.contains(tag), "{tag}");
        }
        assert!(
            html.contains("aria-label=\"wrong\"")
                && html.contains("class=\"truth\" style=\"--share:25.00%\"")
        );
        assert_eq!(html.matches("<img ").count(), 2);
    }
}
