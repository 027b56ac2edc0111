//! A tensor's values on the host, without a copy where the engine computes on the CPU anyway.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, TensorData};

/// Values to read.
pub(super) enum Values {
    /// The tensor's own memory.
    InPlace(FlexTensor),
    /// A copy, where the tensor is on another device or strided.
    Copied(Vec<f32>),
}

impl Values {
    /// The values of a tensor, row-major.
    pub(super) fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        let tensor = tensor.inner();
        match tensor.clone().try_into_primitive::<Flex>() {
            Ok(own) if own.as_slice::<f32>().is_some() => Self::InPlace(own),
            _ => Self::Copied(tensor.into_data().iter::<f32>().collect()),
        }
    }

    /// The values, row-major.
    pub(super) fn as_slice(&self) -> &[f32] {
        match self {
            Self::InPlace(tensor) => tensor.as_slice().unwrap_or_default(),
            Self::Copied(values) => values,
        }
    }

    /// The values, to own.
    pub(super) fn to_vec(&self) -> Vec<f32> {
        self.as_slice().to_vec()
    }
}

/// A parameter's tensor with its values changed, in place if nobody else holds them.
///
/// Device, autodiff and the wish for gradients stay as they are.
pub(super) fn change<const D: usize>(tensor: Tensor<D>, change: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let keep = Leaf::of(&tensor);
    let shape = tensor.dims();
    let tensor = tensor.inner();
    let device = tensor.device();
    let contiguous =
        |own: &FlexTensor| own.as_slice::<f32>().map(<[f32]>::len) == Some(own.storage::<f32>().len());
    let changed = match tensor.clone().try_into_primitive::<Flex>() {
        Ok(mut own) if contiguous(&own) => {
            drop(tensor);
            // Copies first if a clone of the tensor shares the memory.
            change(own.storage_mut());
            Tensor::from_primitive::<Flex>(own)
        }
        _ => {
            let mut values: Vec<f32> = tensor.into_data().iter::<f32>().collect();
            change(&mut values);
            Tensor::from_data(TensorData::new(values, shape), &device)
        }
    };
    keep.restore(changed)
}

/// A tensor with new values and everything else as it was.
pub(super) fn replace<const D: usize>(tensor: Tensor<D>, values: &[f32]) -> Tensor<D> {
    let keep = Leaf::of(&tensor);
    let device = tensor.device().without_autodiff();
    keep.restore(Tensor::from_data(TensorData::new(values.to_vec(), tensor.dims()), &device))
}

/// What autodiff knows of a parameter.
struct Leaf {
    require_grad: bool,
    autodiff: bool,
    checkpointing: Option<burn::tensor::GradientCheckpointingStrategy>,
}

impl Leaf {
    fn of<const D: usize>(tensor: &Tensor<D>) -> Self {
        Self {
            require_grad: tensor.is_require_grad(),
            autodiff: tensor.is_autodiff(),
            checkpointing: tensor.gradient_checkpointing_strategy(),
        }
    }

    fn restore<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        if !self.autodiff {
            return tensor;
        }
        let tensor = Tensor::from_inner(tensor);
        let tensor = match self.checkpointing {
            Some(strategy) => tensor.with_gradient_checkpointing_strategy(strategy),
            None => tensor,
        };
        tensor.set_require_grad(self.require_grad)
    }
}
