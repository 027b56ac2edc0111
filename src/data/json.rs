//! JSON piece by piece: for annotation files that are larger than memory should be.
//!
//! Values are taken one after the other from a stream; nothing is kept but what is asked for. Numbers are rounded
//! as the standard says (equal to Python's), and Python's `NaN`, `Infinity` and `-Infinity` are numbers too, so
//! that a reader of data can say what is wrong with them. Nesting, strings and numbers have limits.

use std::fmt;
use std::io::Read;

/// The deepest nesting of arrays and objects.
const MAX_DEPTH: usize = 64;
/// The longest text that is kept of one value.
const MAX_KEPT: usize = 64 << 20;
/// The longest number.
const MAX_NUMBER: usize = 1024;

/// What is wrong with a document, and where.
#[derive(Debug)]
pub enum Fault {
    /// The document is not what it should be.
    Content {
        /// What is wrong.
        message: String,
        /// From 1.
        line: u64,
        /// In bytes, from 1.
        column: u64,
    },
    /// The stream failed.
    Io(std::io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content { message, line, column } => write!(f, "line {line}, column {column}: {message}"),
            Self::Io(e) => e.fmt(f),
        }
    }
}

/// `Result` of reading JSON.
pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// Kinds of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`.
    Object,
    /// `[…]`.
    Array,
    /// `"…"`.
    Text,
    /// `1.5`, `NaN`, `-Infinity`.
    Number,
    /// `true` or `false`.
    Truth,
    /// `null`.
    Null,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Truth => "a truth value",
            Self::Null => "null",
        })
    }
}

/// Where a value begins.
#[derive(Clone, Copy)]
struct Place {
    line: u64,
    column: u64,
}

impl Place {
    fn fault(self, message: impl Into<String>) -> Fault {
        Fault::Content { message: message.into(), line: self.line, column: self.column }
    }
}

/// Takes values from a stream of JSON.
pub struct Reader<R> {
    source: R,
    buffer: Box<[u8]>,
    /// The part of the buffer that has not been taken.
    at: usize,
    end: usize,
    /// Bytes of the stream before the buffer.
    before: u64,
    line: u64,
    /// Offset of the line's first byte.
    line_start: u64,
    depth: usize,
    /// What is taken is kept here too, where wanted.
    kept: Option<Vec<u8>>,
    scratch: Vec<u8>,
    key: String,
}

impl<R: Read> Reader<R> {
    /// Reads from the start of a document.
    pub fn new(source: R) -> Self {
        Self {
            source,
            buffer: vec![0; 1 << 16].into_boxed_slice(),
            at: 0,
            end: 0,
            before: 0,
            line: 1,
            line_start: 0,
            depth: 0,
            kept: None,
            scratch: Vec::new(),
            key: String::new(),
        }
    }

    /// The line of what comes next, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// A fault at the present place.
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        self.place().fault(message)
    }

    fn place(&self) -> Place {
        Place { line: self.line, column: self.before + self.at as u64 - self.line_start + 1 }
    }

    /// Makes at least one byte available; `false` at the end of the stream.
    fn fill(&mut self) -> Result<bool> {
        if self.at < self.end {
            return Ok(true);
        }
        self.before += self.end as u64;
        (self.at, self.end) = (0, 0);
        loop {
            match self.source.read(&mut self.buffer) {
                Ok(n) => {
                    self.end = n;
                    return Ok(n > 0);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Fault::Io(e)),
            }
        }
    }

    /// Takes bytes that are in the buffer.
    fn take(&mut self, count: usize) -> Result<()> {
        if let Some(kept) = &mut self.kept {
            if kept.len() + count > MAX_KEPT {
                return Err(self.fault(format!("a value of more than {} MB", MAX_KEPT >> 20)));
            }
            kept.extend_from_slice(&self.buffer[self.at..self.at + count]);
        }
        self.at += count;
        Ok(())
    }

    /// The next byte that is not white space, not taken; `None` at the end.
    fn next_byte(&mut self) -> Result<Option<u8>> {
        while self.fill()? {
            match self.buffer[self.at] {
                b'\n' => {
                    self.at += 1;
                    self.line += 1;
                    self.line_start = self.before + self.at as u64;
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                // A byte order mark.
                0xef if self.before == 0
                    && self.at == 0
                    && self.buffer[..self.end].starts_with(b"\xef\xbb\xbf") =>
                {
                    self.at += 3;
                }
                byte => return Ok(Some(byte)),
            }
        }
        Ok(None)
    }

    fn expect(&mut self, wanted: u8, place: &str) -> Result<()> {
        match self.next_byte()? {
            Some(byte) if byte == wanted => self.take(1),
            found => Err(self.unexpected(found, &format!("{:?} {place}", wanted as char))),
        }
    }

    fn unexpected(&self, found: Option<u8>, wanted: &str) -> Fault {
        self.fault(match found {
            Some(byte) if byte.is_ascii_graphic() => format!("found {:?} instead of {wanted}", byte as char),
            Some(byte) => format!("found the byte {byte:#04x} instead of {wanted}"),
            None => format!("the document ends early: {wanted} is missing"),
        })
    }

    /// What comes next.
    pub fn peek(&mut self) -> Result<Kind> {
        match self.next_byte()? {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::Text),
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Truth),
            Some(b'n') => Ok(Kind::Null),
            found => Err(self.unexpected(found, "a value")),
        }
    }

    fn enter(&mut self, open: u8, what: &str) -> Result<()> {
        self.expect(open, what)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault(format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }

    /// Takes an object: `member` is called with each key, and takes or skips its value.
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        self.enter(b'{', "to open an object")?;
        let mut first = true;
        while !self.closes(b'}', &mut first)? {
            let mut key = std::mem::take(&mut self.key);
            self.text_into(&mut key)?;
            self.expect(b':', "after a key")?;
            member(self, &key)?;
            self.key = key;
        }
        Ok(())
    }

    /// Takes an array: `element` is called before each element, and takes or skips it.
    pub fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.enter(b'[', "to open an array")?;
        let mut first = true;
        while !self.closes(b']', &mut first)? {
            element(self)?;
        }
        Ok(())
    }

    /// Takes the closing bracket if it is next, or the comma before a further element.
    fn closes(&mut self, close: u8, first: &mut bool) -> Result<bool> {
        let found = self.next_byte()?;
        if found == Some(close) {
            self.take(1)?;
            self.depth -= 1;
            return Ok(true);
        }
        if !std::mem::replace(first, false) {
            match found {
                Some(b',') => self.take(1)?,
                found => return Err(self.unexpected(found, &format!("',' or {:?}", close as char))),
            }
        }
        Ok(false)
    }

    /// Takes a number. One too large for `f64` becomes infinite.
    pub fn number(&mut self) -> Result<f64> {
        let kind = self.peek()?;
        if kind != Kind::Number {
            return Err(self.fault(format!("found {kind} instead of a number")));
        }
        let at = self.place();
        self.word()?;
        let text = std::str::from_utf8(&self.scratch).unwrap_or_default();
        match text {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            // The standard library knows names that JSON does not.
            _ if text.bytes().any(|b| b.is_ascii_alphabetic() && !matches!(b, b'e' | b'E')) => {
                Err(at.fault("no number"))
            }
            _ => text.parse().map_err(|_| at.fault("no number")),
        }
    }

    /// Takes a whole number.
    pub fn integer(&mut self) -> Result<i64> {
        let at = self.place();
        let value = self.number()?;
        // Doubles are exact up to 2^53; identifiers beyond that are read from their digits.
        if let Some(exact) = std::str::from_utf8(&self.scratch).ok().and_then(|t| t.parse().ok()) {
            return Ok(exact);
        }
        if value.fract() == 0.0 && value.abs() < 9.0e15 {
            Ok(value as i64)
        } else {
            Err(at.fault("not a whole number"))
        }
    }

    /// Takes letters, digits and signs into `scratch`.
    fn word(&mut self) -> Result<()> {
        self.scratch.clear();
        while self.fill()? {
            let here = &self.buffer[self.at..self.end];
            let of_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.');
            let count = here.iter().position(|b| !of_word(b)).unwrap_or(here.len());
            if self.scratch.len() + count > MAX_NUMBER {
                return Err(self.fault(format!("a number of more than {MAX_NUMBER} digits")));
            }
            self.scratch.extend_from_slice(&here[..count]);
            self.take(count)?;
            if self.at < self.end {
                break;
            }
        }
        Ok(())
    }

    /// Takes a text.
    pub fn text(&mut self) -> Result<String> {
        let mut text = String::new();
        self.text_into(&mut text)?;
        Ok(text)
    }

    fn text_into(&mut self, text: &mut String) -> Result<()> {
        text.clear();
        let mut bytes = std::mem::take(text).into_bytes();
        let mut most = 1 << 20;
        self.text_bytes(|reader, part| {
            most -= part.len().min(most);
            bytes.extend_from_slice(part);
            if most == 0 { Err(reader.fault("a text of more than 1 MB")) } else { Ok(()) }
        })?;
        *text = String::from_utf8(bytes).map_err(|_| self.fault("a text that is not UTF-8"))?;
        Ok(())
    }

    /// Takes a text, handing over its bytes piece by piece.
    fn text_bytes(&mut self, mut part: impl FnMut(&Self, &[u8]) -> Result<()>) -> Result<()> {
        self.expect(b'"', "to open a text")?;
        let mut high: Option<u32> = None;
        loop {
            if !self.fill()? {
                return Err(self.unexpected(None, "'\"'"));
            }
            let here = &self.buffer[self.at..self.end];
            let special = |b: &u8| matches!(b, b'"' | b'\\' | 0..0x20);
            let count = here.iter().position(special).unwrap_or(here.len());
            if count > 0 {
                if high.take().is_some() {
                    part(self, "\u{fffd}".as_bytes())?;
                }
                part(self, &self.buffer[self.at..self.at + count])?;
                self.take(count)?;
                continue;
            }
            match here[0] {
                b'"' => {
                    if high.is_some() {
                        part(self, "\u{fffd}".as_bytes())?;
                    }
                    return self.take(1);
                }
                b'\\' => {
                    let unit = self.escape()?;
                    let joined = match (high.take(), unit) {
                        (Some(high), 0xdc00..0xe000) => 0x1_0000 + ((high - 0xd800) << 10) + (unit - 0xdc00),
                        (None, 0xd800..0xdc00) => {
                            high = Some(unit);
                            continue;
                        }
                        (lone, _) => {
                            if lone.is_some() {
                                part(self, "\u{fffd}".as_bytes())?;
                            }
                            unit
                        }
                    };
                    let c = char::from_u32(joined).unwrap_or('\u{fffd}');
                    part(self, c.encode_utf8(&mut [0; 4]).as_bytes())?;
                }
                _ => return Err(self.fault("a control character inside a text")),
            }
        }
    }

    /// Takes an escape sequence: its UTF-16 unit.
    fn escape(&mut self) -> Result<u32> {
        self.take(1)?;
        if !self.fill()? {
            return Err(self.unexpected(None, "an escape"));
        }
        let byte = self.buffer[self.at];
        self.take(1)?;
        Ok(match byte {
            b'"' | b'\\' | b'/' => u32::from(byte),
            b'b' => 8,
            b'f' => 12,
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            b'u' => {
                let mut unit = 0;
                for _ in 0..4 {
                    let digit = if self.fill()? { (self.buffer[self.at] as char).to_digit(16) } else { None };
                    let Some(digit) = digit else { return Err(self.fault("\\u without four digits")) };
                    self.take(1)?;
                    unit = unit * 16 + digit;
                }
                unit
            }
            _ => return Err(self.fault("an unknown escape")),
        })
    }

    /// Takes `true` or `false`, or a number that is not 0 or is.
    pub fn truth(&mut self) -> Result<bool> {
        match self.peek()? {
            Kind::Number => Ok(self.number()? != 0.0),
            Kind::Truth => {
                let at = self.place();
                self.word()?;
                match self.scratch.as_slice() {
                    b"true" => Ok(true),
                    b"false" => Ok(false),
                    _ => Err(at.fault("neither true nor false")),
                }
            }
            kind => Err(self.fault(format!("found {kind} instead of true, false, 0 or 1"))),
        }
    }

    /// Takes a value and forgets it.
    pub fn skip(&mut self) -> Result<()> {
        match self.peek()? {
            Kind::Object => self.object(|reader, _| reader.skip()),
            Kind::Array => self.array(Self::skip),
            Kind::Text => self.text_bytes(|_, _| Ok(())),
            Kind::Number => self.number().map(|_| ()),
            Kind::Truth => self.truth().map(|_| ()),
            Kind::Null => self.null(),
        }
    }

    /// Takes `null`.
    pub fn null(&mut self) -> Result<()> {
        let at = self.place();
        self.word()?;
        if self.scratch == b"null" { Ok(()) } else { Err(at.fault("no value")) }
    }

    /// Takes a value and gives its text, without white space.
    pub fn raw(&mut self) -> Result<String> {
        self.peek()?;
        let outer = self.kept.replace(Vec::new());
        let taken = self.skip();
        let kept = std::mem::replace(&mut self.kept, outer).unwrap_or_default();
        taken?;
        if let Some(outer) = &mut self.kept {
            outer.extend_from_slice(&kept);
        }
        String::from_utf8(kept).map_err(|_| self.fault("a text that is not UTF-8"))
    }

    /// Checks that nothing follows.
    pub fn finish(&mut self) -> Result<()> {
        match self.next_byte()? {
            None => Ok(()),
            found => Err(self.unexpected(found, "the end of the document")),
        }
    }
}

/// A text as JSON writes it, in quotes.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// Hands over few bytes at a time, so that everything is cut somewhere.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let n = self.1.min(self.0.len()).min(into.len());
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn value<R: Read>(reader: &mut Reader<R>) -> Result<Value> {
        Ok(match reader.peek()? {
            Kind::Object => {
                let mut map = serde_json::Map::new();
                reader.object(|r, key| {
                    let inner = value(r)?;
                    map.insert(key.to_string(), inner);
                    Ok(())
                })?;
                Value::Object(map)
            }
            Kind::Array => {
                let mut list = Vec::new();
                reader.array(|r| {
                    list.push(value(r)?);
                    Ok(())
                })?;
                Value::Array(list)
            }
            Kind::Text => Value::String(reader.text()?),
            Kind::Number => Value::from(reader.number()?),
            Kind::Truth => Value::Bool(reader.truth()?),
            Kind::Null => reader.null().map(|()| Value::Null)?,
        })
    }

    fn read(text: &[u8], drop: usize) -> Result<Value> {
        let mut reader = Reader::new(Drops(text, drop));
        let read = value(&mut reader)?;
        reader.finish()?;
        Ok(read)
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn documents_are_read_wherever_they_are_cut(document in documents(), drop in 1usize..40, pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&document).unwrap() } else { document.to_string() };
            prop_assert_eq!(read(text.as_bytes(), drop).unwrap(), document.clone());
            let mut reader = Reader::new(Drops(text.as_bytes(), drop));
            prop_assert_eq!(reader.raw().unwrap(), document.to_string());
            reader.finish().unwrap();
        }

        #[test]
        fn numbers_are_exact(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            prop_assert_eq!(Reader::new(format!("{number:?}").as_bytes()).number().unwrap(), number);
            prop_assert_eq!(Reader::new(format!("{number:.25e}").as_bytes()).number().unwrap(), number);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), drop in 1usize..9) {
            let _ = read(&bytes, drop);
        }

        #[test]
        fn what_another_reader_refuses_is_refused(text in "[\\[\\]{},:\"0-9e.\\- \\\\untrlfase]{0,12}") {
            // Ours takes numbers that JSON does not write (`01`, `1.`), and no others.
            if serde_json::from_str::<Value>(&text).is_ok() {
                prop_assert!(read(text.as_bytes(), 3).is_ok());
            } else if let Ok(Value::Object(_) | Value::Array(_)) = read(text.as_bytes(), 3) {
                prop_assert!(text.contains(|c: char| c.is_ascii_digit()), "{}", text);
            }
        }
    }

    #[test]
    fn faults_name_their_place() {
        let fault = |text: &str| read(text.as_bytes(), 7).unwrap_err().to_string();
        assert_eq!(fault("[1,\n 2 3]"), "line 2, column 4: found '3' instead of ',' or ']'");
        assert_eq!(fault("{\"a\": tru}"), "line 1, column 7: neither true nor false");
        assert!(fault("[1, 2").contains("ends early"));
        assert!(fault("[] []").contains("the end of the document"));
        assert!(fault("[1e]").contains("no number") && fault("[inf]").contains("instead of a value"));
        assert!(fault("[-nan]").contains("no number"));
    }

    #[test]
    fn numbers_that_are_none_and_those_beyond_reach() {
        assert!(Reader::new(&b"NaN"[..]).number().unwrap().is_nan());
        assert_eq!(Reader::new(&b"1e400"[..]).number().unwrap(), f64::INFINITY);
        assert_eq!(Reader::new(&b"-Infinity"[..]).number().unwrap(), f64::NEG_INFINITY);
        assert!(Reader::new(&b"1e400"[..]).integer().is_err());
        assert_eq!(Reader::new(&b"9007199254740993"[..]).integer().unwrap(), 9_007_199_254_740_993);
        assert_eq!(Reader::new(&b"12.0"[..]).integer().unwrap(), 12);
        assert!(Reader::new("1".repeat(2000).as_bytes()).number().is_err());
    }

    #[test]
    fn deep_nesting_is_refused_without_a_deep_stack() {
        for open in ["[", "{\"a\":"] {
            let deep = open.repeat(100_000);
            let fault = Reader::new(deep.as_bytes()).skip().unwrap_err().to_string();
            assert!(fault.contains("nested deeper than 64"), "{fault}");
        }
    }

    /// A stream of two gigabytes, made as it is read.
    #[test]
    fn what_is_skipped_takes_no_memory() {
        struct Endless(u64);
        impl Read for Endless {
            fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
                let n = into.len().min(usize::try_from(self.0).unwrap_or(usize::MAX));
                into[..n].fill(b'x');
                self.0 -= n as u64;
                Ok(n)
            }
        }
        let size = if cfg!(debug_assertions) { 1 << 27 } else { 1 << 31 };
        let document = (&b"[\""[..]).chain(Endless(size)).chain(&b"\", 7]"[..]);
        let (mut reader, mut seen) = (Reader::new(document), Vec::new());
        let read = reader.array(|r| {
            match r.peek()? {
                Kind::Text => r.skip()?,
                _ => seen.push(r.number()?),
            }
            Ok(())
        });
        read.unwrap();
        assert_eq!(seen, [7.0]);
        // A text that would be kept is refused.
        let document = (&b"\""[..]).chain(Endless(size));
        assert!(Reader::new(document).text().unwrap_err().to_string().contains("1 MB"));
    }
}
