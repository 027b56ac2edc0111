//! What one picture is: read once, decoded once.

use std::io::Read;
use std::path::Path;

use opticus_pixels::codec::{self, ColorMode, Limits};
use opticus_pixels::{Image8, Size};
use sha2::{Digest, Sha256};

use super::look::Look;
use crate::data::dataset::Source;

/// What is known of one picture.
pub(super) struct Facts {
    pub(super) bytes: u64,
    /// Upright.
    pub(super) size: Option<Size>,
    /// Why it cannot be read.
    pub(super) fault: Option<String>,
    /// What its header says, as far as there is one.
    pub(super) seen: Option<Seen>,
    /// Of the file, or of the samples of a record.
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) look: Option<Look>,
    /// Mean and mean square of each channel, 0..=1.
    moments: Option<Vec<[f64; 2]>>,
}

/// What a picture's header says.
pub(super) struct Seen {
    pub(super) format: String,
    pub(super) pixels: String,
    pub(super) wrong_extension: Option<String>,
    pub(super) orientation: u8,
    pub(super) cmyk: bool,
    pub(super) bits: u8,
    pub(super) animated: bool,
}

impl Facts {
    pub(super) fn of(source: &Source, limits: &Limits) -> Self {
        match source {
            Source::File { path, .. } => Self::of_file(path, limits),
            Source::Record { records, index } => {
                let samples = records.samples(*index as usize);
                let picture =
                    Image8 { size: records.size, channels: records.channels, data: samples.to_vec() };
                let seen = Seen {
                    format: "record".into(),
                    pixels: if records.channels == 1 { "grey" } else { "rgb" }.into(),
                    wrong_extension: None,
                    orientation: 1,
                    cmyk: false,
                    bits: 8,
                    animated: false,
                };
                Self {
                    bytes: samples.len() as u64,
                    size: Some(records.size),
                    fault: None,
                    seen: Some(seen),
                    sha256: Some(Sha256::digest(samples).into()),
                    look: Some(Look::of(&picture)),
                    moments: Some(moments(&picture)),
                }
            }
        }
    }

    fn of_file(path: &Path, limits: &Limits) -> Self {
        let mut facts =
            Self { bytes: 0, size: None, fault: None, seen: None, sha256: None, look: None, moments: None };
        let bytes = match crate::files::read_limited(path, limits.max_file_bytes) {
            Ok(bytes) => bytes,
            Err(e) => {
                facts.fault = Some(e.to_string());
                return facts;
            }
        };
        facts.bytes = bytes.len() as u64;
        facts.sha256 = (!bytes.is_empty()).then(|| Sha256::digest(&bytes).into());
        if let Ok(probe) = codec::probe(&bytes, limits) {
            facts.seen = Some(Seen {
                wrong_extension: wrong_extension(path, probe.format),
                format: probe.format.to_string(),
                pixels: pixels(&probe),
                orientation: probe.orientation,
                cmyk: probe.cmyk,
                bits: probe.bit_depth,
                animated: probe.animated,
            });
        }
        match codec::decode(&bytes, limits) {
            Ok(decoded) => {
                let grey = facts.seen.as_ref().is_some_and(|s| s.pixels.starts_with("grey"));
                let picture = decoded.to_image8(if grey { ColorMode::Grey } else { ColorMode::Rgb });
                facts.size = Some(picture.size);
                facts.look = Some(Look::of(&picture));
                facts.moments = Some(moments(&picture));
            }
            Err(fault) => facts.fault = Some(fault.to_string()),
        }
        facts
    }
}

fn pixels(probe: &codec::Probe) -> String {
    match (probe.cmyk, probe.channels) {
        (true, _) => "cmyk",
        (_, 1) => "grey",
        (_, 2) => "grey + alpha",
        (_, 3) => "rgb",
        _ => "rgb + alpha",
    }
    .into()
}

/// What is wrong with the name of a picture of this format.
fn wrong_extension(path: &Path, format: codec::Format) -> Option<String> {
    let extension = path.extension()?.to_str()?.to_lowercase();
    let fits = format.endings().contains(&extension.as_str());
    (!fits).then(|| format!("named .{extension}, but it is {}", format.name().to_uppercase()))
}

/// What picture a file is by its first bytes, if any.
pub(super) fn sniff(path: &Path) -> Option<codec::Format> {
    let mut start = Vec::new();
    std::fs::File::open(path).ok()?.take(16).read_to_end(&mut start).ok()?;
    // Any text may begin with "BM"; a bitmap's reserved bytes are zero.
    codec::Format::sniff(&start).filter(|f| *f != codec::Format::Bmp || start.get(6..10) == Some(&[0; 4]))
}

/// Mean and mean square of each channel, 0..=1.
fn moments(picture: &Image8) -> Vec<[f64; 2]> {
    let mut sums = vec![[0u64; 2]; picture.channels];
    for pixel in picture.data.chunks_exact(picture.channels) {
        for (sum, v) in sums.iter_mut().zip(pixel) {
            sum[0] += u64::from(*v);
            sum[1] += u64::from(*v) * u64::from(*v);
        }
    }
    let count = picture.size.area() as f64;
    sums.iter()
        .map(|[one, two]| [*one as f64 / count / 255.0, *two as f64 / count / (255.0 * 255.0)])
        .collect()
}

/// Mean and standard deviation of the channels over pictures, each picture counting alike. If any picture is in
/// colour, a grey one counts as three equal channels.
pub(super) fn color_statistics(facts: &[Facts]) -> (Vec<f64>, Vec<f64>) {
    let seen: Vec<&Vec<[f64; 2]>> = facts.iter().filter_map(|f| f.moments.as_ref()).collect();
    let channels = seen.iter().map(|m| m.len()).max().unwrap_or(0);
    let average = |channel: usize, moment: usize| {
        seen.iter().map(|m| m[channel.min(m.len() - 1)][moment]).sum::<f64>() / seen.len() as f64
    };
    let round = |v: f64| (v * 1e4).round() / 1e4;
    let mean: Vec<f64> = (0..channels).map(|c| average(c, 0)).collect();
    let std = mean.iter().enumerate().map(|(c, m)| round((average(c, 1) - m * m).max(0.0).sqrt())).collect();
    (mean.into_iter().map(round).collect(), std)
}
