//! Memory whose tiles of sixteen start at cache lines, so that no vector load crosses one.

use std::ops::{Deref, DerefMut};

use super::lanes::{LANES, Lanes};

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

/// A growable array of [`Lanes`], aligned to 64 bytes.
#[derive(Default)]
pub(super) struct Aligned(Vec<Line>);

impl Aligned {
    /// `length` tiles of zeros.
    pub(super) fn zeros(length: usize) -> Self {
        Self(vec![Line([0.0; LANES]); length])
    }

    /// Grow to at least `length` tiles; what is there stays.
    pub(super) fn reserve(&mut self, length: usize) {
        if self.0.len() < length {
            self.0.resize(length, Line([0.0; LANES]));
        }
    }
}

impl Deref for Aligned {
    type Target = [Lanes];

    fn deref(&self) -> &[Lanes] {
        // SAFETY: a `Line` is one `Lanes`, of the same size, with a stricter alignment.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len()) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [Lanes] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len()) }
    }
}
