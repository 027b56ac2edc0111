//! Disk formats, order, augmentation, prefetch.
