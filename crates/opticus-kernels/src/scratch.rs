//! Work memory that is reused from call to call.
//!
//! A fresh large buffer costs a page fault every 4 KiB, which is more than many kernels cost. Each thread keeps the
//! buffers that it used, up to [`KEPT_BYTES`]; they are aligned to a cache line.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ptr::NonNull;

/// What one thread keeps at most.
const KEPT_BYTES: usize = 96 << 20;
/// A cache line, and the widest vector.
const ALIGN: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<Memory>> = const { RefCell::new(Vec::new()) };
}

/// An owned allocation of initialised values, aligned to [`ALIGN`].
pub(crate) struct Memory {
    values: NonNull<f32>,
    capacity: usize,
}

impl Memory {
    /// So many zeros, at least one.
    pub fn new(capacity: usize) -> Memory {
        let capacity = capacity.max(1);
        let layout = Memory::layout(capacity);
        // SAFETY: the layout is not empty, as `capacity` is at least one.
        let raw = unsafe { alloc_zeroed(layout) };
        match NonNull::new(raw.cast::<f32>()) {
            Some(values) => Memory { values, capacity },
            None => handle_alloc_error(layout),
        }
    }

    /// How many values there are.
    #[cfg(feature = "engine")]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The first of the values; they are this allocation's alone.
    #[cfg(feature = "engine")]
    pub fn as_ptr(&self) -> *mut f32 {
        self.values.as_ptr()
    }

    fn layout(capacity: usize) -> Layout {
        match Layout::array::<f32>(capacity).and_then(|layout| layout.align_to(ALIGN)) {
            Ok(layout) => layout,
            Err(_) => panic!("scratch of {capacity} values is larger than the address space"),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this very layout.
        unsafe { dealloc(self.values.as_ptr().cast(), Memory::layout(self.capacity)) }
    }
}

// SAFETY: it owns plain values; nothing in it is tied to a thread.
unsafe impl Send for Memory {}
// SAFETY: as above; shared access is through `&[f32]` only.
unsafe impl Sync for Memory {}

/// A buffer of unspecified (old) values, aligned to 64 bytes, that goes back to its thread's store when dropped.
pub(crate) struct Scratch {
    memory: Option<Memory>,
    len: usize,
}

impl Scratch {
    /// A buffer of `len` values: the smallest kept one that is large enough, or a new one.
    pub fn new(len: usize) -> Scratch {
        let wanted = len.max(1);
        let kept = FREE.with(|free| {
            let mut free = free.borrow_mut();
            let best = (0..free.len())
                .filter(|&i| free[i].capacity >= wanted && free[i].capacity / 4 <= wanted.max(1 << 14))
                .min_by_key(|&i| free[i].capacity)?;
            Some(free.swap_remove(best))
        });
        let memory = kept.unwrap_or_else(|| Memory::new(wanted.next_multiple_of(1 << 10)));
        Scratch { memory: Some(memory), len }
    }

    /// A buffer of `len` zeros.
    pub fn zeroed(len: usize) -> Scratch {
        let mut scratch = Scratch::new(len);
        scratch.fill(0.0);
        scratch
    }
}

impl std::ops::Deref for Scratch {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        match &self.memory {
            // SAFETY: `len <= capacity`, initialised at allocation, owned by this value.
            Some(memory) => unsafe { std::slice::from_raw_parts(memory.values.as_ptr(), self.len) },
            None => &[],
        }
    }
}

impl std::ops::DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.memory {
            // SAFETY: as in `deref`, and borrowed mutably.
            Some(memory) => unsafe { std::slice::from_raw_parts_mut(memory.values.as_ptr(), self.len) },
            None => &mut [],
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else { return };
        // A thread that is ending has no store any more: then the memory is simply freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            free.push(memory);
            let mut kept: usize = free.iter().map(|m| m.capacity * size_of::<f32>()).sum();
            while kept > KEPT_BYTES {
                let oldest = free.remove(0);
                kept -= oldest.capacity * size_of::<f32>();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_comes_back() {
        let first = Scratch::new(100_000);
        let address = first.as_ptr() as usize;
        assert_eq!(address % ALIGN, 0);
        drop(first);
        assert_eq!(Scratch::new(90_000).as_ptr() as usize, address);
    }

    #[test]
    fn two_live_buffers_never_overlap() {
        let mut a = Scratch::new(5_000);
        let mut b = Scratch::new(5_000);
        a.fill(1.0);
        b.fill(2.0);
        assert!(a.iter().all(|&v| v == 1.0));
    }

    #[test]
    fn no_more_is_kept_than_allowed() {
        for _ in 0..3 {
            let all: Vec<_> = (0..6).map(|_| Scratch::new(8 << 20)).collect();
            drop(all);
        }
        let kept: usize = FREE.with(|free| free.borrow().iter().map(|m| m.capacity * 4).sum());
        assert!(kept <= KEPT_BYTES);
    }
}
