//! One step and one evaluation of a pair of networks in training.

mod step;

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use opticus_pixels::codec;

use self::step::{Round, mean, onto, others};
use super::augment::{Adaptive, Changes};
use super::cells::Reference;
use super::condition::{Condition, Wish};
use super::config::{Augmentation, TrainConfig};
use super::dataset::Visits;
use super::net::{Artist, Critic, Pictures, latents};
use super::predict::{Generator, Request, normal};
use super::sheet::{self, Background, Layout};
use super::watch::{self, Advice, Look, Watch};
use crate::bundle::{self, Bundle, Card, FORMAT_VERSION, Metric, Provenance};
use crate::data::sampler::{DataRng, Purpose, rng_for};
use crate::data::{Batch, Loader};
use crate::error::Result;
use crate::nets::gan::GanConfig;
use crate::nets::state;
use crate::tensors::TensorMap;
use crate::train::{BatchSource, Ema, Evaluation, Learner, LearnerState, Optimizer, StepContext, StepReport};
use crate::{Error, files};

/// What a generator is made of, besides its weights; goes into every model file of the run.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The networks.
    pub net: GanConfig,
    /// What pictures are, and what they are asked by.
    pub pictures: Pictures,
    /// Where the model comes from.
    pub provenance: Provenance,
}

/// Where the pictures of fixed latent numbers go after each epoch.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The folder.
    pub folder: PathBuf,
    /// What is drawn, always the same.
    pub requests: Vec<Request>,
    /// Pictures a row.
    pub columns: usize,
    /// One above each column.
    pub tops: Vec<String>,
    /// One under each picture.
    pub titles: Vec<String>,
}

impl Shown {
    /// The sheet of an epoch, from 1.
    pub fn file(&self, epoch: u64) -> PathBuf {
        self.folder.join(format!("epoch-{epoch:04}.png"))
    }
}

/// A pair of networks that is being trained.
pub struct GanLearner {
    artist: Artist,
    critic: Critic,
    of_artist: Optimizer,
    of_critic: Optimizer,
    ema: Option<Ema>,
    adaptive: Adaptive,
    watch: Watch,
    /// The last good state, to return to.
    kept: Option<LearnerState>,
    /// Epochs evaluated: numbers the pictures shown.
    shown: u64,
    config: TrainConfig,
    device: Device,
    recipe: Recipe,
    reference: Reference,
    show: Shown,
}

impl GanLearner {
    /// A learner that starts from these networks and is measured against these real pictures.
    ///
    /// # Errors
    /// [`Error::Config`] for an optimiser that makes no sense.
    pub fn new(
        artist: Artist,
        critic: Critic,
        config: &TrainConfig,
        recipe: Recipe,
        reference: Reference,
        show: Shown,
    ) -> Result<Self> {
        let device = artist.devices().into_iter().next().unwrap_or_else(Device::flex);
        Ok(Self {
            ema: (config.ema.decay > 0.0).then(|| Ema::new(&config.ema, &artist)),
            artist,
            critic,
            of_artist: Optimizer::new(config.optimizer.clone())?,
            of_critic: Optimizer::new(config.optimizer.clone())?,
            adaptive: Adaptive { probability: 0.0 },
            watch: Watch::default(),
            kept: None,
            shown: 0,
            config: config.clone(),
            device,
            recipe,
            reference,
            show,
        })
    }

    /// The present weights, averaged where the run averages, ready to draw.
    ///
    /// # Errors
    /// As [`Generator::from_parts`].
    pub fn generator(&self) -> Result<Generator> {
        let artist = self.artist.valid();
        let artist = match &self.ema {
            Some(ema) => ema.apply(artist),
            None => artist,
        };
        Generator::from_parts(artist, self.recipe.net.clone(), self.recipe.pictures.clone())
    }

    fn condition(&self) -> &Condition {
        &self.recipe.pictures.condition
    }

    /// Changes for a batch of `n`, by chance.
    fn changes(&self, n: usize, rng: &mut DataRng) -> Option<Changes> {
        let probability = match self.config.augment.kind {
            Augmentation::Off => return None,
            Augmentation::Diff => 1.0,
            Augmentation::Adaptive => self.adaptive.probability,
        };
        Some(Changes::draw(n, self.recipe.net.image_size, probability, &self.config.augment, rng))
    }

    /// Latent numbers of `n` pictures, [n, latent].
    fn latents(&self, n: usize, rng: &mut DataRng) -> Tensor<2> {
        let latent = self.recipe.net.latent;
        latents((0..n * latent).map(|_| normal(rng)).collect(), latent, &self.device)
    }

    /// The networks and what their optimisers remember: what is returned to.
    fn networks(&self) -> LearnerState {
        let mut all = LearnerState::default();
        all.put("artist", state::to_map(&self.artist).into());
        all.put("critic", state::to_map(&self.critic).into());
        all.put("of_artist", self.of_artist.state());
        all.put("of_critic", self.of_critic.state());
        if let Some(ema) = &self.ema {
            all.put("ema", ema.state());
        }
        all
    }

    fn load_networks(&mut self, state: &mut LearnerState) -> Result<()> {
        self.artist = state::load_map(self.artist.clone(), &state.take("artist").tensors)?;
        self.critic = state::load_map(self.critic.clone(), &state.take("critic").tensors)?;
        self.of_artist.load_state(&self.artist, state.take("of_artist"))?;
        self.of_critic.load_state(&self.critic, state.take("of_critic"))?;
        match &mut self.ema {
            Some(ema) => ema.load_state(state.take("ema")),
            None => Ok(()),
        }
    }

    /// Goes back to the state kept last.
    fn turn_back(&mut self, why: &str) -> Result<String> {
        let mut kept = self.kept.clone().unwrap_or_default();
        self.load_networks(&mut kept)?;
        let rate = self.slower();
        Ok(format!("{why}; back to the last good state, at {rate:.2} times the learning rates"))
    }

    /// What the returns so far multiply the learning rates by.
    fn slower(&self) -> f64 {
        self.config.watch.slower.powi(i32::try_from(self.watch.returns).unwrap_or(i32::MAX))
    }

    /// Looks at the pictures made, and does what there is to be done.
    fn look(&mut self, look: Look, notes: &mut Vec<String>) -> Result<()> {
        match self.watch.look(look, self.kept.is_some(), &self.config.watch) {
            Advice::GoOn => {}
            Advice::Keep => self.kept = Some(self.networks()),
            Advice::Warn(what) => notes.push(format!("warning: {what}")),
            Advice::Return(what) => notes.push(self.turn_back(&what)?),
        }
        Ok(())
    }
}

impl Learner for GanLearner {
    type Batch = Batch<Wish>;

    fn step(&mut self, batch: Batch<Wish>, context: &StepContext) -> Result<StepReport> {
        let Batch { images, count: n, channels, size, targets: wishes, .. } = batch;
        let mut rng = rng_for(context.seed, Purpose::Latent, 0, 0);
        let shape = [n, channels, size.height as usize, size.width as usize];
        let latent = self.latents(n, &mut rng);
        let device = self.device.clone().without_autodiff();
        let input = self.condition().input(&wishes, &device)?.map(|input| onto(input, &self.device));
        let textual = matches!(self.condition(), Condition::Text { .. } | Condition::Numbers { .. });
        let other = match others(&wishes) {
            Some(others) if textual && self.config.loss.mismatch > 0.0 => {
                self.condition().input(&others, &device)?.map(|input| onto(input, &self.device))
            }
            _ => None,
        };
        let real = Tensor::<4>::from_data(TensorData::new(images, shape), &self.device);
        let made = self.artist.forward(latent.clone(), input.as_ref());
        let round = Round { real, latent, made, input, other, n };
        let judged = self.judge(&round, &mut rng, context)?;
        let mut notes = Vec::new();
        let loss = match context.step % self.config.loss.discriminator_steps {
            0 => self.draw(&round, &mut rng, context),
            _ => 0.0,
        };
        if self.config.augment.kind == Augmentation::Adaptive {
            self.adaptive.observe(&judged.on_real, self.config.augment.target);
        }
        let gap = mean(&judged.on_real) - mean(&judged.on_made);
        let every = self.config.watch.every;
        let mut losses = [judged.loss, loss];
        if losses.iter().any(|loss| !loss.is_finite())
            && self.kept.is_some()
            && self.watch.returns < self.config.watch.returns
        {
            self.watch.returned();
            notes.push(self.turn_back("a loss is not a number")?);
            losses = [0.0; 2];
        } else if every > 0 && context.step % every == every - 1 {
            let groups = watch::groups(&wishes);
            let spread = |x: Tensor<4>| watch::diversity(&state::host(x), &groups);
            let real = spread(round.real.clone()).max(1e-6);
            let diversity = spread(round.made.clone().detach()) / real;
            self.look(Look { diversity, gap }, &mut notes)?;
        }
        let mut figures =
            vec![("generator_loss", losses[1]), ("gap", if gap.is_finite() { gap } else { 0.0 })];
        if self.config.augment.kind == Augmentation::Adaptive {
            figures.push(("augment", self.adaptive.probability));
        }
        Ok(StepReport { loss: losses[0], examples: n, figures, notes })
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        let generator = self.generator()?;
        let pictures = generator.sample(&self.show.requests, None)?;
        let sheet = sheet::lay_out(
            &pictures,
            &Layout {
                columns: self.show.columns,
                titles: &self.show.titles,
                rows: &[],
                tops: &self.show.tops,
                background: Background::default(),
            },
        );
        let png = codec::encode_png(&sheet).map_err(|e| Error::Input(e.to_string()))?;
        self.shown += 1;
        let file = self.show.file(self.shown);
        files::write_atomically(&file, |out| out.write_all(&png))?;
        let distance = self.reference.distance(&generator)?;
        Ok(Evaluation { score: -distance, figures: vec![("cell_distance", distance)] })
    }

    fn state(&self) -> Result<LearnerState> {
        let mut all = self.networks();
        all.numbers.extend([
            ("probability".to_owned(), self.adaptive.probability.to_bits()),
            ("bad".into(), self.watch.bad),
            ("good".into(), self.watch.good),
            ("returns".into(), self.watch.returns),
            ("shown".into(), self.shown),
        ]);
        if let Some(kept) = &self.kept {
            all.put("kept", kept.clone());
        }
        Ok(all)
    }

    fn load_state(&mut self, mut state: LearnerState) -> Result<()> {
        self.load_networks(&mut state)?;
        let number = |name: &str| state.numbers.get(name).copied().unwrap_or_default();
        self.adaptive.probability = f64::from_bits(number("probability"));
        self.watch = Watch { bad: number("bad"), good: number("good"), returns: number("returns") };
        self.shown = number("shown");
        let kept = state.take("kept");
        self.kept = (kept != LearnerState::default()).then_some(kept);
        Ok(())
    }

    fn write_model(&self, path: &Path, evaluation: &Evaluation) -> Result<()> {
        let Recipe { net, pictures, provenance } = self.recipe.clone();
        let metrics = evaluation
            .figures
            .iter()
            .map(|(name, value)| Metric {
                name: (*name).into(),
                value: *value,
                data: "training pictures".into(),
                count: self.reference.count(),
            })
            .collect();
        let classes = match &pictures.condition {
            Condition::Label { names } => names.clone(),
            _ => Vec::new(),
        };
        let card = Card {
            format_version: FORMAT_VERSION,
            job: super::JOB.into(),
            net: bundle::to_json("net", &net)?,
            classes,
            preprocessing: bundle::to_json("preprocessing", &pictures)?,
            metrics,
            provenance,
            licence: String::new(),
        };
        let tensors: TensorMap = state::to_map(self.generator()?.artist());
        bundle::save(path, &Bundle { card, tensors })
    }
}

/// The batches of a training run.
pub struct Batches(pub Loader<Visits, Wish>);

impl BatchSource for Batches {
    type Batch = Batch<Wish>;

    fn batches(&self) -> usize {
        self.0.batches()
    }

    fn epoch(&self, epoch: u64, from: usize) -> Box<dyn Iterator<Item = Result<Batch<Wish>>> + '_> {
        Box::new(self.0.epoch(epoch, from))
    }
}
