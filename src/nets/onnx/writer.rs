//! ONNX operations, one typed method an operation.
//!
//! Values know their shape without the batch, so that what depends on the picture's size (adaptive pooling, say) is
//! resolved while writing and the file holds plain operations only.

use std::collections::{BTreeSet, HashMap};

use burn::module::{Param, ParamId};
use burn::tensor::Tensor;

use super::super::graph::{Norm, Window};
use super::proto::{Attribute, DataType, Dimension, Header, Message, Node, model, tensor, value_info};

/// A tensor that flows through the graph: its name, and its shape for one picture (`[C, H, W]` or `[features]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    name: String,
    shape: Vec<usize>,
}

impl Named {
    /// The shape for one picture, without the batch.
    #[cfg(test)]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Channels, height and width; what is missing counts as 1.
    fn map(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.shape.get(axis).copied().unwrap_or(1))
    }
}

fn attributes(window: &Window) -> Vec<(&'static str, Attribute)> {
    let [ph, pw] = window.padding;
    vec![
        ("kernel_shape", ints(&window.kernel)),
        ("strides", ints(&window.stride)),
        ("pads", ints(&[ph, pw, ph, pw])),
    ]
}

fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|&v| v as i64).collect())
}

/// An ONNX graph under construction.
#[derive(Debug)]
pub(super) struct Writer {
    /// The state-dict name of each parameter of the network.
    names: HashMap<ParamId, String>,
    input: Named,
    nodes: Vec<Node>,
    constants: Vec<Message>,
    /// Names in use, as ONNX wants each once.
    taken: BTreeSet<String>,
}

/// The name of the picture input.
const INPUT: &str = "input";

impl Writer {
    /// A graph whose input is a batch of pictures of `[channels, height, width]`. `names` gives each parameter its
    /// name in the file; one without gets a name by its role.
    pub fn new(input: [usize; 3], names: HashMap<ParamId, String>) -> Self {
        let input = Named { name: INPUT.to_owned(), shape: input.to_vec() };
        let taken = BTreeSet::from([INPUT.to_owned()]);
        Self { names, input, nodes: Vec::new(), constants: Vec::new(), taken }
    }

    /// The batch of pictures.
    pub fn input(&self) -> Named {
        self.input.clone()
    }

    /// A name not in use: `wanted`, or `wanted_2`, `wanted_3`…
    fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut copies = 1;
        while !self.taken.insert(name.clone()) {
            copies += 1;
            name = format!("{wanted}_{copies}");
        }
        name
    }

    /// Stores a constant of floats and returns its name.
    fn floats<const D: usize>(&mut self, name: &str, values: Tensor<D>) -> String {
        let shape = values.dims();
        self.matrix(name, &shape, values.into_data().iter::<f32>())
    }

    /// Stores numbers in row-major order and returns their name.
    fn matrix(&mut self, name: &str, shape: &[usize], values: impl Iterator<Item = f32>) -> String {
        let name = self.fresh(name);
        let raw = values.flat_map(f32::to_le_bytes).collect();
        self.constants.push(tensor(&name, DataType::Float, shape, raw));
        name
    }

    /// Stores a constant list of whole numbers and returns its name.
    fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let name = self.fresh(name);
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constants.push(tensor(&name, DataType::Int64, &[values.len()], raw));
        name
    }

    /// Stores a parameter under its state-dict name and returns that name.
    fn parameter<const D: usize>(&mut self, role: &str, parameter: &Param<Tensor<D>>) -> String {
        let name = self.names.get(&parameter.id).cloned().unwrap_or_else(|| role.to_owned());
        self.floats(&name, parameter.val())
    }

    /// Adds an operation. It is named after the layer that its first constant belongs to, else after its kind.
    fn node(
        &mut self,
        kind: &'static str,
        inputs: Vec<String>,
        attributes: Vec<(&'static str, Attribute)>,
        shape: Vec<usize>,
    ) -> Named {
        let layer = inputs.get(1).and_then(|name| name.strip_suffix(".weight"));
        let name = self.fresh(&layer.map_or_else(|| kind.to_lowercase(), |layer| layer.to_owned()));
        self.nodes.push(Node { name: name.clone(), kind, inputs, output: name.clone(), attributes });
        Named { name, shape }
    }

    fn unary(&mut self, kind: &'static str, x: &Named, attributes: Vec<(&'static str, Attribute)>) -> Named {
        self.node(kind, vec![x.name.clone()], attributes, x.shape.clone())
    }

    /// Convolution with weights `[out, in / groups, kernel_h, kernel_w]`.
    pub fn conv(
        &mut self,
        x: &Named,
        weight: &Param<Tensor<4>>,
        bias: Option<&Param<Tensor<1>>>,
        window: Window,
        groups: usize,
    ) -> Named {
        let [out, _, _, _] = weight.lazy_shape().dims();
        let [_, h, w] = x.map();
        let mut inputs = vec![x.name.clone(), self.parameter("conv.weight", weight)];
        inputs.extend(bias.map(|bias| self.parameter("conv.bias", bias)));
        let mut attributes = attributes(&window);
        attributes.push(("dilations", ints(&window.dilation)));
        attributes.push(("group", Attribute::Int(groups as i64)));
        self.node("Conv", inputs, attributes, vec![out, window.output(0, h), window.output(1, w)])
    }

    /// Fully connected layer with weights `[out, in]`, as PyTorch keeps them.
    pub fn linear(&mut self, x: &Named, weight: &Param<Tensor<2>>, bias: Option<&Param<Tensor<1>>>) -> Named {
        let [out, _] = weight.lazy_shape().dims();
        let mut inputs = vec![x.name.clone(), self.parameter("linear.weight", weight)];
        inputs.extend(bias.map(|bias| self.parameter("linear.bias", bias)));
        self.node("Gemm", inputs, vec![("transB", Attribute::Int(1))], vec![out])
    }

    /// Batch normalisation with the running statistics.
    pub fn batch_norm(&mut self, x: &Named, norm: &Norm) -> Named {
        let weight = self.parameter("norm.weight", &norm.weight);
        let bias = self.parameter("norm.bias", &norm.bias);
        let layer = weight.trim_end_matches(".weight").to_owned();
        let mean = self.floats(&format!("{layer}.running_mean"), norm.running_mean.clone());
        let variance = self.floats(&format!("{layer}.running_var"), norm.running_var.clone());
        let attributes = vec![("epsilon", Attribute::Float(norm.epsilon as f32))];
        let inputs = vec![x.name.clone(), weight, bias, mean, variance];
        self.node("BatchNormalization", inputs, attributes, x.shape.clone())
    }

    /// max(x, 0).
    pub fn relu(&mut self, x: &Named) -> Named {
        self.unary("Relu", x, Vec::new())
    }

    /// min(max(x, 0), 6).
    pub fn relu6(&mut self, x: &Named) -> Named {
        let bounds = [0.0f32, 6.0].map(|bound| self.matrix("bound", &[], std::iter::once(bound)));
        let inputs = std::iter::once(x.name.clone()).chain(bounds).collect();
        self.node("Clip", inputs, Vec::new(), x.shape.clone())
    }

    /// Each position's values over all channels divided by their length, times a scale for each channel.
    pub fn normalize(&mut self, x: &Named, scale: &Param<Tensor<1>>) -> Named {
        let attributes = vec![("axis", Attribute::Int(1)), ("p", Attribute::Int(2))];
        let unit = self.unary("LpNormalization", x, attributes);
        let [channels, ..] = x.map();
        let values = scale.val().into_data();
        let scale = self.matrix("scale", &[channels, 1, 1], values.iter::<f32>());
        self.node("Mul", vec![unit.name, scale], Vec::new(), x.shape.clone())
    }

    /// x · relu6(x + 3) / 6.
    pub fn hard_swish(&mut self, x: &Named) -> Named {
        self.unary("HardSwish", x, Vec::new())
    }

    /// relu6(x + 3) / 6, PyTorch's slope of 1/6 (ONNX's default is 1/5).
    pub fn hard_sigmoid(&mut self, x: &Named) -> Named {
        let slope = vec![("alpha", Attribute::Float(1.0 / 6.0)), ("beta", Attribute::Float(0.5))];
        self.unary("HardSigmoid", x, slope)
    }

    /// Probabilities over the last axis.
    pub fn softmax(&mut self, x: &Named) -> Named {
        self.unary("Softmax", x, vec![("axis", Attribute::Int(-1))])
    }

    /// The greatest value in each window.
    pub fn max_pool(&mut self, x: &Named, window: Window) -> Named {
        let mut attributes = attributes(&window);
        attributes.push(("dilations", ints(&window.dilation)));
        attributes.push(("ceil_mode", Attribute::Int(i64::from(window.ceil))));
        let [c, h, w] = x.map();
        let shape = vec![c, window.output(0, h), window.output(1, w)];
        self.node("MaxPool", vec![x.name.clone()], attributes, shape)
    }

    /// The mean of each window; padding counts as zeros when `count_padding`, as PyTorch does by default.
    pub fn average_pool(&mut self, x: &Named, window: Window, count_padding: bool) -> Named {
        let mut attributes = attributes(&window);
        attributes.push(("ceil_mode", Attribute::Int(i64::from(window.ceil))));
        attributes.push(("count_include_pad", Attribute::Int(i64::from(count_padding))));
        let [c, h, w] = x.map();
        let shape = vec![c, window.output(0, h), window.output(1, w)];
        self.node("AveragePool", vec![x.name.clone()], attributes, shape)
    }

    /// The mean of each channel: `[C, H, W]` to `[C, 1, 1]`.
    pub fn global_average_pool(&mut self, x: &Named) -> Named {
        let [c, ..] = x.map();
        self.node("GlobalAveragePool", vec![x.name.clone()], Vec::new(), vec![c, 1, 1])
    }

    /// Pooling to a fixed `[height, width]`, which ONNX lacks: nothing when the map has that size, a plain pooling
    /// when it divides evenly, else a product with a matrix of means along each axis (pooling is linear).
    pub fn adaptive_average_pool(&mut self, x: &Named, size: [usize; 2]) -> Named {
        let [c, h, w] = x.map();
        let [oh, ow] = size;
        if size == [1, 1] {
            return self.global_average_pool(x);
        }
        if size == [h, w] {
            return x.clone();
        }
        if h % oh == 0 && w % ow == 0 {
            let window = [h / oh, w / ow];
            return self.average_pool(x, Window::new(window, window), false);
        }
        let columns = self.matrix("pool.columns", &[w, ow], transposed(&means(w, ow), w));
        let narrow = self.node("MatMul", vec![x.name.clone(), columns], Vec::new(), vec![c, h, ow]);
        let rows = self.matrix("pool.rows", &[oh, h], means(h, oh).into_iter());
        self.node("MatMul", vec![rows, narrow.name], Vec::new(), vec![c, oh, ow])
    }

    /// `[C, H, W]` to `[C · H · W]`, in that order.
    pub fn flatten(&mut self, x: &Named) -> Named {
        let shape = vec![x.shape.iter().product()];
        self.node("Flatten", vec![x.name.clone()], vec![("axis", Attribute::Int(1))], shape)
    }

    /// Sum of two values of one shape.
    pub fn add(&mut self, a: &Named, b: &Named) -> Named {
        self.node("Add", vec![a.name.clone(), b.name.clone()], Vec::new(), a.shape.clone())
    }

    /// Product; `b` may have a height and width of 1 and is then spread over `a`'s.
    pub fn mul(&mut self, a: &Named, b: &Named) -> Named {
        self.node("Mul", vec![a.name.clone(), b.name.clone()], Vec::new(), a.shape.clone())
    }

    /// Maps one after another along the channels.
    pub fn concat(&mut self, values: &[&Named]) -> Named {
        let mut shape = values.first().map_or_else(Vec::new, |first| first.shape.clone());
        if let Some(channels) = shape.first_mut() {
            *channels = values.iter().map(|value| value.map()[0]).sum();
        }
        let inputs = values.iter().map(|value| value.name.clone()).collect();
        self.node("Concat", inputs, vec![("axis", Attribute::Int(1))], shape)
    }

    /// Every `step[0]`-th row and every `step[1]`-th column, from the first on.
    pub fn every(&mut self, x: &Named, step: [usize; 2]) -> Named {
        let [c, h, w] = x.map();
        let starts = self.integers("slice.starts", &[0, 0]);
        let ends = self.integers("slice.ends", &[h as i64, w as i64]);
        let axes = self.integers("slice.axes", &[2, 3]);
        let steps = self.integers("slice.steps", &step.map(|s| s as i64));
        let shape = vec![c, h.div_ceil(step[0]), w.div_ceil(step[1])];
        self.node("Slice", vec![x.name.clone(), starts, ends, axes, steps], Vec::new(), shape)
    }

    /// The map at the height and width of `like`: row `y` of `n` from row `⌊y · rows / n⌋`, columns alike. Picked by
    /// number, as resizing rounds differently from one runtime to the next.
    pub fn nearest(&mut self, x: &Named, like: &Named) -> Named {
        let ([c, h, w], [_, height, width]) = (x.map(), like.map());
        let mut picked = x.clone();
        for (axis, from, to, shape) in
            [(2, h, height, vec![c, height, w]), (3, w, width, vec![c, height, width])]
        {
            let numbers: Vec<i64> = (0..to).map(|i| (i * from / to) as i64).collect();
            let numbers = self.integers("nearest.numbers", &numbers);
            let axis = vec![("axis", Attribute::Int(axis))];
            picked = self.node("Gather", vec![picked.name, numbers], axis, shape);
        }
        picked
    }

    /// Channels of zeros before and after the map's own.
    pub fn pad_channels(&mut self, x: &Named, before: usize, after: usize) -> Named {
        let [c, h, w] = x.map();
        let pads = self.integers("pad.sizes", &[0, before as i64, 0, 0, 0, after as i64, 0, 0]);
        let mode = vec![("mode", Attribute::Text("constant"))];
        self.node("Pad", vec![x.name.clone(), pads], mode, vec![before + c + after, h, w])
    }

    /// Closes the graph: `outputs` are `(name in the file, value)`.
    pub(super) fn finish(mut self, outputs: &[(&str, Named)], header: &Header) -> Vec<u8> {
        let batch = |shape: &[usize]| -> Vec<Dimension> {
            let fixed = shape.iter().map(|&n| Dimension::Fixed(n));
            std::iter::once(Dimension::Named("batch")).chain(fixed).collect()
        };
        let declared: Vec<Message> =
            outputs.iter().map(|(name, value)| value_info(name, &batch(&value.shape))).collect();
        // An output keeps its role's name; everyone who reads it follows.
        for (name, value) in outputs {
            let places =
                self.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut().chain([&mut node.output]));
            for place in places.filter(|place| **place == value.name) {
                *place = (*name).to_owned();
            }
        }
        let graph = Message::default()
            .each(1, &self.nodes, |m, field, node| m.message(field, node.message()))
            .text(2, header.graph_name)
            .each(5, self.constants, Message::message)
            .message(11, value_info(&self.input.name, &batch(&self.input.shape)))
            .each(12, declared, Message::message);
        model(header, graph).into_bytes()
    }
}

/// Row `o` holds the weight of each of `input` places in the mean of bin `o`, with PyTorch's adaptive bins
/// `floor(o · in / out) .. ceil((o + 1) · in / out)`.
fn means(input: usize, output: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; output * input];
    for o in 0..output {
        let bin = o * input / output..((o + 1) * input).div_ceil(output);
        let weight = 1.0 / bin.len() as f32;
        for i in bin {
            matrix[o * input + i] = weight;
        }
    }
    matrix
}

/// The transpose of a matrix of `columns` columns.
fn transposed(matrix: &[f32], columns: usize) -> impl Iterator<Item = f32> {
    (0..columns).flat_map(move |column| matrix.iter().skip(column).step_by(columns).copied())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use burn::tensor::module::{adaptive_avg_pool2d, avg_pool2d};
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn windows_follow_pytorchs_rule_for_the_last_one() {
        let window = |kernel: usize, stride: usize, padding: usize, ceil| Window {
            ceil,
            ..Window::new([kernel; 2], [stride; 2]).padded([padding; 2])
        };
        // (kernel, stride, padding, ceil, input) -> output, from torch.nn.functional.max_pool1d.
        let known = [
            ((3, 2, 0, false), 6, 2),
            ((3, 2, 0, true), 6, 3),
            ((3, 2, 0, true), 5, 2),
            ((3, 2, 1, false), 112, 56),
            ((2, 3, 0, true), 4, 2),
            // The second window would start outside.
            ((2, 3, 0, true), 3, 1),
            ((2, 2, 1, true), 4, 3),
            ((1, 2, 0, false), 7, 4),
        ];
        for ((kernel, stride, padding, ceil), input, output) in known {
            let window = window(kernel, stride, padding, ceil);
            assert_eq!(window.output(1, input), output, "{window:?} on {input}");
        }
    }

    #[test]
    fn names_are_given_once_and_layers_lend_theirs() {
        let weight = Param::from_data(TensorData::from([[[[1.0_f32]]]]), &Device::flex());
        let names = HashMap::from([(weight.id, "layer1.0.conv1.weight".to_owned())]);
        let mut graph = Writer::new([1, 2, 2], names);
        let x = graph.input();
        let y = graph.conv(&x, &weight, None, Window::new([1, 1], [1, 1]), 1);
        assert_eq!(y.name, "layer1.0.conv1");
        let (a, b) = (graph.relu(&y), graph.relu(&y));
        assert_eq!([a.name.as_str(), b.name.as_str()], ["relu", "relu_2"]);
    }

    /// Runs a graph of one input `[2, c, h, w]` elsewhere; `build` gives its one output.
    fn elsewhere(
        shape: [usize; 4],
        x: &[f32],
        build: impl Fn(&mut Writer, &Named) -> Named,
    ) -> (Vec<usize>, Vec<f32>) {
        let [n, c, h, w] = shape;
        let mut graph = Writer::new([c, h, w], HashMap::new());
        let input = graph.input();
        let output = build(&mut graph, &input);
        let declared: Vec<usize> = [n].into_iter().chain(output.shape().to_vec()).collect();
        let header = Header { graph_name: "test", description: "", metadata: &[] };
        let model = rten::Model::load(graph.finish(&[("y", output)], &header)).unwrap();
        let x = rten::Value::from_shape(&shape[..], x.to_vec()).unwrap();
        let y = model.run_one(x.into(), None).unwrap();
        let ([n, c, h, w], values) = y.into_shape_vec::<f32, 4>().unwrap();
        assert_eq!(declared, [n, c, h, w], "the declared shape is the shape");
        (declared, values)
    }

    fn same(ours: Tensor<4>, theirs: (Vec<usize>, Vec<f32>)) {
        assert_eq!(ours.dims().to_vec(), theirs.0);
        let ours: Vec<f32> = ours.into_data().iter().collect();
        for (a, b) in ours.iter().zip(&theirs.1) {
            assert!((a - b).abs() < 1e-5, "{a} is not {b}");
        }
    }

    #[test]
    fn operations_that_few_networks_use_compute_the_same_elsewhere() {
        let shape = [2, 3, 8, 9];
        let count: usize = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
        let x = Tensor::<4>::from_data(TensorData::new(numbers.clone(), shape), &Device::flex());
        let run = |build: &dyn Fn(&mut Writer, &Named) -> Named| elsewhere(shape, &numbers, build);

        for size in [[1, 1], [4, 3], [7, 7], [3, 5], [10, 12]] {
            same(adaptive_avg_pool2d(x.clone(), size), run(&|g, x| g.adaptive_average_pool(x, size)));
        }
        let mut graph = Writer::new([3, 8, 9], HashMap::new());
        let input = graph.input();
        assert_eq!(graph.adaptive_average_pool(&input, [8, 9]), input, "a map of that size already");
        let window = Window::new([3, 2], [2, 1]).padded([1, 1]);
        for count_padding in [false, true] {
            let options = burn::tensor::ops::AvgPoolOptions::new([3, 2])
                .with_stride([2, 1])
                .with_padding([1, 1])
                .with_count_include_pad(count_padding);
            same(avg_pool2d(x.clone(), options), run(&|g, x| g.average_pool(x, window, count_padding)));
        }
        same(x.clone().slice([0..2, 0..3, 0..8, 0..9]), run(&|g, x| g.every(x, [1, 1])));
        let rows = Tensor::cat((0..4).map(|i| x.clone().narrow(2, 2 * i, 1)).collect(), 2);
        let thinned = Tensor::cat((0..3).map(|i| rows.clone().narrow(3, 3 * i, 1)).collect(), 3);
        same(thinned.clone(), run(&|g, x| g.every(x, [2, 3])));
        // Half of the rows and a third of the columns, brought back: each is there twice, or three times.
        let repeat = |x: &Tensor<4>, axis: usize, times: usize| {
            let n = x.dims()[axis];
            Tensor::cat((0..n).flat_map(|i| vec![x.clone().narrow(axis, i, 1); times]).collect(), axis)
        };
        let back = repeat(&repeat(&thinned, 2, 2), 3, 3);
        same(
            back,
            run(&|g, x| {
                let coarse = g.every(x, [2, 3]);
                g.nearest(&coarse, x)
            }),
        );
        let zeros = |c| Tensor::<4>::zeros([2, c, 8, 9], &Device::flex());
        same(Tensor::cat(vec![zeros(1), x.clone(), zeros(2)], 1), run(&|g, x| g.pad_channels(x, 1, 2)));
        let doubled = Tensor::cat(vec![x.clone(), x.clone() * 2.0], 1);
        same(
            doubled,
            run(&|g, x| {
                let sum = g.add(x, x);
                g.concat(&[x, &sum])
            }),
        );
        let scaled = x.clone() * adaptive_avg_pool2d(x, [1, 1]);
        same(
            scaled,
            run(&|g, x| {
                let mean = g.global_average_pool(x);
                g.mul(x, &mean)
            }),
        );
    }
}
