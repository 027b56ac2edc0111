//! Which network, for which pictures: the part of a model's card that `nets` owns.

use std::str::FromStr;

use burn::tensor::Device;
use opticus_pixels::geometry::Size;
use serde::{Deserialize, Serialize};

use super::backbone::cifar_resnet::CifarResnet;
use super::backbone::inception_v3::{self, InceptionV3};
use super::backbone::mobilenet_v3::MobilenetV3;
use super::backbone::resnet::Resnet;
use super::backbone::simple_cnn::{self, SimpleCnn};
use super::backbone::small_cnn::{self, SmallCnn};
use super::backbone::squeezenet::{self, Squeezenet};
use super::backbone::vgg::{self, Vgg};
use super::init::Scope;
use super::net::Net;
use super::state;
use crate::tensors::TensorMap;
use crate::{Error, Result};

/// Everything that fixes a network's layers. Two equal configurations have equal parameter names and shapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetConfig {
    /// The architecture.
    pub name: NetKind,
    /// Number of logits.
    pub classes: usize,
    /// Channels of the pictures: 3 for colour, 1 for grey.
    #[serde(default = "colour")]
    pub in_channels: usize,
    /// Size of the pictures. Binding for `simple-cnn`, whose dense layer depends on it; elsewhere, what the
    /// network was trained on.
    pub input: Size,
    /// How the residual networks begin.
    #[serde(default, skip_serializing_if = "Stem::is_standard")]
    pub stem: Stem,
    /// Replaces the architecture's own dropout before the classifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Zeros around the input of `squeezenet1_0`'s last convolution: 1 as its authors trained it in Caffe, 0 as
    /// torchvision defines it. Changes no parameter's shape, but the logits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub classifier_padding: usize,
    /// Pools of `inception_v3` as in the weights that the Fréchet distance is defined by, which come from TensorFlow:
    /// means leave out what lies beyond the edge, and the last block takes the greatest. Changes no parameter's
    /// shape, but the features.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fid_pools: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

fn colour() -> usize {
    3
}

/// How `resnet18` to `resnet101` begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// A 7×7 convolution of stride 2 and a max-pool of stride 2, for pictures of about 224 pixels.
    #[default]
    Standard,
    /// A 3×3 convolution of stride 1, for pictures of about 32 to 64 pixels.
    Small,
}

impl Stem {
    fn is_standard(&self) -> bool {
        *self == Self::Standard
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// The architectures, by the name a user types.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum NetKind {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl NetKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name a user types.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

kinds! {
    /// Three convolutions and two dense layers: the Keras tutorial's network.
    SimpleCnn = "simple-cnn",
    /// Six convolutions with batch normalisation, for small pictures on small machines.
    SmallCnn = "small-cnn",
    /// He et al. (2016), basic blocks.
    Resnet18 = "resnet18",
    /// He et al. (2016), basic blocks.
    Resnet34 = "resnet34",
    /// He et al. (2016), bottleneck blocks with the stride on the 3×3 convolution.
    Resnet50 = "resnet50",
    /// He et al. (2016), bottleneck blocks with the stride on the 3×3 convolution.
    Resnet101 = "resnet101",
    /// He et al. (2016) for CIFAR: 16, 32 and 64 channels, 20 layers.
    Resnet20 = "resnet20",
    /// He et al. (2016) for CIFAR: 16, 32 and 64 channels, 56 layers.
    Resnet56 = "resnet56",
    /// Simonyan and Zisserman (2015), configuration D.
    Vgg16 = "vgg16",
    /// The same with batch normalisation.
    Vgg16Bn = "vgg16_bn",
    /// Iandola et al. (2016).
    Squeezenet1_0 = "squeezenet1_0",
    /// Howard et al. (2019).
    MobilenetV3Small = "mobilenet_v3_small",
    /// Howard et al. (2019).
    MobilenetV3Large = "mobilenet_v3_large",
    /// Szegedy et al. (2016).
    InceptionV3 = "inception_v3",
}

impl std::fmt::Display for NetKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for NetKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            Error::Config(format!("there is no network called `{name}`. Choose one of {}", names.join(", ")))
        })
    }
}

/// Bounds that keep a hostile card from asking for absurd memory.
const MAX_CLASSES: usize = 100_000;
const MAX_CHANNELS: usize = 64;
const MAX_SIDE: u32 = 8192;

impl NetConfig {
    /// This architecture with its usual options.
    pub fn new(name: NetKind, classes: usize, in_channels: usize, input: Size) -> Self {
        Self {
            name,
            classes,
            in_channels,
            input,
            stem: Stem::Standard,
            dropout: None,
            classifier_padding: 0,
            fid_pools: false,
        }
    }

    /// Checks that the network can be built and run on its input.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting, or the layer the picture becomes too small at.
    pub fn validate(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::Config(format!("{}: {what}", self.name)));
        if !(1..=MAX_CLASSES).contains(&self.classes) {
            return refuse(format!("{} classes; give 1 to {MAX_CLASSES}", self.classes));
        }
        if !(1..=MAX_CHANNELS).contains(&self.in_channels) {
            return refuse(format!("{} input channels; give 1 to {MAX_CHANNELS}", self.in_channels));
        }
        let Size { width, height } = self.input;
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return refuse(format!("an input of {width}x{height}; give 1 to {MAX_SIDE} pixels a side"));
        }
        if let Some(dropout) = self.dropout.filter(|dropout| !(0.0..1.0).contains(dropout)) {
            return refuse(format!("dropout {dropout}; give at least 0 and less than 1"));
        }
        if self.stem != Stem::Standard && !self.name.is_resnet() {
            return refuse("the small stem belongs to resnet18 to resnet101".into());
        }
        if self.classifier_padding > 1 || (self.classifier_padding > 0 && self.name != NetKind::Squeezenet1_0)
        {
            return refuse("classifier_padding is 0, or 1 for squeezenet1_0".into());
        }
        if self.fid_pools && self.name != NetKind::InceptionV3 {
            return refuse("fid_pools belongs to inception_v3".into());
        }
        self.check_input().or_else(refuse)
    }

    fn check_input(&self) -> Result<(), String> {
        let at_least = |side: u32, layer: &str| {
            let Size { width, height } = self.input;
            let what =
                format!("an input of {width}x{height} is too small for {layer}. Use at least {side}x{side}");
            if width.min(height) < side { Err(what) } else { Ok(()) }
        };
        match self.name {
            NetKind::SimpleCnn => simple_cnn::flattened(self).map(drop),
            NetKind::SmallCnn => at_least(small_cnn::MIN_SIDE, "the max-pool of blocks.4"),
            NetKind::Vgg16 | NetKind::Vgg16Bn => at_least(vgg::MIN_SIDE, "the fifth max-pool"),
            NetKind::Squeezenet1_0 => at_least(squeezenet::MIN_SIDE, "the max-pool features.11"),
            NetKind::InceptionV3 => at_least(inception_v3::MIN_SIDE, "the block Mixed_7a"),
            // Padded throughout: any picture leaves at least one position.
            NetKind::Resnet18
            | NetKind::Resnet34
            | NetKind::Resnet50
            | NetKind::Resnet101
            | NetKind::Resnet20
            | NetKind::Resnet56
            | NetKind::MobilenetV3Small
            | NetKind::MobilenetV3Large => Ok(()),
        }
    }

    /// Channels, height and width of a picture.
    pub fn picture(&self) -> [usize; 3] {
        [self.in_channels, self.input.height as usize, self.input.width as usize]
    }

    /// The network with initial weights that depend on the seed only, on this device.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn init(&self, seed: u64, device: &Device) -> Result<Net> {
        self.build(&Scope::seeded(seed, device))
    }

    /// The network with these weights, on this device.
    ///
    /// # Errors
    /// As [`Self::validate`] and [`state::load_map`].
    pub fn load(&self, weights: &TensorMap, device: &Device) -> Result<Net> {
        state::load_map(self.blank(device)?, weights)
    }

    /// The network with all parameters zero, for weights that come later.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn blank(&self, device: &Device) -> Result<Net> {
        self.build(&Scope::blank(device))
    }

    fn build(&self, scope: &Scope) -> Result<Net> {
        self.validate()?;
        Ok(match self.name {
            NetKind::SimpleCnn => {
                let flattened = simple_cnn::flattened(self).map_err(Error::Config)?;
                Net::SimpleCnn(SimpleCnn::new(scope, self, flattened))
            }
            NetKind::SmallCnn => Net::SmallCnn(SmallCnn::new(scope, self)),
            NetKind::Resnet18 | NetKind::Resnet34 | NetKind::Resnet50 | NetKind::Resnet101 => {
                Net::Resnet(Resnet::of_kind(scope, self))
            }
            NetKind::Resnet20 => Net::CifarResnet(CifarResnet::new(scope, self, 3)),
            NetKind::Resnet56 => Net::CifarResnet(CifarResnet::new(scope, self, 9)),
            NetKind::Vgg16 => Net::Vgg(Vgg::new(scope, self, vgg::Norm::None)),
            NetKind::Vgg16Bn => Net::Vgg(Vgg::new(scope, self, vgg::Norm::Batch)),
            NetKind::Squeezenet1_0 => Net::Squeezenet(Squeezenet::new(scope, self)),
            NetKind::MobilenetV3Small => Net::MobilenetV3(MobilenetV3::small(scope, self)),
            NetKind::MobilenetV3Large => Net::MobilenetV3(MobilenetV3::large(scope, self)),
            NetKind::InceptionV3 => Net::InceptionV3(InceptionV3::new(scope, self)),
        })
    }
}

impl NetKind {
    /// Whether it is one of torchvision's residual networks, which have a choice of stems.
    pub const fn is_resnet(self) -> bool {
        matches!(self, Self::Resnet18 | Self::Resnet34 | Self::Resnet50 | Self::Resnet101)
    }

    /// Name of the last layer's weights, whose first extent is the number of classes.
    pub const fn classifier(self) -> &'static str {
        match self {
            Self::SimpleCnn => "dense2.weight",
            Self::SmallCnn
            | Self::Resnet18
            | Self::Resnet34
            | Self::Resnet50
            | Self::Resnet101
            | Self::InceptionV3 => "fc.weight",
            Self::Resnet20 | Self::Resnet56 => "linear.weight",
            Self::Vgg16 | Self::Vgg16Bn => "classifier.6.weight",
            Self::Squeezenet1_0 => "classifier.1.weight",
            Self::MobilenetV3Small | Self::MobilenetV3Large => "classifier.3.weight",
        }
    }
}
