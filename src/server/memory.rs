//! Memory that goes back to the system as soon as it is dropped.
//!
//! An allocator keeps what is freed: blocks of 64 KiB lie in its heap, which shrinks only at its end, so that one small block
//! behind a thousand free ones holds on to all of them. A mapping of its own has no such neighbours (mmap(2), munmap(2)).

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// A number of bytes, zero at first.
#[derive(Debug)]
pub(crate) enum Memory {
    Mapped(MmapMut),
    /// Too little for a mapping, which takes whole pages; or the system has refused one (`vm.max_map_count`).
    Allocated(Box<[u8]>),
}

impl Memory {
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

/// From four pages of 4 KiB on.
const LEAST_MAPPED: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_hold_what_is_written() {
        for length in [1, LEAST_MAPPED - 1, LEAST_MAPPED, 3 * LEAST_MAPPED + 1] {
            let mut room = Memory::new(length);
            let is_mapped = matches!(room, Memory::Mapped(_));
            assert_eq!(is_mapped, length >= LEAST_MAPPED, "{length}");
            assert_eq!(*room, *vec![0; length]);
            room[length - 1] = 7;
            assert_eq!(room[length - 1], 7);
        }
    }
}
