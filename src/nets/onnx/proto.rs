//! The wire form of an ONNX file: the handful of protobuf messages that a network needs, written by hand.
//!
//! Field numbers are those of `onnx.proto` (opset 17, IR version 8). Protobuf writes a message as a row of fields,
//! each a key (`number << 3 | wire type`) and a value: a varint (wire type 0), or a length and that many bytes (wire
//! type 2: strings, nested messages, packed numbers); a lone `float` is four little-endian bytes (wire type 5).

/// A protobuf message under construction: pieces in order, so that the weights inside nested messages are moved
/// outwards, not copied once per level.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    /// Finished pieces.
    pieces: Vec<Vec<u8>>,
    /// What comes after them.
    tail: Vec<u8>,
}

const VARINT: u64 = 0;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    /// The finished bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        for piece in self.pieces.iter().chain([&self.tail]) {
            bytes.extend_from_slice(piece);
        }
        bytes
    }

    fn len(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum::<usize>() + self.tail.len()
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.tail.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.tail.push(value as u8);
    }

    fn key(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }

    /// A whole number; negative ones take ten bytes, as protobuf's `int64` does.
    pub fn int(mut self, field: u64, value: i64) -> Self {
        self.key(field, VARINT);
        self.varint(value as u64);
        self
    }

    /// One 32-bit float.
    pub fn float(mut self, field: u64, value: f32) -> Self {
        self.key(field, FIXED32);
        self.tail.extend(value.to_le_bytes());
        self
    }

    /// Raw bytes.
    pub fn blob(self, field: u64, value: Vec<u8>) -> Self {
        self.message(field, Message { pieces: Vec::new(), tail: value })
    }

    /// A message inside this one.
    pub fn message(mut self, field: u64, mut value: Message) -> Self {
        self.key(field, LENGTH);
        self.varint(value.len() as u64);
        if value.pieces.is_empty() && value.tail.len() < 4096 {
            self.tail.append(&mut value.tail);
        } else {
            self.pieces.push(std::mem::take(&mut self.tail));
            self.pieces.append(&mut value.pieces);
            self.pieces.push(value.tail);
        }
        self
    }

    /// Text.
    pub fn text(self, field: u64, value: &str) -> Self {
        self.blob(field, value.as_bytes().to_vec())
    }

    /// One field for each item, as protobuf's `repeated` writes messages and strings.
    pub fn each<T>(
        self,
        field: u64,
        items: impl IntoIterator<Item = T>,
        write: impl Fn(Self, u64, T) -> Self,
    ) -> Self {
        items.into_iter().fold(self, |message, item| write(message, field, item))
    }
}

/// `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataType {
    Float = 1,
    Int64 = 7,
}

/// `TensorProto`: a named constant, numbers in little-endian order.
pub(super) fn tensor(name: &str, kind: DataType, shape: &[usize], raw: Vec<u8>) -> Message {
    Message::default()
        .each(1, shape, |m, field, &n| m.int(field, n as i64))
        .int(2, kind as i64)
        .text(8, name)
        .blob(9, raw)
}

/// One attribute of a node.
#[derive(Clone, Debug)]
pub(super) enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Text(&'static str),
}

/// `AttributeProto`.
fn attribute(name: &str, value: &Attribute) -> Message {
    let named = Message::default().text(1, name);
    // Field 20 says which of the value fields is meant: FLOAT 1, INT 2, STRING 3, INTS 7.
    match value {
        Attribute::Float(value) => named.float(2, *value).int(20, 1),
        Attribute::Int(value) => named.int(3, *value).int(20, 2),
        Attribute::Text(value) => named.text(4, value).int(20, 3),
        Attribute::Ints(values) => named.each(8, values, |m, field, &value| m.int(field, value)).int(20, 7),
    }
}

/// One operation of the graph.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub name: String,
    pub kind: &'static str,
    pub inputs: Vec<String>,
    pub output: String,
    pub attributes: Vec<(&'static str, Attribute)>,
}

impl Node {
    /// `NodeProto`.
    pub fn message(&self) -> Message {
        Message::default()
            .each(1, &self.inputs, |m, field, input| m.text(field, input))
            .text(2, &self.output)
            .text(3, &self.name)
            .text(4, self.kind)
            .each(5, &self.attributes, |m, field, (name, value)| m.message(field, attribute(name, value)))
    }
}

/// A dimension of an input or output.
#[derive(Clone, Debug)]
pub(super) enum Dimension {
    /// Any length, by a name that runtimes show.
    Named(&'static str),
    Fixed(usize),
}

/// `ValueInfoProto`: a float tensor that goes in or comes out.
pub(super) fn value_info(name: &str, shape: &[Dimension]) -> Message {
    let dimensions = Message::default().each(1, shape, |m, field, dimension| {
        m.message(
            field,
            match dimension {
                Dimension::Fixed(n) => Message::default().int(1, *n as i64),
                Dimension::Named(name) => Message::default().text(2, name),
            },
        )
    });
    let tensor_type = Message::default().int(1, DataType::Float as i64).message(2, dimensions);
    Message::default().text(1, name).message(2, Message::default().message(1, tensor_type))
}

/// What a file says about itself.
#[derive(Clone, Debug)]
pub(super) struct Header<'a> {
    pub graph_name: &'a str,
    pub description: &'a str,
    pub metadata: &'a [(String, String)],
}

/// `ModelProto` around a finished `GraphProto`.
pub(super) fn model(header: &Header, graph: Message) -> Message {
    const IR_VERSION: i64 = 8;
    const OPSET: i64 = 17;
    let opset = Message::default().text(1, "").int(2, OPSET);
    Message::default()
        .int(1, IR_VERSION)
        .text(2, "opticus")
        .text(3, env!("CARGO_PKG_VERSION"))
        .text(6, header.description)
        .message(7, graph)
        .message(8, opset)
        .each(14, header.metadata, |m, field, (key, value)| {
            m.message(field, Message::default().text(1, key).text(2, value))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_bytes_that_the_protobuf_documentation_shows() {
        // "Encoding", developers.google.com: field 1 = 150 is 08 96 01; field 2 = "testing" is 12 07 74 65 …
        assert_eq!(Message::default().int(1, 150).into_bytes(), [0x08, 0x96, 0x01]);
        let text = Message::default().text(2, "testing").into_bytes();
        assert_eq!(text, [&[0x12, 0x07], &b"testing"[..]].concat());
        let nested = Message::default().message(3, Message::default().int(1, 150)).into_bytes();
        assert_eq!(nested, [0x1a, 0x03, 0x08, 0x96, 0x01]);
    }

    #[test]
    fn negative_numbers_are_ten_bytes_of_twos_complement() {
        let bytes = Message::default().int(1, -1).into_bytes();
        assert_eq!(bytes, [&[0x08][..], &[0xff; 9], &[0x01]].concat());
    }

    #[test]
    fn large_pieces_are_moved_and_come_out_where_they_went_in() {
        let large: Vec<u8> = (0..10_000).map(|i| i as u8).collect();
        let inner = Message::default().int(1, 1).blob(2, large.clone()).int(3, 3);
        let bytes = Message::default().int(4, 4).message(5, inner).int(6, 6).into_bytes();
        let head = [0x20, 4, 0x2a, 0x97, 0x4e, 0x08, 1, 0x12, 0x90, 0x4e];
        assert_eq!(bytes, [&head[..], &large, &[0x18, 3, 0x30, 6]].concat());
    }

    #[test]
    fn a_float_is_four_little_endian_bytes_and_a_high_field_number_two_key_bytes() {
        assert_eq!(Message::default().float(2, 1.0).into_bytes(), [0x15, 0, 0, 0x80, 0x3f]);
        assert_eq!(Message::default().int(20, 7).into_bytes(), [0xa0, 0x01, 0x07]);
    }
}
