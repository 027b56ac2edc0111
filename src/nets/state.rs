//! A module's tensors by name: reading them out, putting them back, counting them.
//!
//! Works on any module, so that every job uses it. A name is the path of fields and list indices to a tensor,
//! such as `layer1.0.bn1.running_mean`.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use crate::tensors::{HostTensor, TensorMap};
use crate::{Error, Result};

/// A tensor's values in main memory, row by row.
pub fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    // Every float tensor of this program is f32, for which the conversion cannot fail.
    tensor.into_data().try_to_vec().unwrap_or_default()
}

/// Every tensor of the module, running statistics included.
pub fn to_map<M: Module>(module: &M) -> TensorMap {
    let mut reader = Reader { path: Path::default(), map: TensorMap::new() };
    module.visit(&mut reader);
    reader.map
}

/// The module with every tensor replaced by the map's.
///
/// # Errors
/// [`Error::ModelFile`] listing all names that are missing, unexpected or of another shape.
pub fn load_map<M: Module>(module: M, map: &TensorMap) -> Result<M> {
    let differences = differences(&module, map);
    if differences.is_empty() { Ok(replace(module, map)) } else { Err(differences_error(&differences)) }
}

/// What a partial load did.
#[derive(Debug)]
pub struct PartialLoad<M> {
    /// The module after it.
    pub module: M,
    /// Names taken from the map.
    pub taken: Vec<String>,
    /// Everything that was not: the module's tensors that kept their value, and the map's that had no place.
    pub left: Vec<Difference>,
}

/// The module with every tensor replaced for which the map has one of the same name and shape.
pub fn load_partial<M: Module>(module: M, map: &TensorMap) -> PartialLoad<M> {
    let left = differences(&module, map);
    let mut taken = Vec::new();
    visit_shapes(&module, |name, shape| {
        if map.get(name).is_some_and(|tensor| tensor.shape == shape) {
            taken.push(name.to_string());
        }
    });
    PartialLoad { module: replace(module, map), taken, left }
}

/// The module with all tensors of a file, `from`, that fit, and what there is to say about it: what was taken, then, one
/// note each, what was left.
///
/// # Errors
/// [`Error::ModelFile`] if nothing fits; `needs` says what would.
pub fn take_over<M: Module>(
    module: M,
    map: &TensorMap,
    from: &std::path::Path,
    needs: &str,
) -> Result<(M, Vec<String>)> {
    let partial = load_partial(module, map);
    let from = from.display();
    if partial.taken.is_empty() {
        return Err(Error::ModelFile(format!(
            "{from} has no tensor that fits this network; --init-from needs {needs}"
        )));
    }
    let mut notes = vec![format!("took {} tensors from {from}", partial.taken.len())];
    notes.extend(partial.left.iter().map(|left| format!("left out: {left}")));
    Ok((partial.module, notes))
}

/// How a module and a map disagree about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The module has it, the map does not.
    Missing(String),
    /// The map has it, the module does not.
    Unexpected(String),
    /// Both have it.
    Shape {
        /// The tensor.
        name: String,
        /// The module's.
        expected: Vec<usize>,
        /// The map's.
        found: Vec<usize>,
    },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(name) => write!(formatter, "`{name}` is missing"),
            Self::Unexpected(name) => write!(formatter, "`{name}` is not part of this network"),
            Self::Shape { name, expected, found } => {
                write!(formatter, "`{name}` has shape {found:?}, not {expected:?}")
            }
        }
    }
}

/// All disagreements of names and shapes.
pub fn differences<M: Module>(module: &M, map: &TensorMap) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    visit_shapes(module, |name, shape| {
        known.insert(name.to_string());
        match map.get(name) {
            None => found.push(Difference::Missing(name.into())),
            Some(tensor) if tensor.shape != shape => found.push(Difference::Shape {
                name: name.into(),
                expected: shape.to_vec(),
                found: tensor.shape.clone(),
            }),
            Some(_) => {}
        }
    });
    found.extend(map.keys().filter(|name| !known.contains(*name)).cloned().map(Difference::Unexpected));
    found
}

const SHOWN: usize = 10;

fn differences_error(differences: &[Difference]) -> Error {
    let mut lines: Vec<String> = differences.iter().take(SHOWN).map(ToString::to_string).collect();
    if differences.len() > SHOWN {
        lines.push(format!("and {} more", differences.len() - SHOWN));
    }
    Error::ModelFile(format!(
        "the weights do not fit the network ({} differences): {}. Check that the network, its number of classes \
         and its input channels are those the weights were made with",
        differences.len(),
        lines.join("; ")
    ))
}

/// Number of trained values: everything but running statistics.
pub fn parameter_count<M: Module>(module: &M) -> usize {
    let mut count = 0;
    visit_shapes(module, |name, shape| {
        if !is_buffer(name) {
            count += shape.iter().product::<usize>();
        }
    });
    count
}

/// Calls with the name and shape of each trained parameter, in the order of the fields.
pub fn visit_parameters<M: Module>(module: &M, mut visit: impl FnMut(&str, &[usize])) {
    visit_shapes(module, |name, shape| {
        if !is_buffer(name) {
            visit(name, shape);
        }
    });
}

/// Whether the name is a running statistic, which no optimiser touches: by convention, and only those, their
/// last part begins with `running_`.
pub fn is_buffer(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|last| last.starts_with("running_"))
}

/// Whether weight decay leaves the parameter alone: norms' and biases' vectors.
pub fn is_no_decay(name: &str, shape: &[usize]) -> bool {
    shape.len() <= 1 || name.rsplit('.').next() == Some("bias")
}

fn visit_shapes<M: Module>(module: &M, visit: impl FnMut(&str, &[usize])) {
    module.visit(&mut Shapes { path: Path::default(), visit });
}

fn replace<M: Module>(module: M, map: &TensorMap) -> M {
    module.map(&mut Writer { path: Path::default(), map })
}

/// The way from the root to where a visitor is.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn name(&self) -> String {
        self.0.join(".")
    }
}

struct Shapes<F> {
    path: Path,
    visit: F,
}

impl<F: FnMut(&str, &[usize])> ModuleVisitor for Shapes<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.0.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.0.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        (self.visit)(&self.path.name(), &param.lazy_shape().to_vec());
    }
}

struct Reader {
    path: Path,
    map: TensorMap,
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.0.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.0.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.base();
        let shape = value.dims().to_vec();
        let data = value.into_data().iter::<f32>().collect();
        self.map.insert(self.path.name(), HostTensor { shape, data });
    }
}

struct Writer<'a> {
    path: Path,
    map: &'a TensorMap,
}

impl ModuleMapper for Writer<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.0.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.map.get(&self.path.name()) {
            Some(tensor) if tensor.shape == param.lazy_shape().to_vec() => param.map(|old| {
                let data = TensorData::new(tensor.data.clone(), old.dims());
                let require_grad = old.is_require_grad();
                Tensor::from_data(data, &old.device()).set_require_grad(require_grad)
            }),
            _ => param,
        }
    }
}
