//! What fixes the layers of a pair of networks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Discriminator, Generator};
use crate::error::{Error, Result};
use crate::nets::init::Scope;

/// Bounds that keep a hostile card from asking for absurd memory.
const MAX_LATENT: usize = 4096;
const MAX_WIDTH: usize = 1024;
/// Weights of one layer.
const MAX_LAYER: usize = 1 << 27;
const SIDES: std::ops::RangeInclusive<usize> = 16..=128;
/// Sides of the smallest feature maps.
const SEEDS: std::ops::RangeInclusive<usize> = 4..=9;

/// The kinds of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GanKind {
    /// A generator of dense layers, a discriminator of convolutions.
    DenseGan,
    /// Radford, Metz and Chintala 2016.
    Dcgan,
    /// The generator of `ResnetGan`, whose norms are modulated by the latent numbers (Chen et al. 2019, "On Self
    /// Modulation for Generative Adversarial Networks"), against DCGAN's discriminator.
    ModulatedGan,
    /// Residual blocks: Miyato et al. 2018 ("SNGAN"), Brock et al. 2019 ("BigGAN").
    ResnetGan,
}

impl GanKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::DenseGan, Self::Dcgan, Self::ModulatedGan, Self::ResnetGan];

    /// What `--net` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DenseGan => "dense-gan",
            Self::Dcgan => "dcgan",
            Self::ModulatedGan => "modulated-gan",
            Self::ResnetGan => "resnet-gan",
        }
    }
}

impl fmt::Display for GanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for GanKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Config(format!("the network `{name}` is not known; there are {names}"))
        })
    }
}

/// Everything that fixes the layers of both networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GanConfig {
    /// The kind.
    pub name: GanKind,
    /// Width and height of the pictures: 16 to 128, a number from 4 to 9 doubled some times (16, 28, 32, 36, 64, …).
    pub image_size: usize,
    /// Channels of the pictures: 1 for grey, 3 for colour, 4 with alpha.
    pub channels: usize,
    /// Numbers that a picture is made from.
    pub latent: usize,
    /// Channels of the generator's last feature map.
    pub generator_width: usize,
    /// Channels of the discriminator's first feature map.
    pub discriminator_width: usize,
    /// Numbers of the condition's embedding; 0 for no condition.
    pub condition: usize,
    /// Self-attention where feature maps have 8 to 18 pixels a side (`modulated-gan`'s generator, `resnet-gan`).
    pub attention: bool,
    /// The discriminator's weights are divided by their largest singular value; DCGAN's loses its norms then.
    pub spectral_norm: bool,
    /// The discriminator sees how much the pictures of a batch differ.
    pub minibatch_std: bool,
}

impl GanConfig {
    /// The usual networks of a kind: the reference's, or what suits a CPU.
    pub fn defaults(name: GanKind, image_size: usize, channels: usize) -> Self {
        let (latent, generator_width, discriminator_width) = match name {
            GanKind::DenseGan => (100, 128, 64),
            GanKind::Dcgan => (100, 64, 64),
            GanKind::ModulatedGan => (100, 24, 64),
            GanKind::ResnetGan => (128, 32, 32),
        };
        Self {
            name,
            image_size,
            channels,
            latent,
            generator_width,
            discriminator_width,
            condition: 0,
            attention: false,
            spectral_norm: name == GanKind::ResnetGan,
            minibatch_std: false,
        }
    }

    /// Side of the smallest feature maps, and how often it is doubled.
    pub(super) fn seed(&self) -> (usize, usize) {
        let (mut side, mut doublings) = (self.image_size, 0);
        while side > 7 && side % 2 == 0 {
            side /= 2;
            doublings += 1;
        }
        (side, doublings)
    }

    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::Config(format!("{}: {what}", self.name)));
        if !SIDES.contains(&self.image_size) || !SEEDS.contains(&self.seed().0) {
            return refuse(format!(
                "image_size {}; give 16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 72, 80, 96, 112 or 128",
                self.image_size
            ));
        }
        if ![1, 3, 4].contains(&self.channels) {
            return refuse(format!(
                "{} channels; give 1 for grey, 3 for colour, 4 with alpha",
                self.channels
            ));
        }
        let checks = [
            ("latent", self.latent, 1, MAX_LATENT),
            ("generator_width", self.generator_width, 1, MAX_WIDTH),
            ("discriminator_width", self.discriminator_width, 1, MAX_WIDTH),
            ("condition", self.condition, 0, MAX_LATENT),
        ];
        if let Some((name, value, least, most)) =
            checks.into_iter().find(|(_, value, least, most)| !(least..=most).contains(&value))
        {
            return refuse(format!("{name} {value}; give {least} to {most}"));
        }
        let deepest = self.generator_width.max(self.discriminator_width) << self.seed().1.min(3);
        let first = (self.latent + self.condition).saturating_mul(deepest * self.seed().0.pow(2));
        if first.max(deepest * deepest * 16) > MAX_LAYER {
            return refuse("a layer would have more than 134 million weights; lower the widths".into());
        }
        Ok(())
    }

    /// The generator at this place.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn generator(&self, scope: &Scope) -> Result<Generator> {
        self.validate()?;
        Ok(Generator::new(self, scope))
    }

    /// The discriminator at this place.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn discriminator(&self, scope: &Scope) -> Result<Discriminator> {
        self.validate()?;
        Ok(Discriminator::new(self, scope))
    }

    /// Channels at each resolution, from the pictures' own downwards: doubled each time, up to eight times.
    pub(super) fn widths(&self, first: usize) -> Vec<usize> {
        (0..=self.seed().1).map(|depth| first << depth.min(3)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_small_numbers_doubled() {
        let config = |side| GanConfig::defaults(GanKind::Dcgan, side, 3);
        let seeds: Vec<_> = [16, 28, 32, 36, 48, 72, 80, 128].map(|side| config(side).seed()).into();
        assert_eq!(seeds, [(4, 2), (7, 2), (4, 3), (9, 2), (6, 3), (9, 3), (5, 4), (4, 5)]);
        for side in [0, 8, 15, 17, 30, 44, 129, 256, usize::MAX] {
            assert!(config(side).validate().is_err(), "{side}");
        }
        assert!("dcgann".parse::<GanKind>().is_err_and(|e| e.to_string().contains("resnet-gan")));
        for kind in GanKind::ALL {
            assert_eq!(kind.name().parse::<GanKind>().ok(), Some(kind));
            assert!(GanConfig { latent: usize::MAX, ..GanConfig::defaults(kind, 32, 3) }.validate().is_err());
        }
    }
}
