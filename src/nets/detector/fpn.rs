//! Feature pyramids (Lin et al. 2017, "Feature Pyramid Networks for Object Detection", section 3): coarse maps are
//! brought to the size of finer ones and added, so that all are rich and of as many channels.

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};

use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{Conv2dConfig, Layer, describe, run};

/// A pyramid as torchvision's `FeaturePyramidNetwork` with its `LastLevelMaxPool`: one more map, every second position
/// of the coarsest.
#[derive(Module, Debug)]
pub struct Fpn {
    inner_blocks: Vec<Vec<Layer>>,
    layer_blocks: Vec<Vec<Layer>>,
}

impl Fpn {
    /// From maps of these channels, fine to coarse, to maps of `outputs` channels.
    pub fn new(scope: &Scope, inputs: &[usize], outputs: usize) -> Self {
        let conv = |name: &str, level: usize, inputs: usize, kernel: usize| {
            let conv = Conv2dConfig::new(inputs, outputs, kernel).padding(kernel / 2);
            let conv = conv.init(WeightInit::LecunUniform).build(&scope.at(name).at(level).at(0));
            vec![Layer::Conv2d(conv)]
        };
        let levels = inputs.iter().enumerate();
        Self {
            inner_blocks: levels.clone().map(|(i, &channels)| conv("inner_blocks", i, channels, 1)).collect(),
            layer_blocks: levels.map(|(i, _)| conv("layer_blocks", i, outputs, 3)).collect(),
        }
    }

    /// Maps [n, c, h, w] from fine to coarse; one more comes out, the coarsest.
    pub fn forward(&self, maps: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let mut coarser: Option<Tensor<4>> = None;
        let mut pyramid = Vec::with_capacity(maps.len() + 1);
        for ((map, inner), layer) in maps.into_iter().zip(&self.inner_blocks).zip(&self.layer_blocks).rev() {
            let [_, _, h, w] = map.dims();
            let map = run(inner, map);
            let map = match coarser {
                Some(coarser) => map + nearest(coarser, [h, w]),
                None => map,
            };
            pyramid.push(run(layer, map.clone()));
            coarser = Some(map);
        }
        pyramid.reverse();
        if let Some(coarsest) = pyramid.last() {
            let [_, _, h, w] = coarsest.dims();
            let every = |n: usize| -> Vec<usize> { (0..n).step_by(2).collect() };
            pyramid.push(pick(coarsest.clone(), every(h), every(w)));
        }
        pyramid
    }

    /// [`Self::forward`] written down.
    pub fn describe(&self, graph: &mut Graph, maps: &[Value]) -> Vec<Value> {
        let mut coarser: Option<Value> = None;
        let mut pyramid = Vec::with_capacity(maps.len() + 1);
        for ((map, inner), layer) in maps.iter().zip(&self.inner_blocks).zip(&self.layer_blocks).rev() {
            let mut map = describe(inner, graph, map);
            if let Some(coarser) = coarser {
                let coarser = graph.nearest(&coarser, &map);
                map = graph.add(&map, &coarser);
            }
            pyramid.push(describe(layer, graph, &map));
            coarser = Some(map);
        }
        pyramid.reverse();
        if let Some(coarsest) = pyramid.last() {
            let pooled = graph.every(coarsest, [2, 2]);
            pyramid.push(pooled);
        }
        pyramid
    }
}

/// The map at another size, each position from the nearest one.
fn nearest(x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [_, _, h, w] = x.dims();
    pick(x, (0..height).map(|y| y * h / height).collect(), (0..width).map(|x| x * w / width).collect())
}

/// These rows and columns of a map.
fn pick(x: Tensor<4>, rows: Vec<usize>, cols: Vec<usize>) -> Tensor<4> {
    let device = x.device();
    let index = |numbers: Vec<usize>| {
        let count = numbers.len();
        let numbers: Vec<i32> = numbers.into_iter().map(|n| n as i32).collect();
        Tensor::<1, Int>::from_data(TensorData::new(numbers, [count]), &device)
    };
    x.select(2, index(rows)).select(3, index(cols))
}
