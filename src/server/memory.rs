//! Memory that goes back to the system as soon as it is dropped.
//!
//! An allocator puts blocks of 64 KiB into its heap, and the heap shrinks only at its end. So one small block behind a
//! thousand free ones keeps the memory of all of them. A separate mapping does not depend on other blocks (mmap(2),
//! munmap(2)).

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// A block of bytes, initially zero.
#[derive(Debug)]
pub(crate) enum Memory {
    /// A mapping, for blocks of at least [`LEAST_MAPPED`] bytes.
    Mapped(MmapMut),
    /// A block on the heap. Small blocks are on the heap, because a mapping takes whole pages. Large blocks are on the
    /// heap only if the system refuses a mapping (`vm.max_map_count`).
    Allocated(Box<[u8]>),
}

impl Memory {
    /// Allocates `length` bytes.
    pub(crate) fn new(length: usize) -> Memory {
        if length >= LEAST_MAPPED
            && let Ok(map) = MmapMut::map_anon(length)
        {
            return Memory::Mapped(map);
        }
        Memory::Allocated(vec![0; length].into_boxed_slice())
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Memory::Mapped(map) => map,
            Memory::Allocated(bytes) => bytes,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Mapped(map) => map,
            Memory::Allocated(bytes) => bytes,
        }
    }
}

/// The smallest block that gets its own mapping, in bytes: four pages of 4 KiB.
const LEAST_MAPPED: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_memory_holds_the_bytes_that_are_written() {
        for length in [1, LEAST_MAPPED - 1, LEAST_MAPPED, 3 * LEAST_MAPPED + 1] {
            let mut memory = Memory::new(length);
            let is_mapped = matches!(memory, Memory::Mapped(_));
            assert_eq!(is_mapped, length >= LEAST_MAPPED, "{length}");
            assert_eq!(*memory, *vec![0; length]);
            memory[length - 1] = 7;
            assert_eq!(memory[length - 1], 7);
        }
    }
}
