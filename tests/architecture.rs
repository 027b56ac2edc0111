//! The rules of the house, as tests: a rule is a test or it is deleted.
//!
//! Imports run one way, every job has the same files, `unsafe` lives in one room, presets parse, the commands that the
//! documents show exist, and the documents that commands print are described.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which room of `src/` may import which. What is not listed is refused; a new room is added here on purpose.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // Foundations: everyone may import them.
    ("error", &[]),
    ("files", FOUNDATIONS),
    ("tensors", FOUNDATIONS),
    ("settings", FOUNDATIONS),
    // The middle rooms do not know one another.
    ("train", FOUNDATIONS),
    ("nets", FOUNDATIONS),
    ("data", FOUNDATIONS),
    ("bundle", FOUNDATIONS),
    ("report", FOUNDATIONS),
    // A job never imports a job.
    ("classify", MIDDLE),
    ("detect", MIDDLE),
    ("fuse", MIDDLE),
    ("generate", MIDDLE),
    ("cli", JOBS),
    ("server", JOBS),
];
const FOUNDATIONS: &[&str] = &["error", "files", "tensors", "settings"];
const MIDDLE: &[&str] =
    &["error", "files", "tensors", "settings", "train", "nets", "data", "bundle", "report"];
const JOBS: &[&str] = &[
    "error", "files", "tensors", "settings", "train", "nets", "data", "bundle", "report", "classify",
    "detect", "fuse", "generate",
];

/// Crates that only some rooms may know: (crate, rooms).
const KEPT_TO: &[(&str, &[&str])] = &[
    ("burn", &["nets", "train", "classify", "detect", "fuse", "generate", "cli"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("ctrlc", &["cli"]),
];

/// The files that every job has, so that who knows one knows all.
const JOB_FILES: &[&str] =
    &["mod", "config", "dataset", "net", "loss", "learner", "metrics", "predict", "report"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under `folder` whose name ends with `suffix`, in order, without build outputs.
fn files_under(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && name != "runs" && !name.starts_with('.') {
                found.extend(files_under(&path, suffix));
            }
        } else if name.ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Rust source with comments, strings and character literals blanked out, line numbers kept.
fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = String::with_capacity(source.len());
    let mut i = 0;
    while i < chars.len() {
        let end = match (at(i), at(i + 1)) {
            ('/', '/') => (i..chars.len()).find(|&k| at(k) == '\n').unwrap_or(chars.len()),
            ('/', '*') => {
                let (mut depth, mut k) = (1, i + 2);
                while k < chars.len() && depth > 0 {
                    match (at(k), at(k + 1)) {
                        ('/', '*') => (depth, k) = (depth + 1, k + 2),
                        ('*', '/') => (depth, k) = (depth - 1, k + 2),
                        _ => k += 1,
                    }
                }
                k
            }
            ('r', '"' | '#') if !identifier(i.checked_sub(1).map_or(' ', at)) || at(i - 1) == 'b' => {
                let hashes = (i + 1..).take_while(|&k| at(k) == '#').count();
                if at(i + 1 + hashes) == '"' {
                    let close = |k: usize| at(k) == '"' && (1..=hashes).all(|h| at(k + h) == '#');
                    let last = (i + 2 + hashes..chars.len()).find(|&k| close(k));
                    last.map_or(chars.len(), |k| k + 1 + hashes)
                } else {
                    i
                }
            }
            ('"', _) => {
                let mut k = i + 1;
                while k < chars.len() && at(k) != '"' {
                    k += if at(k) == '\\' { 2 } else { 1 };
                }
                k + 1
            }
            // A character literal, not a lifetime: 'x' or an escape.
            ('\'', '\\') => (i + 3..chars.len()).find(|&k| at(k) == '\'').map_or(chars.len(), |k| k + 1),
            ('\'', _) if at(i + 2) == '\'' => i + 3,
            _ => i,
        };
        if end == i {
            out.push(at(i));
            i += 1;
        } else {
            out.extend((i..end.min(chars.len())).map(|k| if at(k) == '\n' { '\n' } else { ' ' }));
            i = end;
        }
    }
    out
}

fn identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Identifiers and single punctuation marks, with their line (from 1).
fn tokens(code: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut word = String::new();
        for c in line.chars().chain([' ']) {
            if identifier(c) {
                word.push(c);
                continue;
            }
            if !word.is_empty() {
                out.push((number + 1, std::mem::take(&mut word)));
            }
            if !c.is_whitespace() {
                out.push((number + 1, c.to_string()));
            }
        }
    }
    out
}

/// What a file imports from the crate's root: (line, name). `depth` is how many `super` lead from it to the root.
fn root_imports(source: &str, depth: usize) -> Vec<(usize, String)> {
    let tokens = tokens(&code_only(source));
    let word = |i: usize| tokens.get(i).map_or("", |t| t.1.as_str());
    let path_mark = |i: usize| word(i) == ":" && word(i + 1) == ":";
    let mut found = Vec::new();
    // For each open brace: does it open a module inside the file?
    let mut braces: Vec<bool> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let start = match word(i) {
            "{" => {
                braces.push(i >= 2 && word(i - 2) == "mod");
                i += 1;
                continue;
            }
            "}" => {
                braces.pop();
                i += 1;
                continue;
            }
            "crate" if path_mark(i + 1) => i + 3,
            "super" if path_mark(i + 1) => {
                let mut steps = 0;
                while word(i + 3 * steps) == "super" && path_mark(i + 3 * steps + 1) {
                    steps += 1;
                }
                let inner = braces.iter().filter(|&&module| module).count();
                i += 3 * steps;
                if steps < depth + inner {
                    continue;
                }
                i
            }
            _ => {
                i += 1;
                continue;
            }
        };
        i = start;
        if word(i) != "{" {
            found.push((tokens[start.min(tokens.len() - 1)].0, word(i).to_owned()));
            continue;
        }
        // A group: the first name of every branch at this level.
        let (mut level, mut first) = (0, true);
        while i < tokens.len() {
            match word(i) {
                "{" => level += 1,
                "}" => level -= 1,
                "," if level == 1 => first = true,
                name if level == 1 && first => {
                    found.push((tokens[i].0, name.to_owned()));
                    first = false;
                }
                _ => {}
            }
            i += 1;
            if level == 0 {
                break;
            }
        }
    }
    found
}

/// The room of a file under `src/`, and how many `super` lead from it to the crate's root.
fn room_and_depth(file: &Path) -> (String, usize) {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    let mut parts: Vec<String> =
        inside.with_extension("").iter().map(|p| p.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|p| p == "mod") {
        parts.pop();
    }
    (parts[0].clone(), parts.len())
}

#[test]
fn imports_run_one_way() {
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut faults = Vec::new();
    for file in files_under(&root().join("src"), ".rs") {
        let (room, depth) = room_and_depth(&file);
        if room == "lib" || room == "main" {
            continue;
        }
        let Some(allowed) = table.get(room.as_str()) else {
            faults.push(format!("{}: {room} is a room that the table does not know", file.display()));
            continue;
        };
        for (line, name) in root_imports(&std::fs::read_to_string(&file).unwrap(), depth) {
            // The root re-exports the error type for everyone.
            let name = if name == "Error" || name == "Result" { "error".to_owned() } else { name };
            if name != room && !allowed.contains(&name.as_str()) {
                faults.push(format!("{}:{line}: {room} imports {name}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "imports run one way, see MAY_IMPORT:\n{}", faults.join("\n"));
}

#[test]
fn the_import_scan_sees_every_way_to_import() {
    let names = |source: &str, depth| -> Vec<String> {
        root_imports(source, depth).into_iter().map(|(_, name)| name).collect()
    };
    assert_eq!(names("use crate::data::Loader;", 1), ["data"]);
    assert_eq!(names("use crate::{Error, nets::{self, Net}, train};", 1), ["Error", "nets", "train"]);
    assert_eq!(names("fn f() { let x = crate::report::page(); }", 1), ["report"]);
    assert_eq!(names("use super::data;", 1), ["data"]);
    assert_eq!(names("use super::data;", 2), [""; 0]);
    assert_eq!(names("use super::super::data;", 2), ["data"]);
    assert_eq!(names("mod tests { use super::*; use super::super::data; }", 1), ["data"]);
    assert_eq!(
        names("// crate::data\n/* crate::nets /* */ crate::a */ \"crate::b\" r#\"crate::c\"#", 1),
        [""; 0]
    );
    assert_eq!(names("let q = '\"'; crate::data::x('\\'', \"crate::no\")", 1), ["data"]);
    assert_eq!(root_imports("\n\nuse crate::data;", 1), [(3, "data".to_owned())]);
}

#[test]
fn crates_keep_to_their_rooms() {
    let mut faults = Vec::new();
    for file in files_under(&root().join("src"), ".rs") {
        let (room, _) = room_and_depth(&file);
        let tokens = tokens(&code_only(&std::fs::read_to_string(&file).unwrap()));
        for window in tokens.windows(3) {
            let [(line, name), (_, a), (_, b)] = window else { continue };
            for (kept, rooms) in KEPT_TO {
                if name == kept && a == ":" && b == ":" && !rooms.contains(&room.as_str()) {
                    faults.push(format!("{}:{line}: {room} uses {kept}", file.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "see KEPT_TO:\n{}", faults.join("\n"));
}

#[test]
fn pictures_know_neither_the_product_nor_tensors_nor_flags() {
    let text = std::fs::read_to_string(root().join("crates/opticus-pixels/Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&text).unwrap();
    let known = manifest["dependencies"].as_table().unwrap();
    for refused in ["opticus", "burn", "clap"] {
        assert!(!known.contains_key(refused), "opticus-pixels depends on {refused}");
    }
}

#[test]
fn unsafe_lives_in_one_room() {
    let manifest: toml::Table =
        toml::from_str(&std::fs::read_to_string(root().join("Cargo.toml")).unwrap()).unwrap();
    assert_eq!(manifest["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    let kernels = root().join("crates/opticus-kernels");
    let mut faults = Vec::new();
    for file in files_under(root(), ".rs").into_iter().filter(|f| !f.starts_with(&kernels)) {
        for (line, word) in tokens(&code_only(&std::fs::read_to_string(&file).unwrap())) {
            if word == "unsafe" {
                faults.push(format!("{}:{line}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "unsafe outside crates/opticus-kernels:\n{}", faults.join("\n"));
    for member in std::fs::read_dir(root().join("crates")).unwrap() {
        let path = member.unwrap().path();
        if path == kernels {
            continue;
        }
        let text = std::fs::read_to_string(path.join("Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(
            manifest["lints"]["workspace"].as_bool(),
            Some(true),
            "{} has its own lints",
            path.display()
        );
    }
}

#[test]
fn every_job_has_the_same_files() {
    let mut seen = 0;
    for job in ["classify", "detect", "fuse", "generate"] {
        let folder = root().join("src").join(job);
        // A job has them all from the day it learns; measuring may come first.
        if !folder.join("learner.rs").is_file() && !folder.join("learner").is_dir() {
            continue;
        }
        seen += 1;
        let present: BTreeSet<String> = files_under(&folder, ".rs")
            .iter()
            .map(|f| f.strip_prefix(&folder).unwrap().with_extension("").iter().next().unwrap().to_owned())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        for file in JOB_FILES {
            assert!(present.contains(*file), "src/{job} has no {file}.rs");
        }
    }
    assert!(seen > 0, "no job found under src/");
}

#[test]
fn names_say_what_a_module_is_for() {
    let refused = ["utils", "util", "common", "helpers", "helper", "misc"];
    for file in files_under(root(), ".rs") {
        let inside = file.strip_prefix(root()).unwrap().with_extension("");
        for part in &inside {
            let name = part.to_string_lossy();
            assert!(!refused.contains(&name.as_ref()), "{}: {name} says nothing", file.display());
        }
        let tokens = tokens(&code_only(&std::fs::read_to_string(&file).unwrap()));
        for pair in tokens.windows(2) {
            let named = pair[0].1 == "mod" && refused.contains(&pair[1].1.as_str());
            assert!(!named, "{}:{}: mod {} says nothing", file.display(), pair[1].0, pair[1].1);
        }
    }
}

/// Files that git tracks, or, outside a checkout, all files but build outputs.
fn tracked_files() -> Vec<PathBuf> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    match listed {
        Ok(out) if out.status.success() && !out.stdout.is_empty() => String::from_utf8_lossy(&out.stdout)
            .split_terminator('\0')
            .map(|name| root().join(name))
            .filter(|path| path.is_file())
            .collect(),
        _ => files_under(root(), ""),
    }
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    // Spelt in pieces, so that this file does not match itself.
    let refused = ["work", "tmp/wt", "tmp/ref", "home", "root", "Users"].map(|place| format!("/{place}/"));
    let mut faults = Vec::new();
    for file in tracked_files() {
        // Pictures and weights are not text.
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            for place in &refused {
                let absolute = line.match_indices(place.as_str()).any(|(i, _)| {
                    let before = line[..i].chars().next_back().unwrap_or(' ');
                    !identifier(before) && !matches!(before, '.' | '-' | '/' | '}' | ')' | '*')
                });
                if absolute {
                    faults.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "absolute paths of one machine:\n{}", faults.join("\n"));
}

/// The `opticus …` command lines that a document shows, in code blocks and in `inline code`.
fn shown_commands(markdown: &str) -> Vec<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    let mut in_block = false;
    let mut continued = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            let text = line.trim().trim_start_matches("$ ");
            let text_without_mark = text.trim_end_matches('\\').trim_end();
            match lines.last_mut() {
                Some(last) if continued => *last = format!("{last} {text_without_mark}"),
                _ => lines.push(text_without_mark.to_owned()),
            }
            continued = text.ends_with('\\');
        } else {
            lines.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    lines
        .iter()
        .filter_map(|line| {
            let line = line.split(" #").next().unwrap_or(line);
            let line = line.split(['|', '>', ';']).next().unwrap_or(line);
            let words: Vec<&str> = line.split_whitespace().collect();
            let start = match words.as_slice() {
                ["opticus", _, ..] => 1,
                ["cargo", "run", ..] => words.iter().position(|w| *w == "--")? + 1,
                _ => return None,
            };
            Some(words[start..].iter().map(|w| (*w).to_owned()).collect())
        })
        .collect()
}

fn help(words: &[String]) -> Option<String> {
    let out = Command::new(env!("CARGO_BIN_EXE_opticus")).args(words).arg("--help").output().unwrap();
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Whether a help text lists `name` under its commands.
fn lists_command(help: &str, name: &str) -> bool {
    let listed = help.lines().skip_while(|line| line.trim() != "Commands:").skip(1);
    listed.take_while(|line| !line.trim().is_empty()).any(|line| line.split_whitespace().next() == Some(name))
}

/// Whether a help text documents a flag such as `--epochs` or `-q`.
fn documents_flag(help: &str, flag: &str) -> bool {
    help.match_indices(flag).any(|(i, _)| {
        let before = help[..i].chars().next_back().unwrap_or(' ');
        let after = help[i + flag.len()..].chars().next().unwrap_or(' ');
        !identifier(before) && before != '-' && !identifier(after) && after != '-'
    })
}

#[test]
fn commands_shown_in_the_documents_exist() {
    let mut documents = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    documents.extend(files_under(&root().join("docs"), ".md"));
    let mut seen = 0;
    for document in documents {
        let Ok(text) = std::fs::read_to_string(&document) else { continue };
        for words in shown_commands(&text) {
            seen += 1;
            let shown = words.join(" ");
            let place = document.display();
            let mut path: Vec<String> = Vec::new();
            let mut page = help(&path).expect("opticus --help fails");
            for word in &words {
                if !lists_command(&page, word) {
                    break;
                }
                path.push(word.clone());
                page = help(&path).unwrap_or_else(|| panic!("{place}: `{shown}`: --help fails"));
            }
            // After a command that groups others comes one of them, a flag, or nothing (the group is meant).
            let next = words.get(path.len()).filter(|word| !word.starts_with('-'));
            let unknown = next.filter(|_| page.contains("\nCommands:\n"));
            assert!(unknown.is_none(), "{place}: `opticus {shown}`: {unknown:?} is not a command");
            for word in words.iter().skip(path.len()).filter(|w| w.starts_with('-') && w.len() > 1) {
                let flag = word.split('=').next().unwrap_or(word);
                let number = flag.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
                assert!(
                    number || documents_flag(&page, flag),
                    "{place}: `opticus {shown}`: no such flag {flag}"
                );
            }
        }
    }
    assert!(seen >= 2, "README.md shows no command");
}

#[test]
fn the_command_scan_reads_blocks_and_inline_code() {
    let text = "See `opticus doctor --json` and `opticus`.\n```sh\n$ opticus classify train \\\n    --data x # why\n\
                cargo run --release -- tour\nls\n```\n";
    let shown: Vec<String> = shown_commands(text).iter().map(|words| words.join(" ")).collect();
    assert_eq!(shown, ["doctor --json", "classify train --data x", "tour"]);
    assert!(documents_flag("  -q, --quiet  Say less", "--quiet"));
    assert!(documents_flag("  -q, --quiet  Say less", "-q"));
    assert!(!documents_flag("  -q, --quiet  Say less", "--qui"));
    assert!(lists_command("x\n\nCommands:\n  train  Learn\n\nOptions:\n  eval", "train"));
    assert!(!lists_command("x\n\nCommands:\n  train  Learn\n\nOptions:\n  eval", "eval"));
}

/// Rewrite `docs/schema` with `OPTICUS_BLESS=1 cargo test --test architecture schemas`.
#[test]
fn schemas_of_what_commands_print_are_in_the_documents() {
    let folder = root().join("docs/schema");
    let bless = std::env::var_os("OPTICUS_BLESS").is_some();
    let mut known = BTreeSet::new();
    for (name, schema) in opticus::cli::schemas() {
        let file = folder.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if bless {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(
            found,
            text,
            "{} is stale: OPTICUS_BLESS=1 cargo test --test architecture",
            file.display()
        );
        // Printed documents name their commands, so the command must be there.
        let words: Vec<String> = name.split('-').map(str::to_owned).collect();
        let page = help(&words).unwrap_or_else(|| panic!("{name}.json describes no command"));
        assert!(page.contains("--json"), "opticus {} has no --json", words.join(" "));
        known.insert(file);
    }
    for file in files_under(&folder, ".json") {
        assert!(known.contains(&file), "{} describes no document", file.display());
    }
}

#[test]
fn presets_parse() {
    use opticus::train::RunConfig;
    let presets = files_under(&root().join("configs"), ".toml");
    assert!(!presets.is_empty(), "configs/ holds no preset");
    for preset in presets {
        let draft = opticus::settings::Draft::from_file(&preset).unwrap();
        let classify = opticus::classify::config::TrainConfig::from_draft(draft.clone()).map(drop);
        let detect = opticus::detect::config::TrainConfig::from_draft(draft.clone()).map(drop);
        let generate = opticus::generate::config::TrainConfig::from_draft(draft).map(drop);
        let all = [classify, detect, generate];
        assert!(all.iter().filter(|parsed| parsed.is_ok()).count() == 1, "{}: {all:?}", preset.display());
    }
}
