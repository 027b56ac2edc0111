//! Batches ahead of the trainer: in exact order, in parallel, within bounded memory.

use std::sync::{Arc, OnceLock};

use opticus_pixels::Image8;
use opticus_pixels::Size;
use opticus_pixels::preprocess::Planes;
use rayon::prelude::*;

use super::augment::{MixConfig, MixPlan};
use super::dataset::Dataset;
use super::prefetch::prefetch;
use super::sampler::{DataRng, Purpose, epoch_order, rng_for};
use crate::error::{Error, Result};

/// How a [`Loader`] walks its data set.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// Pictures in a batch.
    pub batch_size: usize,
    /// Visit the pictures in [`epoch_order`], another one each epoch; else in the data set's order.
    pub shuffle: bool,
    /// Leave out the last batch of an epoch if it is not full.
    pub drop_last: bool,
    /// Root of all randomness.
    pub seed: u64,
    /// Threads that decode and augment; 0 takes as many as the machine has cores.
    pub threads: usize,
    /// Batches made ahead of the trainer; the memory bound.
    pub ahead: usize,
    /// Mixup and cutmix of whole batches.
    pub mix: MixConfig,
    /// What happens to pictures of different sizes.
    pub sizes: Sizes,
}

/// What happens to pictures of different sizes in one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sizes {
    /// They are an error: all pictures of all batches must come out in one size.
    #[default]
    Same,
    /// Zeros at their right and bottom bring them to the size of the largest.
    Padded,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            batch_size: 64,
            shuffle: false,
            drop_last: false,
            seed: 0,
            threads: 0,
            ahead: 4,
            mix: MixConfig::default(),
            sizes: Sizes::Same,
        }
    }
}

/// From a picture's number in the data set to the network's input and what is to be known of it: augmentation and
/// preprocessing, which the job supplies. The generator is the picture's own for this epoch.
pub type SampleFn<D, T> = dyn Fn(&D, usize, &mut DataRng) -> Result<(Planes, T)> + Send + Sync;

/// Pictures ready for the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<T> {
    /// `count * channels * height * width` values: NCHW.
    pub images: Vec<f32>,
    /// Number of pictures.
    pub count: usize,
    /// Channels of each.
    pub channels: usize,
    /// Extent of each, padding included.
    pub size: Size,
    /// What is known of each.
    pub targets: Vec<T>,
    /// The number of each in the data set.
    pub indices: Vec<usize>,
    /// How pictures were mixed, if they were; then targets mix likewise ([`MixPlan::soft_targets`]).
    pub mix: Option<MixPlan>,
}

/// Gives the batches of any epoch, from any batch on, with targets of type `T`.
pub struct Loader<D, T> {
    work: Arc<Work<D, T>>,
}

struct Work<D, T> {
    dataset: D,
    sample: Box<SampleFn<D, T>>,
    options: LoaderOptions,
    /// Not the global pool: the trainer's own parallel work must never wait behind a picture being decoded.
    pool: rayon::ThreadPool,
    shape: OnceLock<(usize, Size)>,
}

impl<D: Dataset + 'static> Loader<D, D::Target> {
    /// A loader over `dataset` whose pictures go through `sample` one by one, and whose targets are the data set's.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub fn new(
        dataset: D,
        options: LoaderOptions,
        sample: impl Fn(Image8, &mut DataRng) -> Result<Planes> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::with(dataset, options, move |dataset, index, rng| {
            Ok((sample(dataset.load(index)?, rng)?, dataset.target(index)))
        })
    }
}

impl<D: Dataset + 'static, T: Send + 'static> Loader<D, T> {
    /// A loader over `dataset` that makes each picture and its target by `sample`.
    ///
    /// # Errors
    /// [`Error::Config`] for a batch size of 0 or a mix that makes no sense; [`Error::Device`] if threads
    /// cannot be started.
    pub fn with(
        dataset: D,
        options: LoaderOptions,
        sample: impl Fn(&D, usize, &mut DataRng) -> Result<(Planes, T)> + Send + Sync + 'static,
    ) -> Result<Self> {
        if options.batch_size == 0 {
            return Err(Error::Config("the batch size is 0; it must be at least 1".into()));
        }
        options.mix.validate()?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .thread_name(|i| format!("loader-{i}"))
            .build()
            .map_err(|e| Error::Device(format!("cannot start the loader's threads: {e}")))?;
        let work = Work { dataset, sample: Box::new(sample), options, pool, shape: OnceLock::new() };
        Ok(Self { work: Arc::new(work) })
    }

    /// The data set.
    pub fn dataset(&self) -> &D {
        &self.work.dataset
    }

    /// Pictures that an epoch visits.
    pub fn pictures(&self) -> usize {
        let len = self.work.dataset.len();
        if self.work.options.drop_last { len - len % self.work.options.batch_size } else { len }
    }

    /// Batches of an epoch.
    pub fn batches(&self) -> usize {
        self.pictures().div_ceil(self.work.options.batch_size)
    }

    /// The batches of epoch `epoch` from batch `from` on: a pure function of (data set, options, epoch), so
    /// that resuming in the middle of an epoch gives exactly the batches that were left.
    ///
    /// The iterator ends after the last batch; a batch with an unreadable picture is an error that names it.
    pub fn epoch(&self, epoch: u64, from: usize) -> impl Iterator<Item = Result<Batch<T>>> + use<D, T> {
        let len = self.work.dataset.len();
        let order = Arc::new(if self.work.options.shuffle {
            epoch_order(len, self.work.options.seed, epoch)
        } else {
            (0..len).collect()
        });
        let work = Arc::clone(&self.work);
        let pictures = self.pictures();
        // Two batches at once: while the last pictures of one are finished, the next is begun.
        prefetch(self.batches().saturating_sub(from), 2, work.options.ahead, move |number| {
            let first = (from + number) * work.options.batch_size;
            let last = (first + work.options.batch_size).min(pictures);
            work.batch(&order[first..last], epoch, (from + number) as u64)
        })
    }
}

impl<D: Dataset, T: Send> Work<D, T> {
    fn batch(&self, indices: &[usize], epoch: u64, number: u64) -> Result<Batch<T>> {
        let make = |&index: &usize| {
            let mut rng = rng_for(self.options.seed, Purpose::Augment, epoch, index as u64);
            (self.sample)(&self.dataset, index, &mut rng)
        };
        // Small pictures come in large batches, and go to a thread some at a time.
        let together = (indices.len() / 16).clamp(1, 4);
        let made: Vec<Result<(Planes, T)>> =
            self.pool.install(|| indices.par_iter().with_min_len(together).map(make).collect());
        // The first fault in the batch's order, whichever thread met it.
        let (planes, targets): (Vec<Planes>, Vec<T>) =
            made.into_iter().collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let (channels, size) = self.shape(&planes, indices)?;
        let stride = channels * size.area() as usize;
        let mut images = vec![0f32; indices.len() * stride];
        self.pool.install(|| {
            let slots = images.par_chunks_mut(stride.max(1)).zip(&planes);
            slots.for_each(|(slot, planes)| copy(planes, slot, size));
        });
        let mut rng = rng_for(self.options.seed, Purpose::Mix, epoch, number);
        let mix = self.options.mix.draw(indices.len(), size, &mut rng);
        if let Some(plan) = &mix {
            plan.apply(&mut images, channels, size);
        }
        let (count, indices) = (indices.len(), indices.to_vec());
        Ok(Batch { images, count, channels, size, targets, indices, mix })
    }

    /// Channels and size of a batch of these pictures.
    fn shape(&self, planes: &[Planes], indices: &[usize]) -> Result<(usize, Size)> {
        let Some(first) = planes.first() else { return Ok((0, Size::new(0, 0))) };
        let (channels, size) = match self.options.sizes {
            Sizes::Same => *self.shape.get_or_init(|| (first.channels, first.size)),
            Sizes::Padded => {
                let most = |side: fn(&Size) -> u32| planes.iter().map(|p| side(&p.size)).max().unwrap_or(0);
                (first.channels, Size::new(most(|size| size.width), most(|size| size.height)))
            }
        };
        let fits = |planes: &Planes| {
            planes.channels == channels && (self.options.sizes == Sizes::Padded || planes.size == size)
        };
        match planes.iter().zip(indices).find(|(planes, _)| !fits(planes)) {
            Some((planes, &index)) => Err(Error::Config(format!(
                "{} became {}x{}x{} where others became {channels}x{}x{}; preprocessing must give one size",
                self.dataset.name(index),
                planes.channels,
                planes.size.width,
                planes.size.height,
                size.width,
                size.height,
            ))),
            None => Ok((channels, size)),
        }
    }
}

/// A picture to the top left of a frame of zeros.
fn copy(planes: &Planes, frame: &mut [f32], size: Size) {
    if planes.size == size {
        return frame.copy_from_slice(&planes.data);
    }
    let [across, wide] = [planes.size.width, size.width].map(|side| side.max(1) as usize);
    let height = planes.size.height as usize;
    let rows = frame
        .chunks_exact_mut(wide * size.height as usize)
        .flat_map(|p| p.chunks_exact_mut(wide).take(height));
    rows.zip(planes.data.chunks_exact(across)).for_each(|(to, from)| to[..across].copy_from_slice(from));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use rand::RngExt;
    use std::collections::BTreeSet;

    /// `len` pictures of 4×3 grey pixels, of which `bad` cannot be read.
    struct Numbered {
        len: usize,
        bad: Option<usize>,
    }

    impl Dataset for Numbered {
        type Target = usize;

        fn len(&self) -> usize {
            self.len
        }

        fn load(&self, index: usize) -> Result<Image8> {
            if self.bad == Some(index) {
                return Err(Error::Input(format!("picture {index} is damaged")));
            }
            Ok(Image8 { size: Size::new(4, 3), channels: 1, data: vec![index as u8; 12] })
        }

        fn target(&self, index: usize) -> usize {
            index % 3
        }

        fn name(&self, index: usize) -> String {
            format!("#{index}")
        }
    }

    /// Adds a random number, so that the generator's part in the result shows.
    fn noisy(picture: Image8, rng: &mut DataRng) -> Result<Planes> {
        let noise: f32 = rng.random();
        let data = picture.data.iter().map(|v| f32::from(*v) + noise).collect();
        Ok(Planes { channels: 1, size: picture.size, data })
    }

    fn options(batch_size: usize, threads: usize) -> LoaderOptions {
        LoaderOptions { batch_size, threads, shuffle: true, seed: 9, ..LoaderOptions::default() }
    }

    fn loader(len: usize, options: LoaderOptions) -> Loader<Numbered, usize> {
        Loader::new(Numbered { len, bad: None }, options, noisy).unwrap()
    }

    fn all(loader: &Loader<Numbered, usize>, epoch: u64, from: usize) -> Vec<Batch<usize>> {
        loader.epoch(epoch, from).collect::<Result<_>>().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn an_epoch_has_every_picture_once(len in 0usize..60, size in 1usize..20, epoch in 0u64..5, drop_last: bool) {
            let loader = loader(len, LoaderOptions { drop_last, ..options(size, 2) });
            let batches = all(&loader, epoch, 0);
            prop_assert_eq!(batches.len(), loader.batches());
            let seen: Vec<usize> = batches.iter().flat_map(|b| b.indices.clone()).collect();
            prop_assert_eq!(seen.len(), if drop_last { len / size * size } else { len });
            prop_assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
            for batch in &batches {
                prop_assert_eq!(batch.count, batch.indices.len());
                for (i, index) in batch.indices.iter().enumerate() {
                    let value = batch.images[i * 12];
                    prop_assert!(value >= *index as f32 && value < *index as f32 + 1.0);
                    prop_assert_eq!(batch.targets[i], index % 3);
                }
            }
        }
    }

    #[test]
    fn pictures_of_different_sizes_are_padded_or_refused() {
        let sample = |_: &Numbered, index: usize, _: &mut DataRng| {
            let size = Size::new(2 + index as u32, 3 - index as u32);
            let data = vec![index as f32 + 1.0; size.area() as usize];
            Ok((Planes { channels: 1, size, data }, format!("target {index}")))
        };
        let load = |sizes| {
            let options = LoaderOptions { batch_size: 2, sizes, ..LoaderOptions::default() };
            let loader = Loader::with(Numbered { len: 2, bad: None }, options, sample).unwrap();
            loader.epoch(0, 0).next().unwrap()
        };
        let batch = load(Sizes::Padded).unwrap();
        assert_eq!((batch.size, batch.channels), (Size::new(3, 3), 1));
        assert_eq!(batch.targets, ["target 0", "target 1"]);
        let first = [1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0];
        let second = [2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.0, 0.0, 0.0];
        assert_eq!(batch.images, [first, second].concat());
        assert!(load(Sizes::Same).unwrap_err().to_string().contains("must give one size"));
    }

    #[test]
    fn batches_are_the_same_for_any_number_of_threads() {
        let mixed = LoaderOptions { mix: MixConfig { mixup: 0.4, cutmix: 1.0 }, ..options(7, 1) };
        let one = all(&loader(50, mixed.clone()), 3, 0);
        for threads in [2, 4, 7] {
            let many = all(&loader(50, LoaderOptions { threads, ahead: threads, ..mixed.clone() }), 3, 0);
            assert_eq!(one, many, "{threads} threads");
        }
    }

    #[test]
    fn resuming_gives_exactly_the_batches_that_were_left() {
        let loader =
            loader(50, LoaderOptions { mix: MixConfig { mixup: 0.4, cutmix: 0.0 }, ..options(8, 3) });
        let whole = all(&loader, 2, 0);
        for from in 0..=whole.len() + 1 {
            assert_eq!(all(&loader, 2, from), whole[from.min(whole.len())..], "from {from}");
        }
    }

    #[test]
    fn epochs_differ_in_order_and_in_augmentation() {
        let loader = loader(50, options(50, 2));
        let (a, b) = (all(&loader, 0, 0).remove(0), all(&loader, 1, 0).remove(0));
        assert_ne!(a.indices, b.indices);
        let noise = |batch: &Batch<usize>, index: usize| {
            let at = batch.indices.iter().position(|i| *i == index).unwrap();
            batch.images[at * 12] - index as f32
        };
        assert_ne!(noise(&a, 5), noise(&b, 5));
        let still = LoaderOptions { shuffle: false, ..options(50, 2) };
        assert_eq!(all(&self::loader(50, still), 1, 0)[0].indices, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_damaged_picture_is_an_error_in_its_batch() {
        let data = Numbered { len: 20, bad: Some(13) };
        let options = LoaderOptions { shuffle: false, ..options(5, 4) };
        let loader = Loader::new(data, options, noisy).unwrap();
        let results: Vec<Result<Batch<usize>>> = loader.epoch(0, 0).collect();
        assert!(results[0].is_ok() && results[1].is_ok() && results[3].is_ok());
        assert!(results[2].as_ref().unwrap_err().to_string().contains("picture 13"));
    }

    #[test]
    fn pictures_that_come_out_in_different_sizes_are_refused() {
        let uneven = |picture: Image8, _: &mut DataRng| {
            let width = if picture.data[0] == 3 { 2 } else { 1 };
            Ok(Planes { channels: 1, size: Size::new(width, 1), data: vec![0.0; width as usize] })
        };
        let options = LoaderOptions { shuffle: false, ..options(8, 2) };
        let loader = Loader::new(Numbered { len: 8, bad: None }, options, uneven).unwrap();
        let fault = loader.epoch(0, 0).next().unwrap().unwrap_err().to_string();
        assert!(fault.starts_with("#3 became 1x2x1"), "{fault}");
        assert!(Loader::new(Numbered { len: 8, bad: None }, self::options(0, 1), noisy).is_err());
    }
}
