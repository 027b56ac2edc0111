//! Files that are cut short, lie about their size, or are broken on purpose.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use opticus_pixels::codec::{CodecError, ColorMode, Format, Limits, decode, probe};

fn goldens() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e != "ppm" && e != "pgm"));
    files.sort();
    files
        .into_iter()
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect()
}

/// A cut file is an error by its fault, or has lost nothing: never a picture with a part made up.
#[test]
fn a_file_cut_anywhere_is_an_error_or_whole() {
    let files = goldens();
    assert!(files.len() >= 70);
    for (name, bytes) in files {
        let whole = decode(&bytes, &Limits::default()).unwrap().into_rgba();
        let mut refused = 0;
        let step = (bytes.len() / 150).max(1);
        let cuts: Vec<usize> = (0..bytes.len()).step_by(step).chain(bytes.len() - 12..bytes.len()).collect();
        for &cut in &cuts {
            match decode(&bytes[..cut], &Limits::default()) {
                Ok(picture) => {
                    assert!(!name.ends_with(".jpg"), "{name} cut at {cut} of {} is read", bytes.len());
                    assert!(picture.into_rgba() == whole, "{name} cut at {cut} of {}", bytes.len());
                }
                Err(CodecError::Truncated(_) | CodecError::Damaged(_)) => refused += 1,
                Err(CodecError::Unsupported(_)) if Format::sniff(&bytes[..cut]).is_none() => refused += 1,
                Err(other) => panic!("{name} cut at {cut}: {other:?}"),
            }
        }
        // Behind the first frame of an animation there is nothing to lose.
        let least = if name.contains("animated") { 3 } else { 7 };
        assert!(refused * 10 >= cuts.len() * least, "{name}: {refused} of {} cuts refused", cuts.len());
    }
}

#[test]
fn a_jpeg_cut_short_says_so() {
    for (name, bytes) in goldens().iter().filter(|(name, _)| name.ends_with(".jpg")) {
        for cut in [bytes.len() / 2, bytes.len() * 9 / 10, bytes.len() - 1] {
            let error = decode(&bytes[..cut], &Limits::default()).unwrap_err();
            assert!(matches!(error, CodecError::Truncated(_)), "{name} cut at {cut}: {error:?}");
        }
    }
}

/// CRC-32 of PNG (annex D), bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    })
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let header = [b"IHDR".as_slice(), &width.to_be_bytes(), &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let data = [b"IDAT".as_slice(), &[0x78, 0x9c, 0x01]].concat();
    let chunk = |body: &[u8]| {
        [(body.len() as u32 - 4).to_be_bytes().as_slice(), body, &crc(body).to_be_bytes()].concat()
    };
    [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(&header), &chunk(&data)].concat()
}

fn bmp(width: i32, height: i32, bits: u16) -> Vec<u8> {
    let mut out = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    out.extend([width.to_le_bytes(), height.to_le_bytes()].concat());
    out.extend([1u16.to_le_bytes(), bits.to_le_bytes()].concat());
    out.extend([0; 88]);
    out
}

fn gif(canvas: [u16; 2], frame: [u16; 2]) -> Vec<u8> {
    let two = |[a, b]: [u16; 2]| [a.to_le_bytes(), b.to_le_bytes()].concat();
    let head = [b"GIF89a".as_slice(), &two(canvas), &[0x80, 0, 0], &[0; 6]].concat();
    [head, [b",\0\0\0\0".as_slice(), &two(frame), &[0, 2, 2, 0x4c, 0x01, 0, b';']].concat()].concat()
}

fn tiff(width: u32, height: u32, rows_per_strip: u32) -> Vec<u8> {
    let tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (278, rows_per_strip)];
    let mut out = b"II*\0\x08\0\0\0\x08\0".to_vec();
    for (tag, value) in tags.into_iter().chain([(279, 4)]) {
        out.extend([(tag as u16).to_le_bytes(), 4u16.to_le_bytes()].concat());
        out.extend([1u32.to_le_bytes(), value.to_le_bytes()].concat());
    }
    out.extend([0; 4]);
    out
}

fn webp(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = (body.len() as u32).to_le_bytes();
    let chunk = [kind.as_slice(), &size, body, &[0][..body.len() % 2]].concat();
    [b"RIFF".as_slice(), &(chunk.len() as u32 + 4).to_le_bytes(), b"WEBP", &chunk].concat()
}

fn jpeg(width: u16, height: u16, frame: u8) -> Vec<u8> {
    let [h, w] = [height.to_be_bytes(), width.to_be_bytes()];
    let head =
        [&[0xff, 0xd8, 0xff, frame, 0, 17, 8][..], &h, &w, &[3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]].concat();
    [head, vec![0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0, 0xff, 0xd9]].concat()
}

#[test]
fn a_header_that_asks_for_too_much_is_refused_at_once() {
    // 16,383 pixels a side: 14 bits each, less one.
    let lossless = [&[0x2f], &0x0fff_bffeu32.to_le_bytes()[..], &[0; 8]].concat();
    let lossy = [&[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0xff, 0x3f, 0xff, 0x3f][..], &[0; 8]].concat();
    let canvas = [&[0u8; 4][..], &[0x5f, 0xea, 0], &[0x5f, 0xea, 0]].concat();
    let extended = [webp(b"VP8X", &canvas), webp(b"VP8L", &lossless)[12..].to_vec()].concat();
    let bombs = [
        ("png", png(60_000, 60_000)),
        ("png, widest", png(0x7fff_ffff, 0x7fff_ffff)),
        ("bmp", bmp(60_000, 60_000, 24)),
        ("bmp, top down", bmp(60_000, -60_000, 32)),
        ("bmp, one bit", bmp(60_000, 60_000, 1)),
        ("gif", gif([65_535, 65_535], [1, 1])),
        ("gif, frame beyond its canvas", gif([1, 1], [65_535, 65_535])),
        ("tiff", tiff(60_000, 60_000, 60_000)),
        ("tiff, larger", tiff(1_000_000, 1_000_000, 1_000_000)),
        ("webp, lossless", webp(b"VP8L", &lossless)),
        ("webp, lossy", webp(b"VP8 ", &lossy)),
        ("webp, extended", extended),
        ("jpeg", jpeg(65_500, 65_500, 0xc0)),
        ("jpeg, progressive", jpeg(65_500, 65_500, 0xc2)),
    ];
    for (name, bytes) in bombs {
        let start = Instant::now();
        for result in
            [decode(&bytes, &Limits::default()).map(|_| ()), probe(&bytes, &Limits::default()).map(|_| ())]
        {
            let error = result.expect_err(name);
            assert!(matches!(error, CodecError::TooLarge(_)), "{name}: {error:?}");
        }
        assert!(start.elapsed() < Duration::from_millis(500), "{name}: {:?}", start.elapsed());
    }
}

#[test]
fn a_picture_without_pixels_is_an_error() {
    for bytes in [png(0, 5), bmp(0, 5, 24), tiff(0, 5, 5), jpeg(0, 5, 0xc0), gif([0, 0], [0, 0])] {
        let error = decode(&bytes, &Limits::default()).unwrap_err();
        assert!(matches!(error, CodecError::Damaged(_) | CodecError::Unsupported(_)), "{error:?}");
    }
}

/// Everything below a folder of the shared data, or `None`, said aloud, where it is not there.
fn shared(folder: &str) -> Option<Vec<PathBuf>> {
    let root = std::env::var_os("OPTICUS_SHARED_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let mut folders = vec![root.join(folder)];
    if !folders[0].is_dir() {
        println!("skipped: {} is not there", folders[0].display());
        return None;
    }
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Some(files)
}

/// The most memory that this process ever held, where the system tells.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

#[test]
fn the_robust_corpora_go_through_in_bounded_memory() {
    let Some(files) = shared("robust") else { return };
    let mut read = 0;
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        let header = probe(&bytes, &Limits::default());
        let picture = decode(&bytes, &Limits::default());
        if let Ok(picture) = picture {
            read += 1;
            let header = header.expect("what decodes has a header");
            let turned = header.orientation >= 5;
            let size = picture.size();
            let upright = if turned { (size.height, size.width) } else { (size.width, size.height) };
            assert_eq!((header.size.width, header.size.height), upright, "{}", path.display());
            assert_eq!(picture.into_image8(ColorMode::Grey).data.len() as u64, size.area());
        }
    }
    assert!(read > 300, "{read} of {} files", files.len());
    if let Some(peak) = peak_mib() {
        assert!(peak < 300, "{peak} MiB");
    }
}

/// The suite's own rule: the names of broken files begin with an x.
#[test]
fn pngsuite_is_read_but_for_its_broken_files() {
    let Some(files) = shared("robust/pngsuite") else { return };
    for path in files.iter().filter(|path| path.extension().is_some_and(|e| e == "png")) {
        let broken = path.file_name().unwrap().to_str().unwrap().starts_with('x');
        let result = decode(&std::fs::read(path).unwrap(), &Limits::default());
        assert_eq!(result.is_err(), broken, "{}: {:?}", path.display(), result.err());
    }
}
