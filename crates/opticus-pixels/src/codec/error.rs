//! What can be wrong with a picture file, by fault.

/// Why a picture cannot be read or written. The message does not name the file; the caller does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Sound perhaps, but of a kind that is not read here.
    #[error("{0}. Convert it to PNG or JPEG")]
    Unsupported(String),
    /// Broken inside.
    #[error("the picture is damaged: {0}. Get it again from its source")]
    Damaged(String),
    /// Ends too early.
    #[error("the picture is cut short: {0}. Get it again from its source")]
    Truncated(String),
    /// Asks for more memory than allowed.
    #[error("the picture is too large: {0}. Shrink it first")]
    TooLarge(String),
    /// The system could not read it.
    #[error("cannot read the picture: {0}")]
    Io(#[source] std::io::Error),
}

impl CodecError {
    /// Bytes that begin like no format we read.
    pub(super) fn unrecognised(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::Truncated("the file is empty".into()),
            _ if bytes.iter().take(256).all(|b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..0x7f)) => {
                Self::Unsupported("the file is text, not a picture".into())
            }
            _ => Self::Unsupported("the file is no JPEG, PNG, WebP, BMP, GIF or TIFF".into()),
        }
    }

    /// The decoder library's error by fault.
    pub(crate) fn from_image(error: ::image::ImageError) -> Self {
        use ::image::ImageError as E;
        let text = error.to_string();
        match error {
            E::Limits(_) => Self::TooLarge(text),
            E::Unsupported(_) => Self::Unsupported(text),
            E::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Self::Truncated(text),
            // Memory readers have no faults of their own: what they report is the data's.
            E::IoError(_) => Self::Damaged(text),
            _ if names_early_end(&text) => Self::Truncated(text),
            _ if text.contains("is not supported") => Self::Unsupported(text),
            _ => Self::Damaged(text),
        }
    }
}

/// Decoders wrap an early end of the data into errors of their own; only the words tell.
fn names_early_end(text: &str) -> bool {
    let text = text.to_lowercase();
    [
        "unexpected eof",
        "unexpected end",
        "failed to fill whole buffer",
        "premature",
        "exhausted",
        "no more bytes",
    ]
    .iter()
    .any(|words| text.contains(words))
}
