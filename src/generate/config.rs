//! What a training run can be told, with defaults that suit small pictures on a CPU.

use serde::{Deserialize, Serialize};

use super::loss::Adversarial;
use crate::data::OnBad;
use crate::error::{Error, Result};
use crate::nets::gan::{GanConfig, GanKind};
use crate::train::{Course, EmaConfig, FitConfig, OptimizerConfig, RunConfig, ScheduleConfig};

/// Everything that decides a training run. Written, resolved, to the run folder's `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of everything random.
    pub seed: u64,
    /// The networks.
    pub net: NetSection,
    /// The pictures, and what is known of them.
    pub data: DataSection,
    /// What both networks play for.
    pub loss: LossSection,
    /// Changes to what the discriminator sees.
    pub augment: AugmentSection,
    /// When a run counts as collapsed.
    pub watch: WatchSection,
    /// The generator's optimiser; the discriminator's is the same at `loss.discriminator_rate` times its rate.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: ScheduleConfig,
    /// Averaged weights of the generator; sampled from and saved instead of the raw ones where `decay` > 0.
    pub ema: EmaConfig,
    /// The loop: epochs, minutes, batch size, patience, checkpoints.
    pub fit: FitConfig,
}

/// The networks to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetSection {
    /// `dense-gan`, `dcgan`, `modulated-gan` or `resnet-gan`.
    pub name: GanKind,
    /// Side of the square pictures in pixels; the data's own when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<u32>,
    /// Channels: 1 grey, 3 colour, 4 with alpha; the data's own when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// Numbers that a picture is made from; the network's usual when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latent: Option<usize>,
    /// Channels of the generator's last feature map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_width: Option<usize>,
    /// Channels of the discriminator's first feature map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discriminator_width: Option<usize>,
    /// Numbers that a label, numbers or words become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<usize>,
    /// Self-attention (`modulated-gan`, `resnet-gan`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention: Option<bool>,
    /// Spectral normalisation of the discriminator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spectral_norm: Option<bool>,
    /// The discriminator sees how much the pictures of a batch differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minibatch_std: Option<bool>,
}

/// What pictures are asked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// By what the data tells: labels of class folders, captions of a table, names of emoji; else nothing.
    #[default]
    Auto,
    /// Nothing.
    None,
    /// Labels.
    Label,
    /// The columns of `data.columns`.
    Numbers,
    /// Captions of a table, or the words of file paths.
    Text,
}

impl Asked {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Auto, Self::None, Self::Label, Self::Numbers, Self::Text];

    /// What `--condition` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Label => "label",
            Self::Numbers => "numbers",
            Self::Text => "text",
        }
    }
}

impl std::str::FromStr for Asked {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|asked| asked.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Config(format!("the condition `{name}` is not known; there are {names}"))
        })
    }
}

/// The pictures, and what is known of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSection {
    /// What pictures are asked by: `auto`, `none`, `label`, `numbers` or `text`.
    pub condition: Asked,
    /// `numbers`: columns of the table.
    pub columns: Vec<String>,
    /// `text`: the most words of a description.
    pub words: usize,
    /// `text`: a word is known if it occurs in so many descriptions.
    pub least: usize,
    /// `text`: part of the descriptions, with their pictures, set aside for `generate eval`.
    pub held_out: f64,
    /// `text`: words of a description that are left out at each step, by chance, so that a part of a description
    /// has a meaning.
    pub word_dropout: f64,
    /// `text`: descriptions whose words are put into another order at each step, by chance, so that `red dragon` means
    /// what `dragon/red` does.
    pub word_shuffle: f64,
    /// Pictures that make an epoch; the data's number, but at least 4096, when 0.
    pub epoch: usize,
    /// As many pictures of each label.
    pub balanced: bool,
    /// Half of the pictures mirrored, by chance.
    pub flip: bool,
    /// What to do with a picture that cannot be read.
    pub on_bad: OnBad,
    /// Decoded pictures are kept in memory up to this many megabytes.
    pub cache_mb: usize,
}

/// What both networks play for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossSection {
    /// `non-saturating`, `hinge`, `wasserstein` or `least-squares`.
    pub kind: Adversarial,
    /// Weight of the gradient penalty on real pictures (R1, Mescheder et al. 2018, eq. 9), 0: none.
    pub r1: f64,
    /// Steps between penalties, whose weight is multiplied by as much (Karras et al. 2020, "lazy regularisation").
    pub r1_every: u64,
    /// Weight of real pictures with another's condition, which the discriminator must refuse (Reed et al. 2016,
    /// section 4.2); for conditions of text and numbers.
    pub mismatch: f64,
    /// Weight of how much pictures of the same wish must differ, 0: none; against a generator that listens to the wish
    /// only (Yang et al. 2019, eq. 2).
    pub diversity: f64,
    /// Pictures that differ by more than this part of what their latent numbers differ by differ enough.
    pub diversity_bound: f64,
    /// The discriminator's learning rate over the generator's (two time-scales, Heusel et al. 2017).
    pub discriminator_rate: f64,
    /// The generator learns at one of so many steps.
    pub discriminator_steps: u64,
}

/// Changes to what the discriminator sees, real or made, that keep it from knowing few pictures by heart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentSection {
    /// `off`, `diff` (always, Zhao et al. 2020) or `adaptive` (as often as needed, Karras et al. 2020).
    pub kind: Augmentation,
    /// `adaptive`: the mean sign of the discriminator's verdict on real pictures to keep.
    pub target: f64,
    /// Brightness, saturation and contrast.
    pub colour: bool,
    /// Shifts by up to an eighth of the side.
    pub translation: bool,
    /// A square of half the side left out.
    pub cutout: bool,
}

/// When pictures are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augmentation {
    /// Never.
    #[default]
    Off,
    /// Always.
    Diff,
    /// As often as the discriminator's certainty demands.
    Adaptive,
}

/// When a run counts as collapsed or diverged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchSection {
    /// Steps between looks at the samples; 0: never.
    pub every: u64,
    /// Samples that differ by less than this part of what real pictures differ by count as collapsed.
    pub diversity: f64,
    /// A mean difference of verdicts on real and made pictures above this counts as lost by the generator.
    pub gap: f64,
    /// What each return to the last good state multiplies the learning rates by.
    pub slower: f64,
    /// Returns, at most; after them a run only warns.
    pub returns: u64,
}

impl Default for NetSection {
    fn default() -> Self {
        Self {
            name: GanKind::ModulatedGan,
            image_size: None,
            channels: None,
            latent: None,
            generator_width: None,
            discriminator_width: None,
            condition: None,
            attention: None,
            spectral_norm: None,
            minibatch_std: None,
        }
    }
}

impl Default for DataSection {
    fn default() -> Self {
        Self {
            condition: Asked::Auto,
            columns: Vec::new(),
            words: 12,
            least: 2,
            held_out: 0.1,
            word_dropout: 0.1,
            word_shuffle: 0.5,
            epoch: 0,
            balanced: true,
            flip: false,
            on_bad: OnBad::Error,
            cache_mb: 1024,
        }
    }
}

impl Default for LossSection {
    fn default() -> Self {
        Self {
            kind: Adversarial::Hinge,
            r1: 0.0,
            r1_every: 16,
            mismatch: 0.5,
            diversity: 0.0,
            diversity_bound: 0.15,
            discriminator_rate: 1.0,
            discriminator_steps: 1,
        }
    }
}

impl Default for AugmentSection {
    fn default() -> Self {
        Self { kind: Augmentation::Off, target: 0.6, colour: true, translation: true, cutout: true }
    }
}

impl Default for WatchSection {
    fn default() -> Self {
        Self { every: 100, diversity: 0.25, gap: 60.0, slower: 0.5, returns: 5 }
    }
}

/// Radford et al. 2016, section 4, and PyTorch's example.
const DCGAN: [(&str, &str); 9] = [
    ("loss.kind", "\"non-saturating\""),
    ("optimizer.kind", "adam"),
    ("optimizer.weight_decay", "0.0"),
    ("optimizer.lr", "2e-4"),
    ("optimizer.beta1", "0.5"),
    ("schedule.kind", "constant"),
    ("schedule.warmup_epochs", "0.0"),
    ("fit.batch_size", "64"),
    ("ema.decay", "0.999"),
];

/// Miyato and Koyama 2018; the rates of Zhang et al. 2019, in the proportion of Heusel et al. 2017.
const RESNET_GAN: [(&str, &str); 11] = [
    ("loss.kind", "\"hinge\""),
    ("loss.discriminator_rate", "2.0"),
    ("optimizer.kind", "adam"),
    ("optimizer.weight_decay", "0.0"),
    ("optimizer.lr", "2e-4"),
    ("optimizer.beta1", "0.0"),
    ("optimizer.beta2", "0.99"),
    ("schedule.kind", "constant"),
    ("schedule.warmup_epochs", "0.0"),
    ("fit.batch_size", "64"),
    ("ema.decay", "0.999"),
];

impl RunConfig for TrainConfig {
    const COMMAND: &'static str = "generate train";

    fn net(&self) -> Option<&str> {
        Some(self.net.name.name())
    }

    fn course(&self) -> Course<'_> {
        let Self { seed, optimizer, schedule, fit, .. } = self;
        Course { seed: *seed, optimizer, schedule, fit }
    }

    fn recipe(&self) -> &'static [(&'static str, &'static str)] {
        match self.net.name {
            GanKind::DenseGan | GanKind::Dcgan | GanKind::ModulatedGan => &DCGAN,
            GanKind::ResnetGan => &RESNET_GAN,
        }
    }

    fn validate(&self) -> Result<()> {
        let (data, loss, augment, watch) = (&self.data, &self.loss, &self.augment, &self.watch);
        let checks = [
            ("data.words", data.words as f64, 1.0, 256.0),
            ("data.least", data.least as f64, 1.0, 1e6),
            ("data.held_out", data.held_out, 0.0, 0.9),
            ("data.word_dropout", data.word_dropout, 0.0, 0.9),
            ("data.word_shuffle", data.word_shuffle, 0.0, 1.0),
            ("data.epoch", data.epoch as f64, 0.0, 1e8),
            ("loss.r1", loss.r1, 0.0, 1e6),
            ("loss.r1_every", loss.r1_every as f64, 1.0, 1e6),
            ("loss.mismatch", loss.mismatch, 0.0, 10.0),
            ("loss.diversity", loss.diversity, 0.0, 1e6),
            ("loss.diversity_bound", loss.diversity_bound, 0.0, 2.0),
            ("loss.discriminator_rate", loss.discriminator_rate, 1e-3, 1e3),
            ("loss.discriminator_steps", loss.discriminator_steps as f64, 1.0, 100.0),
            ("augment.target", augment.target, 0.0, 1.0),
            ("watch.diversity", watch.diversity, 0.0, 1.0),
            ("watch.gap", watch.gap, 0.0, 1e9),
            ("watch.slower", watch.slower, 0.01, 1.0),
        ];
        if let Some((name, value, least, most)) =
            checks.into_iter().find(|(_, value, least, most)| !(*least..=*most).contains(value))
        {
            return Err(Error::Config(format!("{name} is {value}; give {least} to {most}")));
        }
        if data.condition == Asked::Numbers && data.columns.is_empty() {
            return Err(Error::Config(
                "data.columns is empty; name the columns of the table to ask by, e.g. --columns width,angle"
                    .into(),
            ));
        }
        if self.fit.accumulate != 1 {
            return Err(Error::Config(
                "fit.accumulate: two networks take turns at each batch; leave it at 1".into(),
            ));
        }
        if self.fit.batch_size < 2 {
            return Err(Error::Config("fit.batch_size is 1; batch norm needs at least 2".into()));
        }
        self.optimizer.validate()?;
        self.ema.validate()?;
        self.fit.validate()
    }
}

impl NetSection {
    /// The networks, for pictures of this size and these channels, with or without a condition.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting that makes no sense.
    pub fn resolve(&self, side: u32, channels: usize, conditional: bool) -> Result<GanConfig> {
        let side = self.image_size.unwrap_or(side) as usize;
        let channels = self.channels.unwrap_or(channels);
        let usual = GanConfig::defaults(self.name, side, channels);
        let config = GanConfig {
            latent: self.latent.unwrap_or(usual.latent),
            generator_width: self.generator_width.unwrap_or(usual.generator_width),
            discriminator_width: self.discriminator_width.unwrap_or(usual.discriminator_width),
            condition: if conditional { self.condition.unwrap_or(usual.condition.max(64)) } else { 0 },
            attention: self.attention.unwrap_or(usual.attention),
            spectral_norm: self.spectral_norm.unwrap_or(usual.spectral_norm),
            minibatch_std: self.minibatch_std.unwrap_or(usual.minibatch_std),
            ..usual
        };
        config.validate()?;
        Ok(config)
    }
}
