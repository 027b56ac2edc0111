//! The latent numbers whose picture is most like a given one: what a generator makes of a picture, and how much of it
//! it can say at all.

use burn::tensor::{Tensor, TensorData};
use opticus_pixels::Image8;

use super::condition::{Condition, Wish};
use super::predict::{Generator, to_values};
use super::prepare::prepare;
use crate::error::{Error, Result};
use crate::nets::state;

/// Rows that are improved at once: the memory bound.
const BATCH: usize = 32;
/// Labels that are tried one after another, at most, where none is given.
const MOST_LABELS: usize = 256;
/// Each label is tried from so many starts, for this part of the steps.
const SCOUTS: usize = 2;
const SCOUTING: usize = 4;
/// Adam (Kingma and Ba 2015, algorithm 1).
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

/// How the search goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// Steps of Adam from each start.
    pub steps: usize,
    /// Starts; the best end counts.
    pub starts: usize,
    /// Adam's first rate; it falls to zero along half a cosine.
    pub rate: f64,
    /// The starts are the latent numbers of this seed and those after it.
    pub seed: u64,
}

impl Default for Search {
    fn default() -> Self {
        Self { steps: 300, starts: 4, rate: 0.1, seed: 0 }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// Latent numbers.
    pub latent: Vec<f32>,
    /// The condition's embedding.
    pub embedding: Option<Vec<f32>>,
    /// The wish that the embedding belongs to; none where it was searched for as well.
    pub wish: Option<Wish>,
    /// The given picture at the model's size and channels.
    pub target: Image8,
    /// The picture found.
    pub picture: Image8,
    /// Mean squared difference at full, half and quarter size, summed; values are from −1 to 1.
    pub loss: f64,
    /// Peak signal-to-noise ratio in dB of the 8-bit pictures, colour multiplied by alpha; none for equal ones.
    pub psnr: Option<f64>,
}

/// Searches for a picture. Where the model takes a label and none is wished for, all are tried; where it takes
/// numbers or text, their embedding is searched for too. `progress` hears of steps done, of how many, and of the least
/// loss, and ends the search by saying `false`.
///
/// # Errors
/// [`Error::Config`] for a search without steps or starts, or too many labels; [`Error::Interrupted`] if `progress`
/// ended it.
pub fn project(
    generator: &Generator,
    image: &Image8,
    wish: Option<&Wish>,
    search: &Search,
    progress: &mut dyn FnMut(usize, usize, f64) -> bool,
) -> Result<Projection> {
    if search.steps == 0 || search.starts == 0 || !(search.rate.is_finite() && search.rate > 0.0) {
        return Err(Error::Config("the search needs steps, starts and a rate above 0".into()));
    }
    let target = prepare(&of_channels(image, generator.config().channels), generator.size().width);
    let mut climb = Climb { generator, target: to_values(&target), search, done: 0, of: 0, progress };
    let (wish, start) = match (wish, generator.condition()) {
        (Some(wish), _) => (Some(wish.clone()), Start::Fixed(embedding(generator, wish)?)),
        (None, Condition::None) => (None, Start::Fixed(None)),
        (None, Condition::Label { names }) => {
            let label = climb.best_label(names.len())?;
            (Some(label.clone()), Start::Fixed(embedding(generator, &label)?))
        }
        (None, Condition::Numbers { columns, .. }) => {
            (None, Start::Free(embedding(generator, &Wish::Numbers(vec![0.0; columns.len()]))?))
        }
        (None, Condition::Text { .. }) => {
            (None, Start::Free(embedding(generator, &Wish::Tokens(Vec::new()))?))
        }
    };
    let (given, free) = match start {
        Start::Fixed(embedding) => (embedding, false),
        Start::Free(embedding) => (embedding, true),
    };
    climb.plan(search.starts.div_ceil(BATCH) * search.steps);
    let mut best: Option<Row> = None;
    for first in (0..search.starts).step_by(BATCH) {
        let mut rows = Vec::new();
        for start in first..search.starts.min(first + BATCH) {
            rows.push(Row::new(
                generator.latent(search.seed.wrapping_add(start as u64), None)?,
                given.clone(),
            ));
        }
        for row in climb.improve(rows, search.steps, free)? {
            if best.as_ref().is_none_or(|b| row.loss < b.loss) {
                best = Some(row);
            }
        }
    }
    let Row { latent, embedding, loss } =
        best.ok_or_else(|| Error::Config("the search has no start".into()))?;
    let embeddings = embedding.clone().map(|e| vec![e]);
    let drawn = generator.draw_embedded(std::slice::from_ref(&latent), embeddings.as_deref())?;
    let picture =
        drawn.into_iter().next().ok_or_else(|| Error::ModelFile("the model draws nothing".into()))?;
    let psnr = psnr(&to_values(&target), &to_values(&picture));
    Ok(Projection { latent, embedding, wish, target, picture, loss, psnr })
}

/// Whether the embedding is given or only where the search begins.
enum Start {
    Fixed(Option<Vec<f32>>),
    Free(Option<Vec<f32>>),
}

fn embedding(generator: &Generator, wish: &Wish) -> Result<Option<Vec<f32>>> {
    Ok(generator.embed(std::slice::from_ref(wish))?.map(|mut all| all.swap_remove(0)))
}

fn of_channels(image: &Image8, channels: usize) -> Image8 {
    use opticus_pixels::codec::ColorMode;
    image.to_mode(match channels {
        1 => ColorMode::Grey,
        4 => ColorMode::Rgba,
        _ => ColorMode::Rgb,
    })
}

/// In dB, of values from −1 to 1.
fn psnr(a: &[f32], b: &[f32]) -> Option<f64> {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    (sum > 0.0).then(|| 10.0 * (4.0 * a.len() as f64 / sum).log10())
}

/// One start, or the best place on the way from it.
#[derive(Clone, Debug)]
struct Row {
    latent: Vec<f32>,
    embedding: Option<Vec<f32>>,
    loss: f64,
}

impl Row {
    fn new(latent: Vec<f32>, embedding: Option<Vec<f32>>) -> Self {
        Self { latent, embedding, loss: f64::INFINITY }
    }
}

/// Where it goes downhill.
struct Slopes {
    /// Of each row.
    losses: Vec<f32>,
    /// Gradients of the losses' sum: each row's own, as no row has to do with another.
    latent: Vec<f32>,
    embedding: Option<Vec<f32>>,
}

/// The search and how far it is.
struct Climb<'a> {
    generator: &'a Generator,
    /// [c, h, w].
    target: Vec<f32>,
    search: &'a Search,
    done: usize,
    of: usize,
    progress: &'a mut dyn FnMut(usize, usize, f64) -> bool,
}

impl Climb<'_> {
    fn plan(&mut self, steps: usize) {
        self.of = self.done + steps;
    }

    /// The label from which a short search comes nearest.
    fn best_label(&mut self, labels: usize) -> Result<Wish> {
        if labels > MOST_LABELS {
            return Err(Error::Config(format!(
                "the model knows {labels} labels, too many to try; give --label"
            )));
        }
        let steps = self.search.steps.div_ceil(SCOUTING);
        let together = (BATCH / SCOUTS).max(1);
        self.plan(labels.div_ceil(together) * steps + self.search.starts.div_ceil(BATCH) * self.search.steps);
        let mut best = (f64::INFINITY, 0);
        for first in (0..labels).step_by(together) {
            let mut rows = Vec::new();
            for label in first..labels.min(first + together) {
                let given = embedding(self.generator, &Wish::Label(label))?;
                for scout in 0..SCOUTS {
                    let seed = self.search.seed.wrapping_add(scout as u64);
                    rows.push(Row::new(self.generator.latent(seed, None)?, given.clone()));
                }
            }
            for (i, row) in self.improve(rows, steps, false)?.into_iter().enumerate() {
                if row.loss < best.0 {
                    best = (row.loss, first + i / SCOUTS);
                }
            }
        }
        Ok(Wish::Label(best.1))
    }

    /// Goes downhill from each row on its own; gives the best places seen.
    fn improve(&mut self, rows: Vec<Row>, steps: usize, free: bool) -> Result<Vec<Row>> {
        let n = rows.len();
        let mut latent = Adam::new(rows.iter().flat_map(|r| r.latent.clone()).collect());
        let embeddings: Vec<f32> = rows.iter().filter_map(|r| r.embedding.clone()).flatten().collect();
        let mut embedding = (!embeddings.is_empty()).then(|| Adam::new(embeddings));
        let mut best = rows;
        // One look more than steps: the last step's end counts too.
        for step in 0..=steps {
            let slopes = self.slopes(n, &latent.values, embedding.as_ref().map(|e| e.values.as_slice()))?;
            for (i, (row, loss)) in best.iter_mut().zip(&slopes.losses).enumerate() {
                if f64::from(*loss) < row.loss {
                    row.loss = f64::from(*loss);
                    row.latent = part(&latent.values, i, n);
                    row.embedding = embedding.as_ref().map(|e| part(&e.values, i, n));
                }
            }
            if step == steps {
                break;
            }
            let rate =
                self.search.rate * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos());
            latent.step(&slopes.latent, rate);
            if let (true, Some(embedding), Some(slopes)) = (free, &mut embedding, &slopes.embedding) {
                embedding.step(slopes, rate);
            }
            self.done += 1;
            let least = best.iter().map(|r| r.loss).fold(f64::INFINITY, f64::min);
            if !(self.progress)(self.done, self.of, least) {
                return Err(Error::Interrupted("the search was stopped; nothing was written".into()));
            }
        }
        Ok(best)
    }

    /// Each row's loss, and the slopes of latent numbers and embeddings.
    fn slopes(&self, n: usize, latent: &[f32], embedding: Option<&[f32]>) -> Result<Slopes> {
        let device = self.generator.device();
        let leaf = |values: &[f32]| {
            let data = TensorData::new(values.to_vec(), [n, values.len() / n.max(1)]);
            Tensor::<2>::from_data(data, device).autodiff().require_grad()
        };
        let (latent, embedding) = (leaf(latent), embedding.map(leaf));
        let drawn = self.generator.artist().generator.forward(latent.clone(), embedding.clone());
        let [n, c, h, w] = drawn.dims();
        let target = TensorData::new(self.target.clone(), [1, c, h, w]);
        let target = Tensor::<4>::from_data(target, device).autodiff().expand([n, c, h, w]);
        let losses = difference(drawn - target); // [n]
        let gradients = losses.clone().sum().backward();
        let slope = |leaf: &Tensor<2>| leaf.grad(&gradients).map(state::host).unwrap_or_default();
        let (latent, embedding) = (slope(&latent), embedding.as_ref().map(slope));
        let losses = state::host(losses.detach());
        if losses.iter().chain(&latent).any(|v| !v.is_finite()) {
            return Err(Error::Diverged("the search met values that are no numbers; lower the rate".into()));
        }
        Ok(Slopes { losses, latent, embedding })
    }
}

/// Mean squares `[n]` of differences [n, c, h, w] as they are, and of their means over 2×2 and 4×4 pixels: the coarse
/// scales show the way while fine structure does not match yet.
fn difference(mut x: Tensor<4>) -> Tensor<1> {
    let [n, c, h, w] = x.dims();
    let squares =
        |x: &Tensor<4>, count: usize| x.clone().square().reshape([n, count]).mean_dim(1).reshape([n]);
    let mut sum = squares(&x, c * h * w);
    for halving in 1..=2 {
        // Every model's side can be halved twice.
        let (h, w) = (h >> halving, w >> halving);
        let halved = x.reshape([n * c * h, 2, w, 2]).mean_dim(1).mean_dim(3); // [n c h, 1, w, 1]
        x = halved.reshape([n, c, h, w]);
        sum = sum + squares(&x, c * h * w);
    }
    sum
}

/// The values of row `i` of `n`.
fn part(values: &[f32], i: usize, n: usize) -> Vec<f32> {
    let width = values.len() / n.max(1);
    values[i * width..(i + 1) * width].to_vec()
}

/// Adam on numbers in main memory.
struct Adam {
    values: Vec<f32>,
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
}

impl Adam {
    fn new(values: Vec<f32>) -> Self {
        let n = values.len();
        Self { values, first: vec![0.0; n], second: vec![0.0; n], steps: 0 }
    }

    fn step(&mut self, slopes: &[f32], rate: f64) {
        self.steps += 1;
        let unbiased = BETAS.map(|beta| 1.0 - beta.powi(self.steps));
        for (((value, slope), m), v) in
            self.values.iter_mut().zip(slopes).zip(&mut self.first).zip(&mut self.second)
        {
            let slope = f64::from(*slope);
            *m = BETAS[0] * *m + (1.0 - BETAS[0]) * slope;
            *v = BETAS[1] * *v + (1.0 - BETAS[1]) * slope * slope;
            *value -= (rate * (*m / unbiased[0]) / ((*v / unbiased[1]).sqrt() + EPSILON)) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::Device;

    use super::*;
    use crate::generate::net::{Artist, Pictures, Values};
    use crate::nets::gan::{GanConfig, GanKind};
    use crate::nets::init::Scope;

    fn generator(condition: Condition) -> Generator {
        let mut config = GanConfig::defaults(GanKind::DenseGan, 16, 1);
        (config.latent, config.generator_width) = (6, 8);
        config.condition = if condition == Condition::None { 0 } else { 4 };
        let artist = Artist::new(&config, &condition, &Scope::seeded(5, &Device::flex())).unwrap();
        Generator::from_parts(artist, config, Pictures { condition, values: Values::default() }).unwrap()
    }

    fn drawn(generator: &Generator, wish: &Wish) -> Image8 {
        let latent = generator.latent(77, Some(1.0)).unwrap();
        generator.draw(&[latent], std::slice::from_ref(wish)).unwrap().swap_remove(0)
    }

    #[test]
    fn what_a_generator_drew_it_finds_again() {
        let generator = generator(Condition::None);
        let target = drawn(&generator, &Wish::Any);
        let search = Search { steps: 200, starts: 3, ..Search::default() };
        let mut losses = Vec::new();
        let mut find = || {
            project(&generator, &target, None, &search, &mut |_, _, loss| {
                losses.push(loss);
                true
            })
        };
        let found = find().unwrap();
        assert_eq!(found, find().unwrap(), "the same search finds the same");
        assert!(found.psnr.is_none_or(|psnr| psnr > 35.0), "{:?}", found.psnr);
        assert!(found.loss < 0.02 * losses[0], "{} from {}", found.loss, losses[0]);
        let stopped = project(&generator, &target, None, &search, &mut |done, _, _| done < 3);
        assert!(matches!(stopped, Err(Error::Interrupted(_))));
        assert!(
            project(&generator, &target, None, &Search { steps: 0, ..search }, &mut |_, _, _| true).is_err()
        );
    }

    #[test]
    fn the_label_is_found_too() {
        let names = ["a", "b", "c"].map(str::to_owned).into();
        let generator = generator(Condition::Label { names });
        let target = drawn(&generator, &Wish::Label(1));
        let search = Search { steps: 120, starts: 2, ..Search::default() };
        let found = project(&generator, &target, None, &search, &mut |done, of, _| done <= of).unwrap();
        assert!(matches!(found.wish, Some(Wish::Label(_))));
        assert!(found.psnr.is_none_or(|psnr| psnr > 25.0), "{:?}", found.psnr);
        let given =
            project(&generator, &target, Some(&Wish::Label(2)), &search, &mut |_, _, _| true).unwrap();
        assert_eq!(given.wish, Some(Wish::Label(2)));
    }

    #[test]
    fn slopes_are_those_of_finite_differences() {
        let generator = generator(Condition::None);
        let target = to_values(&drawn(&generator, &Wish::Any));
        let (search, mut progress) = (Search::default(), |_: usize, _: usize, _: f64| true);
        let climb =
            Climb { generator: &generator, target, search: &search, done: 0, of: 0, progress: &mut progress };
        let at = generator.latent(3, None).unwrap();
        let slopes = climb.slopes(1, &at, None).unwrap().latent;
        for i in 0..at.len() {
            let loss = |h: f32| {
                let mut moved = at.clone();
                moved[i] += h;
                f64::from(climb.slopes(1, &moved, None).unwrap().losses[0])
            };
            let expected = (loss(1e-2) - loss(-1e-2)) / 2e-2;
            assert!(
                (expected - f64::from(slopes[i])).abs() < 0.05 * expected.abs() + 1e-3,
                "{expected} {}",
                slopes[i]
            );
        }
    }
}
