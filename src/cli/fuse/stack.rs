//! The pictures to be fused: read, brought to one size, onto each other, into the same channels.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use opticus_pixels::align::{Alignment, MotionModel, align, warp};
use opticus_pixels::blend::Mask;
use opticus_pixels::codec::{Limits, decode_file};
use opticus_pixels::photo::Photo;
use opticus_pixels::preprocess::Planes;
use rayon::prelude::*;

use super::super::inputs;
use crate::error::{Error, Result};

/// The pictures.
#[derive(Args, Clone, Debug)]
pub struct StackArgs {
    /// Pictures, in order; folders and quoted patterns such as 'stack/*.jpg' give theirs by name.
    #[arg(required = true, value_name = "PICTURE")]
    pub pictures: Vec<PathBuf>,
    /// Bring every picture to the size of the first.
    #[arg(long)]
    pub resize: bool,
    /// Bring every picture onto the reference, allowing for this motion.
    #[arg(long, value_name = "MOTION", num_args = 0..=1, require_equals = true, default_missing_value = "similarity")]
    pub align: Option<Motion>,
    /// Number of the picture, from 1, onto which the others are brought; by default the middle one.
    #[arg(long, value_name = "N")]
    pub reference: Option<usize>,
    /// Memory that the pictures may take, in megabytes.
    #[arg(long, value_name = "MB", default_value_t = 8192)]
    pub max_memory: u64,
}

/// What may lie between two pictures.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Motion {
    /// A shift.
    Translation,
    /// Shift, turn and scale.
    Similarity,
    /// Any linear map and a shift.
    Affine,
    /// Another view of a plane, or a turned camera.
    Homography,
}

impl From<Motion> for MotionModel {
    fn from(motion: Motion) -> Self {
        match motion {
            Motion::Translation => Self::Translation,
            Motion::Similarity => Self::Similarity,
            Motion::Affine => Self::Affine,
            Motion::Homography => Self::Homography,
        }
    }
}

/// Reads one picture at its own depth.
pub fn read(path: &Path) -> Result<Photo> {
    let decoded = decode_file(path, &Limits::default());
    decoded.map(|d| d.into_photo()).map_err(|e| Error::Input(format!("{}: {e}", path.display())))
}

/// Reads a mask: what is not black is meant.
pub fn read_mask(path: &Path) -> Result<Mask> {
    Ok(Mask::from_photo(&read(path)?))
}

/// Pictures of one size with the same channels.
pub struct Stack {
    /// Where they came from.
    pub files: Vec<PathBuf>,
    /// The pictures; all grey or all in colour. The depth of each is the greatest of all.
    pub photos: Vec<Photo>,
}

/// Values kept for each one of a picture: itself, a pyramid, weights and theirs.
const COPIES: u64 = 4;

impl StackArgs {
    /// The files; at least `needed`.
    pub fn files(&self, needed: usize) -> Result<Vec<PathBuf>> {
        let files = inputs::stack(&self.pictures)?;
        if files.len() < needed {
            return Err(Error::Input(format!("{needed} pictures are needed, {} given", files.len())));
        }
        if self.reference.is_some_and(|n| n == 0 || n > files.len()) {
            return Err(Error::Config(format!("--reference: there are pictures 1 to {}", files.len())));
        }
        Ok(files)
    }

    /// The number of the reference, from 0.
    pub fn reference_of(&self, count: usize) -> usize {
        self.reference.map_or(count / 2, |n| n - 1)
    }

    /// All pictures.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file; [`Error::Limit`] if they do not fit into the memory allowed.
    pub fn read(&self, needed: usize) -> Result<Stack> {
        let files = self.files(needed)?;
        let first = read(&files[0])?;
        let bytes = first.size().area() * 3 * 4 * COPIES * files.len() as u64;
        if bytes >> 20 >= self.max_memory {
            return Err(Error::Limit(format!(
                "{} pictures of {}x{} pixels take about {} MB; --max-memory allows {}",
                files.len(),
                first.size().width,
                first.size().height,
                (bytes >> 20) + 1,
                self.max_memory
            )));
        }
        // Brought to the first one's size at once, so that no more is held than was reckoned with.
        let size = first.size();
        let fitted = |file: &PathBuf| self.fitted(file, read(file)?, size);
        let rest: Vec<Photo> = files[1..].par_iter().map(fitted).collect::<Result<_>>()?;
        let mut photos: Vec<Photo> = std::iter::once(first).chain(rest).collect();
        alike(&mut photos);
        if let Some(model) = self.align {
            let reference = self.reference_of(photos.len());
            let moved: Vec<Photo> = (0..photos.len())
                .into_par_iter()
                .map(|i| match i == reference {
                    true => Ok(photos[i].clone()),
                    false => aligned(&photos[reference], &photos[i], model, &files[i]),
                })
                .collect::<Result<_>>()?;
            photos = moved;
        }
        Ok(Stack { files, photos })
    }

    /// A picture at the size wanted, or an error that says how to come to it.
    pub fn fitted(&self, file: &Path, photo: Photo, size: opticus_pixels::Size) -> Result<Photo> {
        let own = photo.size();
        if own == size {
            return Ok(photo);
        }
        if self.resize {
            return Ok(photo.resized(size));
        }
        Err(Error::Input(format!(
            "{} is {}x{}, the first picture {}x{}. --resize brings all to the first one's size, and --align then onto each \
             other",
            file.display(),
            own.width,
            own.height,
            size.width,
            size.height
        )))
    }
}

const PLACEHOLDER: Photo = Photo {
    colour: Planes { channels: 0, size: opticus_pixels::Size { width: 0, height: 0 }, data: Vec::new() },
    alpha: None,
    depth: opticus_pixels::Depth::Eight,
    profile: None,
};

/// All in colour if one is, all of the greatest depth.
pub fn alike(photos: &mut [Photo]) {
    let coloured = photos.iter().any(|p| p.colour.channels == 3);
    let depth = photos.iter().map(|p| p.depth).max().unwrap_or_default();
    for photo in photos {
        photo.depth = depth;
        if coloured {
            *photo = std::mem::replace(photo, PLACEHOLDER).into_rgb();
        }
    }
}

/// A picture brought onto the reference.
pub fn aligned(reference: &Photo, photo: &Photo, model: Motion, file: &Path) -> Result<Photo> {
    let options = Alignment { model: model.into(), ..Alignment::default() };
    let found = align(&reference.colour, &photo.colour, &options)
        .map_err(|e| Error::Input(format!("{}: {e}", file.display())))?;
    let size = reference.size();
    let (colour, _) = warp(&photo.colour, &found.motion, size);
    let alpha = photo.alpha.as_ref().map(|alpha| {
        let plane = Planes { channels: 1, size: photo.size(), data: alpha.clone() };
        warp(&plane, &found.motion, size).0.data
    });
    Ok(Photo { colour, alpha, depth: photo.depth, profile: photo.profile.clone() })
}

impl Stack {
    /// Their colours.
    pub fn colours(&self) -> Vec<&Planes> {
        self.photos.iter().map(|p| &p.colour).collect()
    }

    /// The result with depth and profile of the first; opaque if all are, else as opaque as the most opaque.
    pub fn result(&self, colour: Planes) -> Photo {
        let first = &self.photos[0];
        let alpha = match self.photos.iter().map(|p| p.alpha.as_ref()).collect::<Option<Vec<_>>>() {
            Some(all) => {
                let most = |i: usize| all.iter().map(|a| a[i]).fold(0.0, f32::max);
                Some((0..all[0].len()).map(most).collect())
            }
            None => None,
        };
        Photo { colour, alpha, depth: first.depth, profile: first.profile.clone() }
    }
}
