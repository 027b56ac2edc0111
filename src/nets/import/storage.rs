//! Flat arrays of numbers in a file, and tensors as windows into them.

use crate::tensors::HostTensor;

/// Type of the numbers in a storage, by PyTorch's names (`FloatStorage` holds 32 bits, `DoubleStorage` 64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementKind {
    /// 32-bit float.
    Float,
    /// 16-bit float.
    Half,
    /// The upper half of a 32-bit float.
    BFloat16,
    /// 64-bit float.
    Double,
    /// 64-bit integer.
    Long,
    /// 32-bit integer.
    Int,
    /// 16-bit integer.
    Short,
    /// 8-bit integer.
    Char,
    /// 8-bit integer without sign.
    Byte,
    /// One byte, zero or one.
    Bool,
}

impl ElementKind {
    /// From the name of a class in PyTorch's module `torch`.
    pub fn from_class(name: &str) -> Option<Self> {
        Some(match name {
            "FloatStorage" => Self::Float,
            "HalfStorage" => Self::Half,
            "BFloat16Storage" => Self::BFloat16,
            "DoubleStorage" => Self::Double,
            "LongStorage" => Self::Long,
            "IntStorage" => Self::Int,
            "ShortStorage" => Self::Short,
            "CharStorage" => Self::Char,
            "ByteStorage" => Self::Byte,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// Size of one number.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Double | Self::Long => 8,
            Self::Float | Self::Int => 4,
            Self::Half | Self::BFloat16 | Self::Short => 2,
            Self::Char | Self::Byte | Self::Bool => 1,
        }
    }

    /// All whole numbers in little-endian bytes, rounded to `f32`.
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::Float => each(bytes, f32::from_le_bytes),
            Self::Half => each(bytes, |b| half_to_f32(u16::from_le_bytes(b))),
            Self::BFloat16 => each(bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
            Self::Double => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::Long => each(bytes, |b| i64::from_le_bytes(b) as f32),
            Self::Int => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Self::Short => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Self::Char => each(bytes, |b| f32::from(i8::from_le_bytes(b))),
            Self::Byte | Self::Bool => each(bytes, |[b]: [u8; 1]| f32::from(b)),
        }
    }
}

fn each<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| decode(chunk)).collect()
}

/// IEEE 754 half precision, exactly: it fits a single without rounding.
fn half_to_f32(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let exponent = u32::from(half >> 10) & 0x1F;
    let fraction = u32::from(half) & 0x3FF;
    match exponent {
        // Subnormal: a multiple of 2⁻²⁴.
        0 => f32::from_bits(sign | (fraction as f32 * (-24f32).exp2()).to_bits()),
        0x1F => f32::from_bits(sign | 0x7F80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (fraction << 13)),
    }
}

/// How many numbers a file may still unfold to.
///
/// Tensors can share a storage, and a stride of zero repeats it, so a short file could claim any amount. Eight
/// bytes of numbers a byte of file are room for 8-bit weights, with some shared.
pub struct Budget {
    numbers: usize,
}

impl Budget {
    /// The budget of a file of this many bytes.
    pub const fn for_file(bytes: usize) -> Self {
        Self { numbers: bytes.saturating_mul(2).saturating_add(1 << 16) }
    }

    /// Takes the numbers of the tensor called `name`.
    pub fn spend(&mut self, name: &str, numbers: usize) -> Result<(), String> {
        self.numbers = self
            .numbers
            .checked_sub(numbers)
            .ok_or_else(|| format!("`{name}` unfolds to more values than a file of this size can mean"))?;
        Ok(())
    }
}

/// A tensor as a window into a storage, counted in elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// First element.
    pub offset: usize,
    /// Extents.
    pub size: Vec<usize>,
    /// Steps between neighbours along each axis.
    pub stride: Vec<usize>,
}

impl Window {
    /// Number of elements, where that is a number.
    pub fn count(&self) -> Option<usize> {
        self.size.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent))
    }

    /// One past the last element touched.
    fn end(&self) -> Option<usize> {
        let last = self.size.iter().zip(&self.stride).try_fold(self.offset, |end, (&extent, &stride)| {
            end.checked_add(extent.checked_sub(1)?.checked_mul(stride)?)
        });
        last.and_then(|last| last.checked_add(1))
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.size.iter().zip(&self.stride).rev().all(|(&extent, &stride)| {
            let fits = extent == 1 || stride == expected;
            expected *= extent;
            fits
        })
    }

    /// The tensor, out of the storage's bytes.
    pub fn read(
        &self,
        name: &str,
        kind: ElementKind,
        storage: &[u8],
        budget: &mut Budget,
    ) -> Result<HostTensor, String> {
        let outside = || format!("`{name}` reaches outside its storage");
        let count = self.count().ok_or_else(outside)?;
        let shape = self.size.clone();
        if count == 0 {
            return Ok(HostTensor { shape, data: Vec::new() });
        }
        let end = self.end().ok_or_else(outside)?;
        // A window may step over more numbers than it has; those are decoded too.
        budget.spend(name, count.max(end - self.offset))?;
        let bytes = |element: usize| element.checked_mul(kind.bytes());
        let touched = bytes(self.offset).zip(bytes(end)).and_then(|(from, to)| storage.get(from..to));
        let touched = touched.ok_or_else(outside)?;
        if self.is_contiguous() {
            return Ok(HostTensor { shape, data: kind.decode(touched) });
        }
        let flat = kind.decode(touched);
        // An axis of one element is never stepped along, so its stride may be anything.
        let step = |axis: usize| if self.size[axis] > 1 { self.stride[axis] } else { 0 };
        let mut data = Vec::with_capacity(count);
        let mut position = vec![0; self.size.len()];
        let mut element = 0;
        for _ in 0..count {
            data.push(flat[element]);
            // Count up like an odometer, last axis first.
            for axis in (0..position.len()).rev() {
                position[axis] += 1;
                element += step(axis);
                if position[axis] < self.size[axis] {
                    break;
                }
                element -= position[axis] * step(axis);
                position[axis] = 0;
            }
        }
        Ok(HostTensor { shape, data })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn floats(count: usize) -> Vec<u8> {
        (0..count).flat_map(|i| (i as f32).to_le_bytes()).collect()
    }

    fn read(offset: usize, size: &[usize], stride: &[usize], count: usize) -> Result<Vec<f32>, String> {
        let window = Window { offset, size: size.into(), stride: stride.into() };
        let mut budget = Budget::for_file(count * 4);
        window.read("w", ElementKind::Float, &floats(count), &mut budget).map(|tensor| tensor.data)
    }

    #[test]
    fn windows_follow_their_strides() {
        assert_eq!(read(0, &[2, 3], &[3, 1], 6).unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(read(0, &[3, 2], &[1, 3], 6).unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(read(1, &[2, 2], &[0, 2], 6).unwrap(), [1.0, 3.0, 1.0, 3.0]);
        assert_eq!(read(0, &[2, 1, 2], &[1, usize::MAX, 3], 6).unwrap(), [0.0, 3.0, 1.0, 4.0]);
        assert_eq!(read(5, &[], &[], 6).unwrap(), [5.0]);
        assert_eq!(read(9, &[0, 7], &[1, 1], 6).unwrap(), [] as [f32; 0]);
    }

    #[test]
    fn windows_outside_their_storage_are_refused() {
        for (offset, size, stride) in [
            (6, vec![1], vec![1]),
            (1, vec![2, 3], vec![3, 1]),
            (usize::MAX, vec![2], vec![1]),
            (0, vec![usize::MAX, usize::MAX], vec![1, 1]),
            (0, vec![2], vec![usize::MAX]),
            (0, vec![1 << 40], vec![0]),
        ] {
            assert!(read(offset, &size, &stride, 6).is_err(), "{offset} {size:?} {stride:?}");
        }
    }

    #[test]
    fn every_half_is_the_single_of_equal_value() {
        for bits in 0..=u16::MAX {
            let (sign, exponent) = (if bits >> 15 == 1 { -1.0 } else { 1.0 }, i32::from(bits >> 10 & 0x1F));
            let fraction = f64::from(bits & 0x3FF) / 1024.0;
            let ours = f64::from(half_to_f32(bits));
            match exponent {
                0x1F if fraction == 0.0 => assert_eq!(ours, sign * f64::INFINITY),
                0x1F => assert!(ours.is_nan()),
                0 => assert_eq!(ours, sign * fraction * 2f64.powi(-14)),
                _ => assert_eq!(ours, sign * (1.0 + fraction) * 2f64.powi(exponent - 15)),
            }
        }
    }
}
