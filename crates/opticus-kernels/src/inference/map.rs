//! How a value lies in the arena: `[image][channel / 16][row][column][channel % 16]`, with a frame of zeros.
//!
//! Sixteen channels side by side fill a vector of any processor, so that every window of a convolution is read
//! without gathering, whatever its stride; and the frame makes a tap outside of the plane like any other.

/// Channels that lie side by side.
pub(super) const BLOCK: usize = 16;

/// The place of one value. Pairs are `[vertical, horizontal]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Map {
    /// First value in the arena.
    pub offset: usize,
    pub images: usize,
    pub channels: usize,
    /// Channels that lie side by side: [`BLOCK`], or all of a picture of few channels.
    pub lanes: usize,
    pub size: [usize; 2],
    /// Rows and columns of zeros before the plane and after it.
    pub before: [usize; 2],
    pub after: [usize; 2],
    /// Blocks from one image to the next: more than this value's where it is a part of a joined one.
    pub pitch: usize,
}

impl Map {
    /// A value without a frame, at the begin of the arena.
    pub fn new([images, channels, height, width]: [usize; 4], lanes: usize) -> Map {
        Map {
            offset: 0,
            images,
            channels,
            lanes,
            size: [height, width],
            before: [0, 0],
            after: [0, 0],
            pitch: channels.div_ceil(lanes),
        }
    }

    /// Blocks of channels.
    pub fn blocks(&self) -> usize {
        self.channels.div_ceil(self.lanes)
    }

    /// Values from one row to the next.
    pub fn row(&self) -> usize {
        (self.size[1] + self.before[1] + self.after[1]) * self.lanes
    }

    /// Values from one block of channels to the next.
    pub fn plane(&self) -> usize {
        (self.size[0] + self.before[0] + self.after[0]) * self.row()
    }

    /// Values from one image to the next.
    pub fn image(&self) -> usize {
        self.pitch * self.plane()
    }

    /// Values of all images.
    pub fn len(&self) -> usize {
        self.images * self.image()
    }

    /// Pixels of one plane.
    pub fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Whether there is a frame.
    pub fn framed(&self) -> bool {
        self.before != [0, 0] || self.after != [0, 0]
    }

    /// Where the first channel of a block of a pixel is.
    pub fn at(&self, image: usize, block: usize, y: usize, x: usize) -> usize {
        let [top, left] = self.before;
        self.offset
            + image * self.image()
            + block * self.plane()
            + (y + top) * self.row()
            + (x + left) * self.lanes
    }

    /// Where the first window of a convolution with this padding begins: the frame is no narrower than any padding.
    pub fn window(&self, image: usize, block: usize, padding: [usize; 2]) -> usize {
        let [top, left] = [0, 1].map(|axis| self.before[axis] - padding[axis]);
        self.offset + image * self.image() + block * self.plane() + top * self.row() + left * self.lanes
    }
}
