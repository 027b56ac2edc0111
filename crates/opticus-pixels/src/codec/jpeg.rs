//! Whether a JPEG's data goes on to its end: decoders fill what is missing with grey and report nothing.

use super::CodecError;

/// Walks the markers (ITU-T T.81, annex B) and checks that the end-of-image marker comes before the data ends.
pub(super) fn check_complete(bytes: &[u8]) -> Result<(), CodecError> {
    const SOI: u8 = 0xd8;
    const EOI: u8 = 0xd9;
    const SOS: u8 = 0xda;
    let cut = |what: &str| Err(CodecError::Truncated(what.into()));
    let mut at = 0;
    let mut scans = 0;
    loop {
        // Between segments there may be fill bytes; anything else before a marker is skipped as decoders do.
        let Some(skip) = bytes.get(at..).and_then(|rest| memchr::memchr(0xff, rest)) else {
            return cut(if scans == 0 { "its headers end too early" } else { "its end marker is missing" });
        };
        at += skip;
        while bytes.get(at) == Some(&0xff) {
            at += 1;
        }
        let Some(&marker) = bytes.get(at) else { return cut("its end marker is missing") };
        at += 1;
        match marker {
            EOI => return Ok(()),
            // A stuffed zero, a restart marker, start of image, TEM: no length follows.
            0x00 | 0x01 | 0xd0..=0xd7 | SOI => {}
            _ => {
                let Some(&[high, low]) = bytes.get(at..at + 2) else { return cut("a segment has no length") };
                let length = usize::from(u16::from_be_bytes([high, low]));
                if at + length > bytes.len() {
                    return cut("a segment goes beyond the end of the file");
                }
                at += length.max(2);
                scans += usize::from(marker == SOS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SOI, SOS of length 2, entropy data with a stuffed byte and a restart, EOI.
    const WHOLE: [u8; 14] = [0xff, 0xd8, 0xff, 0xda, 0, 2, 0x12, 0xff, 0x00, 0x34, 0xff, 0xd0, 0xff, 0xd9];

    #[test]
    fn only_the_whole_file_is_complete() {
        assert!(check_complete(&WHOLE).is_ok());
        for length in 0..WHOLE.len() {
            assert!(matches!(check_complete(&WHOLE[..length]), Err(CodecError::Truncated(_))), "{length}");
        }
    }

    #[test]
    fn an_end_marker_inside_a_thumbnail_does_not_count() {
        // An APP1 segment that contains FF D9, and nothing after it.
        assert!(check_complete(&[0xff, 0xd8, 0xff, 0xe1, 0, 4, 0xff, 0xd9]).is_err());
    }
}
