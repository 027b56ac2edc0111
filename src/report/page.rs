//! The page: title, key figures, contents, sections.

use std::collections::BTreeSet;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::markup::{Markup, escape, slug};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("sort.js");

/// A key figure: the number one looks for first.
#[derive(Clone, Debug)]
pub struct Tile {
    label: String,
    value: String,
    note: String,
}

impl Tile {
    /// A figure and what it is.
    pub fn new(label: &str, value: &str) -> Self {
        Self { label: label.to_owned(), value: value.to_owned(), note: String::new() }
    }

    /// A few words under it: on what it was measured.
    #[must_use]
    pub fn note(mut self, note: &str) -> Self {
        note.clone_into(&mut self.note);
        self
    }
}

/// A part of the page with its own heading and its own link.
#[derive(Clone, Debug)]
pub struct Section {
    title: String,
    lede: String,
    blocks: Markup,
}

impl Section {
    /// Under another title.
    #[must_use]
    pub fn renamed(mut self, title: &str) -> Self {
        title.clone_into(&mut self.title);
        self
    }

    /// An empty section.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), lede: String::new(), blocks: Markup::default() }
    }

    /// What the section shows, in a sentence or two.
    #[must_use]
    pub fn lede(mut self, lede: &str) -> Self {
        lede.clone_into(&mut self.lede);
        self
    }

    /// Adds a block: a plot, a table, a gallery, a paragraph.
    #[must_use]
    pub fn push(mut self, block: impl Into<Markup>) -> Self {
        self.blocks = self.blocks.then(block);
        self
    }

    /// A heading of the second rank inside the section.
    #[must_use]
    pub fn heading(self, heading: &str) -> Self {
        self.push(Markup::written(format!("<h3>{}</h3>\n", escape(heading))))
    }
}

/// Blocks beside one another where there is room.
pub fn columns(blocks: impl IntoIterator<Item = Markup>) -> Markup {
    let inside: String = blocks.into_iter().map(|block| format!("<div>{}</div>\n", block.as_str())).collect();
    Markup::written(format!("<div class=\"columns\">\n{inside}</div>\n"))
}

/// A whole page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    title: String,
    eyebrow: String,
    lede: String,
    tiles: Vec<Tile>,
    sections: Vec<Section>,
    colophon: String,
}

impl Page {
    /// An empty page.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }

    /// The small line above the title.
    #[must_use]
    pub fn eyebrow(mut self, eyebrow: &str) -> Self {
        eyebrow.clone_into(&mut self.eyebrow);
        self
    }

    /// The page in a sentence or two.
    #[must_use]
    pub fn lede(mut self, lede: &str) -> Self {
        lede.clone_into(&mut self.lede);
        self
    }

    /// Adds a key figure.
    #[must_use]
    pub fn tile(mut self, tile: Tile) -> Self {
        self.tiles.push(tile);
        self
    }

    /// Adds a section.
    #[must_use]
    pub fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// The last line of the page: what made it.
    #[must_use]
    pub fn colophon(mut self, colophon: &str) -> Self {
        colophon.clone_into(&mut self.colophon);
        self
    }

    /// The HTML document.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Even if something hostile came through, the browser runs no script but ours and fetches nothing.
        let hash = STANDARD.encode(Sha256::digest(SCRIPT.as_bytes()));
        let _ = write!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
             style-src 'unsafe-inline'; script-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"generator\" content=\"Opticus {}\">\n\
             <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
            env!("CARGO_PKG_VERSION"),
            escape(&self.title),
        );
        self.write_header(&mut out);
        let mut used = BTreeSet::new();
        let ids: Vec<String> =
            self.sections.iter().map(|section| unused(&section.title, &mut used)).collect();
        if self.sections.len() > 2 {
            out.push_str("<nav aria-label=\"Contents\"><ol>\n");
            for (section, id) in self.sections.iter().zip(&ids) {
                let _ = writeln!(out, "<li><a href=\"#{id}\">{}</a></li>", escape(&section.title));
            }
            out.push_str("</ol></nav>\n");
        }
        out.push_str("<main>\n");
        for (section, id) in self.sections.iter().zip(&ids) {
            let _ = writeln!(
                out,
                "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{}</h2>",
                escape(&section.title)
            );
            if !section.lede.is_empty() {
                let _ = writeln!(out, "<p class=\"lede\">{}</p>", escape(&section.lede));
            }
            let _ = writeln!(out, "{}</section>", section.blocks.as_str());
        }
        out.push_str("</main>\n");
        if !self.colophon.is_empty() {
            let _ = writeln!(out, "<footer><p>{}</p></footer>", escape(&self.colophon));
        }
        let _ = write!(out, "<script>{SCRIPT}</script>\n</body>\n</html>\n");
        out
    }

    fn write_header(&self, out: &mut String) {
        out.push_str("<header>\n");
        if !self.eyebrow.is_empty() {
            let _ = writeln!(out, "<p class=\"eyebrow\">{}</p>", escape(&self.eyebrow));
        }
        let _ = writeln!(out, "<h1>{}</h1>", escape(&self.title));
        if !self.lede.is_empty() {
            let _ = writeln!(out, "<p class=\"lede\">{}</p>", escape(&self.lede));
        }
        if !self.tiles.is_empty() {
            out.push_str("<dl class=\"tiles\">\n");
            for tile in &self.tiles {
                let _ = writeln!(
                    out,
                    "<div><dt>{}</dt><dd>{}</dd><dd class=\"note\">{}</dd></div>",
                    escape(&tile.label),
                    escape(&tile.value),
                    escape(&tile.note)
                );
            }
            out.push_str("</dl>\n");
        }
        out.push_str("</header>\n");
    }
}

/// An anchor for this title that no section before it has.
fn unused(title: &str, used: &mut BTreeSet<String>) -> String {
    let base = slug(title);
    let mut id = base.clone();
    let mut number = 2;
    while !used.insert(id.clone()) {
        id = format!("{base}-{number}");
        number += 1;
    }
    id
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_page_holds_all_it_needs_and_escapes_what_it_is_given() {
        let section = || Section::new("<s>").lede("<l>").heading("<h>").push(Markup::paragraph("<p1>"));
        let page = Page::new("<t>").eyebrow("<e>").lede("<k>").colophon("<f>");
        let page = page.tile(Tile::new("<x>", "<y>").note("<z>")).section(section()).section(section());
        let html = page.section(section()).render();
        for tag in ["<s>", "<l>", "<h>", "<p1>", "<t>", "<e>", "<k>", "<f>", "<x>", "<y>", "<z>"] {
            assert!(!html.contains(tag), "{tag}");
            assert!(html.contains(&escape(tag)), "{tag}");
        }
        for fetched in ["http://", "https://", "<link", "@import", "url("] {
            assert!(!html.contains(fetched), "the page fetches {fetched}");
        }
        // Equal titles get anchors of their own.
        for id in ["id=\"s\"", "id=\"s-2\"", "id=\"s-3\""] {
            assert_eq!(html.matches(id).count(), 1, "{id}");
        }
    }

    #[test]
    fn the_policy_allows_exactly_the_script_of_the_page() {
        let html = Page::new("t").render();
        let script = html.split("<script>").nth(1).unwrap().split("</script>").next().unwrap();
        let hash = STANDARD.encode(Sha256::digest(script.as_bytes()));
        assert!(html.contains(&format!("script-src 'sha256-{hash}'")));
        assert_eq!(html.matches("<script").count(), 1);
    }
}
