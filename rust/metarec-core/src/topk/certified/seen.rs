//! The items that one user may not get from the scan: looked up only for what passes the threshold.

use std::borrow::Cow;

use super::super::exact::ascending;

const WORDS: usize = 32;

/// A set of items: a small bit array that tells most strangers, then a search in the sorted row.
pub struct Seen<'a> {
    bits: [u64; WORDS],
    items: Cow<'a, [i32]>,
}

impl<'a> Seen<'a> {
    /// Of an excluded row and of boosted items, which are ranked apart.
    pub fn new(excluded: &'a [i32], boosts: &[(u32, f32)]) -> Self {
        let items = if boosts.is_empty() {
            ascending(excluded)
        } else {
            let mut all = excluded.to_vec();
            all.extend(boosts.iter().map(|&(item, _)| item as i32));
            all.sort_unstable();
            Cow::Owned(all)
        };
        let mut bits = [0; WORDS];
        for &item in items.iter() {
            let (word, bit) = place(item as u32);
            bits[word] |= bit;
        }
        Self { bits, items }
    }

    /// Whether an item is one of them.
    pub fn contains(&self, id: u32) -> bool {
        let (word, bit) = place(id);
        self.bits[word] & bit != 0 && self.items.binary_search(&(id as i32)).is_ok()
    }
}

/// Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, §6.4).
fn place(id: u32) -> (usize, u64) {
    let hash = id.wrapping_mul(0x9e37_79b1) >> 21;
    ((hash >> 6) as usize, 1 << (hash & 63))
}
