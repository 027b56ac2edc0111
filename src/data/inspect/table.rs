//! An inspection for people.

use std::fmt;

use super::{DuplicateGroup, FileNote, Findings, Inspection};
use crate::data::open::Format;

/// The most classes and the most findings of a kind that are shown; JSON has them all.
pub(super) const CLASSES: usize = 40;
pub(super) const SHOWN: usize = 6;

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.format {
            Some(Format::Folder) => "class folders",
            Some(Format::Idx) => "IDX files",
            Some(Format::Cifar) => "CIFAR files",
            Some(Format::Csv) => "a table",
            Some(Format::Coco) => "COCO instances",
            Some(Format::Voc) => "Pascal VOC",
            Some(Format::Yolo) => "YOLO",
            _ => "pictures without classes",
        };
        writeln!(f, "{}: {kind}, {} pictures, {}", self.path, self.pictures, human_bytes(self.bytes))?;
        if self.readable < self.pictures {
            writeln!(f, "  {} of them can be read", self.readable)?;
        }
        self.write_classes(f)?;
        if let Some(boxes) = &self.boxes {
            boxes.write_counts(f, &self.splits)?;
        }
        self.write_pixels(f)?;
        writeln!(f)?;
        let clean = match &self.boxes {
            Some(boxes) => boxes.write_findings(f)?,
            None => true,
        };
        self.write_findings(f, clean)
    }
}

impl Inspection {
    fn write_classes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.classes.is_empty() {
            return Ok(());
        }
        let total = |i: usize| self.classes[i].pictures.iter().sum::<usize>();
        let most = (0..self.classes.len()).map(total).max().unwrap_or(0);
        let width = self.classes.iter().map(|c| c.label.chars().count()).max().unwrap_or(0).clamp(5, 32);
        write!(f, "\n  {:width$}", "class")?;
        for split in &self.splits {
            write!(f, " {:>7}", split.to_string())?;
        }
        writeln!(f)?;
        for (i, class) in self.classes.iter().take(CLASSES).enumerate() {
            let label: String = class.label.chars().take(width).collect();
            write!(f, "  {label:width$}")?;
            for pictures in &class.pictures {
                write!(f, " {pictures:>7}")?;
            }
            writeln!(f, "  {}", "▆".repeat((total(i) * 30).div_ceil(most.max(1))))?;
        }
        if self.classes.len() > CLASSES {
            writeln!(f, "  … and {} more classes", self.classes.len() - CLASSES)?;
        }
        if let Some(balance) = self.balance.as_ref().filter(|b| b.fewest < b.most) {
            writeln!(
                f,
                "  balance: {:?} has {}, {:?} has {}; evenness {:.3}",
                balance.smallest, balance.fewest, balance.largest, balance.most, balance.evenness
            )?;
        }
        Ok(())
    }

    fn write_pixels(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.readable == 0 {
            return Ok(());
        }
        let common: Vec<String> = self
            .sizes
            .common
            .iter()
            .take(4)
            .map(|s| format!("{}x{} ({})", s.width, s.height, s.pictures))
            .collect();
        write!(f, "\n  sizes    {}", common.join(", "))?;
        if self.sizes.distinct > common.len() {
            let ([w, _, w2], [h, _, h2]) = (self.sizes.width, self.sizes.height);
            write!(f, "; {} in all, {w} to {w2} wide, {h} to {h2} high", self.sizes.distinct)?;
        }
        let list = |counts: &std::collections::BTreeMap<String, usize>| {
            counts.iter().map(|(k, n)| format!("{k} {n}")).collect::<Vec<_>>().join(", ")
        };
        writeln!(f, "\n  formats  {}\n  pixels   {}", list(&self.formats), list(&self.pixels))?;
        let numbers = |v: &[f64]| v.iter().map(|x| format!("{x:.4}")).collect::<Vec<_>>().join(" ");
        writeln!(f, "  mean     {}\n  std      {}", numbers(&self.mean), numbers(&self.std))
    }

    fn write_findings(&self, f: &mut fmt::Formatter<'_>, clean: bool) -> fmt::Result {
        let mut found = !clean;
        if !self.empty_classes.is_empty() {
            found = true;
            writeln!(
                f,
                "✗ {} class folders without pictures: {}",
                self.empty_classes.len(),
                self.empty_classes.join(", ")
            )?;
        }
        let files: [(&str, &str, &Findings<FileNote>); 10] = [
            ("✗", "cannot be read", &self.unreadable),
            ("✗", "lie beside the class folders and are not loaded", &self.stray),
            ("!", "have a name that does not fit their content", &self.wrong_extension),
            ("!", "are very small or very long", &self.degenerate),
            ("!", "show one tone only", &self.blank),
            ("·", "are turned by an EXIF tag (applied on loading)", &self.exif_rotated),
            ("·", "are in print colours (converted on loading)", &self.cmyk),
            ("·", "have more than 8 bits a channel (reduced on loading)", &self.deep),
            ("·", "have several frames (the first is loaded)", &self.animated),
            ("·", "have no picture's name and are not loaded", &self.ignored),
        ];
        for (mark, what, findings) in files {
            if findings.count == 0 {
                continue;
            }
            found = true;
            writeln!(f, "{mark} {} {what}", plural(findings.count, "file"))?;
            for note in findings.listed.iter().take(SHOWN) {
                writeln!(f, "    {}: {}", note.file, note.note)?;
            }
            more(f, findings.count, findings.listed.len())?;
        }
        let groups: [(&str, &str, &Findings<DuplicateGroup>); 4] = [
            ("!", "in more than one part of the data: evaluation may flatter", &self.leakage),
            ("!", "with more than one label", &self.conflicting_labels),
            ("!", "of files with the same bytes", &self.exact_duplicates),
            ("!", "of pictures that look the same", &self.near_duplicates),
        ];
        for (mark, what, findings) in groups {
            if findings.count == 0 {
                continue;
            }
            found = true;
            writeln!(f, "{mark} {} {what}", plural(findings.count, "group"))?;
            for group in findings.listed.iter().take(SHOWN) {
                writeln!(f, "    {}", describe(group))?;
            }
            more(f, findings.count, findings.listed.len())?;
        }
        let held: usize = self.classes.iter().map(|c| self.held_out(&c.pictures)).sum();
        if self.leaked_pictures > 0 {
            writeln!(f, "✗ {} of {held} held-out pictures are in the training data", self.leaked_pictures)?;
        }
        if self.leaked_alike > 0 {
            writeln!(
                f,
                "! {} of {held} held-out pictures look like one of the training data",
                self.leaked_alike
            )?;
        }
        if !found {
            writeln!(f, "✓ nothing that would ruin training")?;
        }
        Ok(())
    }

    /// Pictures of one class that are not to be trained on.
    fn held_out(&self, pictures: &[usize]) -> usize {
        use crate::data::open::Split;
        self.splits.iter().zip(pictures).filter(|(s, _)| **s != Split::Train).map(|(_, n)| n).sum()
    }
}

fn describe(group: &DuplicateGroup) -> String {
    let mut names: Vec<String> = group
        .members
        .iter()
        .take(4)
        .map(|m| match (&m.split, &m.label) {
            (Some(split), Some(label)) => format!("{} ({split}, {label})", m.file),
            (None, Some(label)) => format!("{} ({label})", m.file),
            _ => m.file.clone(),
        })
        .collect();
    if group.members.len() > names.len() {
        names.push(format!("{} more", group.members.len() - names.len()));
    }
    let text = names.join(" = ");
    if group.similarity < 1.0 { format!("{text}, alike by {:.3}", group.similarity) } else { text }
}

pub(super) fn more(f: &mut fmt::Formatter<'_>, count: usize, listed: usize) -> fmt::Result {
    let shown = listed.min(SHOWN);
    if count > shown { writeln!(f, "    … and {} more", count - shown) } else { Ok(()) }
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn human_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
