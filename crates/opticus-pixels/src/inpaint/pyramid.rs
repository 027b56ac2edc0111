//! Pictures and masks at half the resolution.

use crate::geometry::Size;

/// The mask at full, half, quarter resolution and so on, the last of which has nothing lost.
pub(super) fn levels(size: Size, mask: &[bool]) -> Vec<Level> {
    let mut level = Level { size, mask: mask.to_vec() };
    let mut levels = Vec::new();
    while level.mask.contains(&true) {
        let half = level.halved();
        levels.push(std::mem::replace(&mut level, half));
    }
    levels.push(level);
    levels
}

/// One resolution.
pub(super) struct Level {
    pub size: Size,
    pub mask: Vec<bool>,
}

impl Level {
    /// Half the resolution: lost is what has no known pixel.
    fn halved(&self) -> Self {
        let size = Size::new(self.size.width.div_ceil(2), self.size.height.div_ceil(2));
        let mut mask = vec![true; size.area() as usize];
        for (i, lost) in self.mask.iter().enumerate() {
            mask[self.parent(i, size)] &= *lost;
        }
        Self { size, mask }
    }

    /// The pixel at half the resolution in which a pixel lies.
    fn parent(&self, i: usize, half: Size) -> usize {
        let width = self.size.width as usize;
        (i / width / 2) * half.width as usize + i % width / 2
    }

    /// The mean of the known pixels under each of half the resolution.
    pub fn shrink(&self, plane: &[f32], half: &Self) -> Vec<f32> {
        let mut sums = vec![(0.0f32, 0.0f32); half.mask.len()];
        for (i, value) in plane.iter().enumerate().filter(|(i, _)| !self.mask[*i]) {
            let (sum, count) = &mut sums[self.parent(i, half.size)];
            (*sum, *count) = (*sum + value, *count + 1.0);
        }
        sums.into_iter().map(|(sum, count)| if count > 0.0 { sum / count } else { 0.0 }).collect()
    }

    /// What is lost here, linearly between the pixels of half the resolution.
    pub fn enlarge(&self, plane: &mut [f32], coarse: &[f32], half: Size) {
        let width = self.size.width as usize;
        let (w, h) = (half.width as usize, half.height as usize);
        // The nearer and the farther pixel along one side, with weights 3/4 and 1/4.
        let along = |x: usize, have: usize| {
            let near = x / 2;
            let far = if x.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(have - 1) };
            (near, far)
        };
        for (i, value) in plane.iter_mut().enumerate().filter(|(i, _)| self.mask[*i]) {
            let ((x, xx), (y, yy)) = (along(i % width, w), along(i / width, h));
            let row = |y: usize| 0.75 * coarse[y * w + x] + 0.25 * coarse[y * w + xx];
            *value = 0.75 * row(y) + 0.25 * row(yy);
        }
    }
}
