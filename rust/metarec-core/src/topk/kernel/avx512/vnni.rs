//! AVX-512 with VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte into 32 bits, and nothing on
//! the way saturates, so that items and queries use all their bits. Six users × four panels are 24 registers of
//! sums; a broadcast query word serves four instructions.

use std::arch::x86_64::*;

use super::super::{Hits, PANELS, Quantised, Query, ScanTable, Table, USERS};
use super::scan::{Items, integers, nibbles, starts, word};

pub(in super::super) static TABLE: Table = Table {
    int8: ScanTable {
        query: |_| Query::Bytes(127),
        by_users: &[int8::<1>, int8::<2>, int8::<3>, int8::<4>, int8::<5>, int8::<6>],
    },
    int4: ScanTable { query: |_| Query::Bytes(127), by_users: &[int4::<1>, int4::<2>, int4::<3>, int4::<4>] },
    levels: 127,
    share: 32,
    fewest: 2048,
    ..super::TABLE
};

/// # Safety
/// AVX-512 F and VNNI are there, and the lengths are those that [`super::super::Scanner::scan`] checks.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn int8<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let items = Items::<U>::new(block);
    // SAFETY: there are `U` starts.
    let mut sums = unsafe { starts::<U, PANELS>(block) };
    for k in 0..items.width {
        // SAFETY: line k is inside the panels.
        let lines = unsafe { items.lines::<PANELS>(0, k) };
        for (j, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there are `width * U` words.
            let query = unsafe { word(block.queries, k * U + j) };
            for (sum, line) in sums.iter_mut().zip(&lines) {
                *sum = _mm512_dpbusd_epi32(*sum, *line, query);
            }
        }
    }
    hits.masks = [0; USERS];
    // SAFETY: there are `U` thresholds.
    unsafe { integers(0, &sums, block, hits) }
}

/// # Safety
/// As for [`int8`], and AVX-512 BW is there.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn int4<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let items = Items::<U>::new(block);
    // SAFETY: there are `U` starts.
    let mut sums = unsafe { starts::<U, PANELS>(block) };
    for k in 0..items.width {
        // SAFETY: line k is inside the panels.
        let both = unsafe { items.lines::<PANELS>(0, k) };
        let (low, high) = nibbles(&both);
        for (j, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there are `2 * width * U` words.
            let (first, second) =
                unsafe { (word(block.queries, 2 * k * U + j), word(block.queries, (2 * k + 1) * U + j)) };
            for (p, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_dpbusd_epi32(*sum, low[p], first);
                *sum = _mm512_dpbusd_epi32(*sum, high[p], second);
            }
        }
    }
    hits.masks = [0; USERS];
    // SAFETY: there are `U` thresholds.
    unsafe { integers(0, &sums, block, hits) }
}
