//! Memory of tensors that goes from one to the next.
//!
//! A fresh large buffer costs a page fault every few KiB and is cleared twice, once by the system and once by who
//! asks for zeros. A step of training asks for the same sizes again and again: what one tensor leaves, the next
//! takes. Never more is held than was in use at one time, and a quarter for sizes that do not fit each other.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::backend::flex::FlexTensor;
use burn::tensor::{Element, TensorData};
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};

use crate::scratch::Memory;

/// Values of f32 below which the allocator itself is quick and nothing is kept.
const LARGE: usize = 1 << 14;
/// Large sizes are rounded up, by at most one part of so many, so that sizes that differ a little from step to step
/// (regions of a detector's maps, say) use the same memory.
const STEPS: usize = 8;
/// What the engine believes memory to be aligned to; it is aligned better.
const ALIGN: usize = 16;

static STORE: Mutex<Store> = Mutex::new(Store { free: Vec::new(), kept: 0, used: 0, most: 0 });

fn store() -> MutexGuard<'static, Store> {
    // Whatever a panic elsewhere interrupted, the list is whole.
    STORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Large memory that nobody uses, oldest first. All counts are values of f32.
struct Store {
    free: Vec<Memory>,
    /// In `free`.
    kept: usize,
    /// Handed out.
    used: usize,
    /// The most that was handed out at one time.
    most: usize,
}

impl Store {
    /// The smallest kept memory that is large enough and not much too large.
    fn take(&mut self, wanted: usize) -> Option<Memory> {
        let best = (0..self.free.len())
            .filter(|&i| (wanted..=wanted + wanted / 4).contains(&self.free[i].capacity()))
            .min_by_key(|&i| self.free[i].capacity())?;
        let memory = self.free.remove(best);
        self.kept -= memory.capacity();
        self.used += memory.capacity();
        self.most = self.most.max(self.used);
        Some(memory)
    }

    /// Counts new memory as handed out; what is to be released for it.
    fn grow(&mut self, by: usize) -> Vec<Memory> {
        self.used += by;
        self.most = self.most.max(self.used);
        self.excess()
    }

    /// Takes back what is used no more; what is to be released for it.
    fn put(&mut self, memory: Memory) -> Vec<Memory> {
        self.used -= memory.capacity();
        self.kept += memory.capacity();
        self.free.push(memory);
        self.excess()
    }

    fn excess(&mut self) -> Vec<Memory> {
        let mut released = Vec::new();
        while !self.free.is_empty() && self.used + self.kept > self.most + self.most / 4 {
            let oldest = self.free.remove(0);
            self.kept -= oldest.capacity();
            released.push(oldest);
        }
        released
    }
}

/// The size of memory that so many values get.
fn rounded(values: usize) -> usize {
    values.next_multiple_of((values.next_power_of_two() / 2 / STEPS).max(1))
}

/// What a buffer may be made of.
///
/// # Safety
/// Every pattern of bits is a value, of at most four bytes.
pub(super) unsafe trait Plain: Element {}
// SAFETY: plain numbers of four bytes or one.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u8 {}

/// `len` old values of no meaning, to be written in full, that become a tensor.
pub(super) struct Buffer<T> {
    raw: Raw,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Plain> Buffer<T> {
    /// Memory for so many values.
    pub fn new(len: usize) -> Buffer<T> {
        const { assert!(size_of::<T>() <= size_of::<f32>()) };
        let raw = Raw::new(len * size_of::<T>());
        if cfg!(debug_assertions) {
            // What is not written shows, as a NaN.
            // SAFETY: so many bytes are this buffer's alone.
            unsafe { raw.first().cast::<u8>().write_bytes(0xff, raw.bytes) };
        }
        Buffer { raw, len, of: PhantomData }
    }

    /// The values as a tensor, without a copy.
    pub fn into_tensor(self, shape: &[usize]) -> FlexTensor {
        let bytes = self.raw.bytes;
        // SAFETY: all memory is initialised from the start.
        let bytes = unsafe { Bytes::from_controller(Box::new(self.raw), bytes) };
        FlexTensor::from_data(TensorData::from_bytes(bytes, shape.to_vec(), T::dtype()))
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: initialised, large enough and aligned memory that is this buffer's alone, and any bits are a `T`.
        unsafe { std::slice::from_raw_parts(self.raw.first().cast(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.raw.first().cast(), self.len) }
    }
}

/// Memory that goes back to the store.
struct Raw {
    /// There until it is dropped.
    memory: Option<Memory>,
    bytes: usize,
}

impl Raw {
    fn new(bytes: usize) -> Raw {
        let values = bytes.div_ceil(size_of::<f32>());
        if values < LARGE {
            return Raw { memory: Some(Memory::new(values)), bytes };
        }
        let wanted = rounded(values);
        let kept = store().take(wanted);
        let memory = kept.unwrap_or_else(|| {
            // Released before the new memory is asked for, and outside the lock.
            let released = store().grow(wanted);
            drop(released);
            Memory::new(wanted)
        });
        Raw { memory: Some(memory), bytes }
    }

    fn first(&self) -> *mut f32 {
        match &self.memory {
            Some(memory) => memory.as_ptr(),
            None => std::ptr::dangling_mut(),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take().filter(|memory| memory.capacity() >= LARGE) {
            let released = store().put(memory);
            drop(released);
        }
    }
}

impl AllocationController for Raw {
    fn alloc_align(&self) -> usize {
        ALIGN
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(&mut self, _: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        // SAFETY: so many bytes are this value's alone, and borrowed mutably.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.first().cast(), self.bytes) })
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        // SAFETY: so many bytes are this value's alone.
        Ok(unsafe { std::slice::from_raw_parts(self.first().cast(), self.bytes) })
    }

    fn duplicate(&self) -> Option<Box<dyn AllocationController>> {
        let copy = Raw::new(self.bytes);
        // SAFETY: both are so many bytes long, and two owners' memory does not overlap.
        unsafe { std::ptr::copy_nonoverlapping(self.first().cast::<u8>(), copy.first().cast(), self.bytes) };
        Some(Box::new(copy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No other test asks for buffers of this size.
    const SIZE: usize = 3 << 20;

    #[test]
    fn what_one_tensor_leaves_the_next_takes() {
        let mut buffer = Buffer::<f32>::new(SIZE);
        let address = buffer.as_ptr() as usize;
        buffer.fill(3.0);
        let tensor = buffer.into_tensor(&[3, 1 << 20]);
        assert_eq!(
            tensor.as_slice::<f32>().map(|values| (values.as_ptr() as usize, values.len())),
            Some((address, SIZE))
        );
        drop(tensor.clone());
        let other = Buffer::<f32>::new(SIZE);
        assert_ne!(other.as_ptr() as usize, address, "the tensor still lives");
        drop(tensor);
        assert_eq!(Buffer::<u8>::new(4 * SIZE - 5).as_ptr() as usize, address);
    }

    #[test]
    fn a_shared_tensor_is_copied_before_it_changes() {
        let mut buffer = Buffer::<f32>::new(2 * SIZE);
        buffer.fill(1.0);
        let mut tensor = buffer.into_tensor(&[2 * SIZE]);
        let kept = tensor.clone();
        tensor.storage_mut::<f32>().fill(2.0);
        assert!(kept.storage::<f32>().iter().all(|&v| v == 1.0));
        assert!(tensor.storage::<f32>().iter().all(|&v| v == 2.0));
    }

    #[test]
    fn empty_and_small_ones_are_tensors_too() {
        assert_eq!(Buffer::<f32>::new(0).into_tensor(&[0, 3]).as_slice::<f32>(), Some(&[][..]));
        let mut small = Buffer::<u8>::new(5);
        small.copy_from_slice(&[1, 2, 3, 4, 5]);
        assert_eq!(small.into_tensor(&[5]).as_slice::<u8>(), Some(&[1, 2, 3, 4, 5][..]));
    }

    #[test]
    fn never_more_is_held_than_was_in_use_at_one_time_and_a_quarter() {
        let mut store = Store { free: Vec::new(), kept: 0, used: 0, most: 0 };
        for size in [10, 40, 20, 80, 30] {
            drop(store.grow(size));
            let released = store.put(Memory::new(size));
            assert!(store.kept <= store.most + store.most / 4);
            assert_eq!(store.kept, store.free.iter().map(Memory::capacity).sum::<usize>());
            drop(released);
        }
        assert_eq!((store.used, store.most), (0, 80));
        assert!(store.take(31).is_none() && store.take(23).is_none());
        assert_eq!(store.take(29).map(|memory| memory.capacity()), Some(30));
    }
}
