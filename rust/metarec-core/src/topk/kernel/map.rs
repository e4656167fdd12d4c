//! Mapping a saved index into memory.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Map a whole file for reading.
pub fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is read-only and private to this process. Saving replaces files by renaming, so that a
    // mapped file's content never changes under it; somebody who truncates it by other means gets a bus
    // error, as with every memory-mapped format.
    unsafe { Mmap::map(file) }
}
