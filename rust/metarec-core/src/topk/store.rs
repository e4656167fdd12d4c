//! Arrays that are owned or lie in a mapped file.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::Mmap;

/// A read-only array of `T`.
#[derive(Debug, Clone)]
pub enum Store<T> {
    /// In memory.
    Owned(Vec<T>),
    /// Bytes of a mapped file.
    Mapped(Arc<Mmap>, Range<usize>),
}

impl<T: Pod> Store<T> {
    /// The bytes `range` of a mapped file, if they are inside it, aligned and whole values.
    pub fn mapped(map: &Arc<Mmap>, range: Range<usize>) -> Option<Self> {
        bytemuck::try_cast_slice::<u8, T>(map.get(range.clone())?).ok()?;
        Some(Self::Mapped(Arc::clone(map), range))
    }
}

impl<T: Pod> Deref for Store<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            Self::Mapped(map, range) => bytemuck::cast_slice(&map[range.clone()]),
        }
    }
}

impl<T> From<Vec<T>> for Store<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Owned(values)
    }
}
