//! AVX-512 with BF16: `vdpbf16ps` adds two products of bf16 values to a float. How it rounds, and what it flushes
//! to zero, is its own; [`crate::topk::bound`] allows for all of it.

use std::arch::x86_64::*;

use super::super::{Hits, PANELS, Quantised, Query, ScanTable, Table, USERS};
use super::scan::{Items, floats, word};
use super::vnni;

pub(in super::super) static TABLE: Table = Table {
    bf16: ScanTable {
        query: |_| Query::Halves,
        by_users: &[bf16::<1>, bf16::<2>, bf16::<3>, bf16::<4>, bf16::<5>, bf16::<6>],
    },
    ..vnni::TABLE
};

/// # Safety
/// AVX-512 F and BF16 are there, and the lengths are those that [`super::super::Scanner::scan`] checks.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn bf16<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let items = Items::<U>::new(block);
    let mut sums = [[_mm512_setzero_ps(); PANELS]; U];
    for k in 0..items.width {
        // SAFETY: line k is inside the panels.
        let lines = unsafe { items.lines::<PANELS>(0, k) };
        for (j, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there are `width * U` words.
            let query = halves(unsafe { word(block.queries, k * U + j) });
            for (sum, line) in sums.iter_mut().zip(&lines) {
                *sum = _mm512_dpbf16_ps(*sum, halves(*line), query);
            }
        }
    }
    hits.masks = [0; USERS];
    // SAFETY: there are `U` thresholds.
    unsafe { floats(&sums, block, hits) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn halves(words: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of which every pattern is valid.
    unsafe { std::mem::transmute(words) }
}
