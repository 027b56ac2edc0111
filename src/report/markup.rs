//! HTML in which everything from outside has been escaped.

use std::fmt::Write;

/// A piece of well-formed HTML. It can be made from text only by escaping it, so that a class named
/// `<script>` is shown, not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markup(String);

impl Markup {
    /// Plain text.
    pub fn text(text: &str) -> Self {
        Self(escape(text))
    }

    /// A paragraph of plain text.
    pub fn paragraph(text: &str) -> Self {
        Self(format!("<p>{}</p>\n", escape(text)))
    }

    /// A quiet remark under a figure.
    pub fn note(text: &str) -> Self {
        Self(format!("<p class=\"note\">{}</p>\n", escape(text)))
    }

    /// Preformatted text, such as a configuration or a command, in a box that can be scrolled.
    pub fn code(text: &str) -> Self {
        Self(format!("<pre tabindex=\"0\"><code>{}</code></pre>\n", escape(text)))
    }

    /// What a reader sees only on asking.
    pub fn details(summary: &str, content: impl Into<Markup>) -> Self {
        let content = content.into();
        Self(format!("<details>\n<summary>{}</summary>\n{}</details>\n", escape(summary), content.as_str()))
    }

    /// Appends another piece.
    #[must_use]
    pub fn then(mut self, next: impl Into<Markup>) -> Self {
        self.0.push_str(next.into().as_str());
        self
    }

    /// The HTML.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// HTML that this room wrote itself, with every value escaped.
    pub(super) fn written(html: String) -> Self {
        Self(html)
    }
}

/// Text made safe between tags and inside quoted attributes.
///
/// Control characters, which HTML forbids, and the bidirectional overrides, with which a name could rearrange the
/// page around it, become the replacement character.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push(char::REPLACEMENT_CHARACTER),
            c if c.is_control() || (c as u32) & 0xfffe == 0xfffe => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}

/// At most `limit` characters of `text`, with an ellipsis where something was cut. Not escaped.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let kept: String = text.chars().take(limit.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Lower-case letters and digits of a title, joined by hyphens: an anchor that survives a copied link.
pub(super) fn slug(title: &str) -> String {
    let mut out = String::new();
    for word in title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let separator = if out.is_empty() { "" } else { "-" };
        let _ = write!(out, "{separator}{}", word.to_ascii_lowercase());
    }
    if out.is_empty() { "section".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hostile_name_is_shown_not_run() {
        let name = "<script>alert('x')</script>\" onload=\"y\u{202e}\0&amp;";
        let shown = escape(name);
        assert_eq!(
            shown,
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot; onload=&quot;y\u{fffd}\u{fffd}&amp;amp;"
        );
    }

    #[test]
    fn anchors_hold_nothing_but_letters_digits_and_hyphens() {
        assert_eq!(slug("What it mistakes, and for what"), "what-it-mistakes-and-for-what");
        assert_eq!(slug("<\"'>"), "section");
    }

    #[test]
    fn long_names_are_cut_by_characters_not_bytes() {
        assert_eq!(shortened("åäö", 3), "åäö");
        assert_eq!(shortened("åäöåäö", 3), "åä…");
    }

    proptest! {
        #[test]
        fn escaped_text_has_no_mark_that_html_reads(text in any::<String>()) {
            let shown = escape(&text);
            prop_assert!(!shown.contains(['<', '>', '"', '\'']));
            prop_assert!(shown.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));
            prop_assert_eq!(shown.matches('&').count(), shown.matches(';').count() - text.matches(';').count());
        }
    }
}
