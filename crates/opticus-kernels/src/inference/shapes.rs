//! Shapes of all values of a program, checked before any memory is touched.

use std::fmt;

use super::builder::Node;

/// A network that cannot be built, or cannot run on an input. The message names the operation and the shapes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProgramError(String);

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProgramError {}

impl ProgramError {
    pub(super) fn parameters(operation: usize, what: &str, got: usize, wanted: usize) -> ProgramError {
        ProgramError(format!("operation {operation}: {what} has {got} values, its shape has {wanted}"))
    }

    pub(super) fn input_length(got: usize, shape: [usize; 4]) -> ProgramError {
        ProgramError(format!("{got} values do not make an input of shape {shape:?}"))
    }
}

/// The shape of every value for an input of this shape.
pub(super) fn of(nodes: &[Node], input: [usize; 4]) -> Result<Vec<[usize; 4]>, ProgramError> {
    let mut shapes: Vec<[usize; 4]> = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let shape = one(node, input, &shapes)
            .map_err(|why| ProgramError(format!("operation {index} of the network: {why}")))?;
        let volume = shape.iter().try_fold(1usize, |all, &d| all.checked_mul(d.max(1)));
        if volume.is_none_or(|volume| volume > isize::MAX as usize / 256) {
            return Err(ProgramError(format!(
                "operation {index} of the network: shape {shape:?} is too large"
            )));
        }
        shapes.push(shape);
    }
    Ok(shapes)
}

fn one(node: &Node, input: [usize; 4], shapes: &[[usize; 4]]) -> Result<[usize; 4], String> {
    let channels_are = |wanted: usize, x: usize| match shapes[x][1] {
        got if got == wanted => Ok(shapes[x]),
        got => Err(format!("it takes {wanted} channels, and gets {got}")),
    };
    match node {
        Node::Input(channels) => match input[1] {
            got if got == *channels => Ok(input),
            got => Err(format!("it takes pictures of {channels} channels, and gets {got}")),
        },
        Node::Conv(node) => {
            let shape = node.conv.check(shapes[node.x]).map_err(|e| e.to_string())?.output_shape();
            match node.residual.map(|r| shapes[r]) {
                Some(residual) if residual != shape => Err(format!("{shape:?} and {residual:?} are added")),
                _ => Ok(shape),
            }
        }
        Node::Affine { x, scale, .. } | Node::Normalize { x, scale } => channels_are(scale.len(), *x),
        Node::Apply { x, .. } => Ok(shapes[*x]),
        Node::MaxPool { x, pool } | Node::AvgPool { x, pool, .. } => {
            if matches!(node, Node::AvgPool { .. }) && pool.dilation != [1, 1] {
                return Err("averages have no dilation".to_owned());
            }
            Ok(pool.check(shapes[*x]).map_err(|e| e.to_string())?.output_shape())
        }
        Node::AdaptiveAvgPool { x, size } => {
            let [n, c, h, w] = shapes[*x];
            if h == 0 || w == 0 {
                return Err(format!("a plane of {h}×{w} has no mean"));
            }
            Ok([n, c, size[0], size[1]])
        }
        Node::Nearest { x, like } => {
            let ([n, c, h, w], [m, _, height, width]) = (shapes[*x], shapes[*like]);
            if n != m || h == 0 || w == 0 {
                return Err(format!(
                    "a map of {:?} is brought to the size of {:?}",
                    shapes[*x], shapes[*like]
                ));
            }
            Ok([n, c, height, width])
        }
        Node::Linear(node) => {
            let [n, c, h, w] = shapes[node.x];
            match (c * h * w).checked_mul(node.outputs) {
                Some(wanted) if wanted == node.weight.source.len() => Ok([n, node.outputs, 1, 1]),
                _ => Err(format!(
                    "a dense layer of {} weights for {} outputs gets {} values",
                    node.weight.source.len(),
                    node.outputs,
                    c * h * w
                )),
            }
        }
        Node::Add { a, b } => match (shapes[*a], shapes[*b]) {
            (a, b) if a == b => Ok(a),
            (a, b) => Err(format!("{a:?} and {b:?} are added")),
        },
        Node::Mul { a, b } => {
            let (a, b) = (shapes[*a], shapes[*b]);
            if a == b || b == [a[0], a[1], 1, 1] {
                Ok(a)
            } else {
                Err(format!("{a:?} and {b:?} are multiplied"))
            }
        }
        Node::Concat(values) => {
            let mut shape = values.first().map(|&x| shapes[x]).ok_or("nothing is joined")?;
            shape[1] = 0;
            for &x in values {
                let [n, c, h, w] = shapes[x];
                if [n, h, w] != [shape[0], shape[2], shape[3]] {
                    return Err(format!("{:?} and {:?} are joined", shapes[values[0]], shapes[x]));
                }
                shape[1] += c;
            }
            Ok(shape)
        }
        Node::Every { x, step } => {
            let [n, c, h, w] = shapes[*x];
            if step.contains(&0) {
                Err("a step of 0".to_owned())
            } else {
                Ok([n, c, h.div_ceil(step[0]), w.div_ceil(step[1])])
            }
        }
        Node::PadChannels { x, before, after } => {
            let [n, c, h, w] = shapes[*x];
            let c = c.checked_add(*before).and_then(|c| c.checked_add(*after));
            Ok([n, c.ok_or("too many channels")?, h, w])
        }
    }
}
