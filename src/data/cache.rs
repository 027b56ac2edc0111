//! Decoded pictures kept in memory, so that an epoch does not wait for the decoder.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use opticus_pixels::Image8;

use super::dataset::Dataset;
use crate::error::Result;

/// How a picture is made smaller before it is kept.
type Prepare = Box<dyn Fn(Image8) -> Image8 + Send + Sync>;

/// A data set that keeps its decoded pictures while they fit into a budget. Pictures beyond it are decoded
/// every time; what is loaded is the same either way.
pub struct Cached<D> {
    inner: D,
    slots: Vec<OnceLock<Image8>>,
    left: AtomicU64,
    prepare: Option<Prepare>,
}

impl<D: Dataset> Cached<D> {
    /// Keeps up to `budget` bytes of decoded samples.
    pub fn new(inner: D, budget: u64) -> Self {
        // Where the pictures lie in memory already, or none may be kept, no slot is needed.
        let slots = if inner.in_memory() || budget == 0 { 0 } else { inner.len() };
        Self {
            inner,
            slots: (0..slots).map(|_| OnceLock::new()).collect(),
            left: budget.into(),
            prepare: None,
        }
    }

    /// Passes every picture through `prepare` (a reduction, say) right after decoding, kept or not.
    #[must_use]
    pub fn prepared(mut self, prepare: impl Fn(Image8) -> Image8 + Send + Sync + 'static) -> Self {
        self.prepare = Some(Box::new(prepare));
        self
    }

    /// The data set itself.
    pub fn inner(&self) -> &D {
        &self.inner
    }

    /// Number of pictures kept now.
    pub fn kept(&self) -> usize {
        self.slots.iter().filter(|s| s.get().is_some()).count()
    }
}

impl<D: Dataset> Dataset for Cached<D> {
    type Target = D::Target;

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn load(&self, index: usize) -> Result<Image8> {
        let slot = self.slots.get(index);
        if let Some(picture) = slot.and_then(OnceLock::get) {
            return Ok(picture.clone());
        }
        let mut picture = self.inner.load(index)?;
        if let Some(prepare) = &self.prepare {
            picture = prepare(picture);
        }
        if let Some(slot) = slot {
            let bytes = picture.data.len() as u64;
            let fits = |left: u64| left.checked_sub(bytes);
            if self.left.try_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
                && slot.set(picture.clone()).is_err()
            {
                // Another thread was faster; its copy is the one that counts.
                self.left.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        Ok(picture)
    }

    fn target(&self, index: usize) -> Self::Target {
        self.inner.target(index)
    }

    fn name(&self, index: usize) -> String {
        self.inner.name(index)
    }

    fn in_memory(&self) -> bool {
        self.inner.in_memory()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use opticus_pixels::Size;
    use std::sync::atomic::AtomicUsize;

    struct Counting(AtomicUsize);

    impl Dataset for Counting {
        type Target = usize;

        fn len(&self) -> usize {
            10
        }

        fn load(&self, index: usize) -> Result<Image8> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Image8 { size: Size::new(10, 10), channels: 1, data: vec![index as u8; 100] })
        }

        fn target(&self, index: usize) -> usize {
            index
        }

        fn name(&self, index: usize) -> String {
            index.to_string()
        }
    }

    #[test]
    fn pictures_are_decoded_once_while_they_fit() {
        let cached = Cached::new(Counting(AtomicUsize::new(0)), 450);
        for _ in 0..3 {
            for i in 0..10 {
                assert_eq!(cached.load(i).unwrap().data[0], i as u8);
            }
        }
        assert_eq!(cached.kept(), 4);
        assert_eq!(cached.inner().0.load(Ordering::SeqCst), 4 + 3 * 6);
    }

    #[test]
    fn preparation_happens_whether_kept_or_not() {
        for budget in [0, 100_000] {
            let cached = Cached::new(Counting(AtomicUsize::new(0)), budget).prepared(|mut p| {
                p.data.fill(9);
                p
            });
            assert_eq!(cached.load(3).unwrap().data[0], 9);
            assert_eq!(cached.load(3).unwrap().data[0], 9);
        }
    }
}
