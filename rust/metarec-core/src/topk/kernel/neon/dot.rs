//! NEON with dot products: `sdot` adds four products of signed bytes into 32 bits. Items are made signed first, by
//! taking 128 off.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::{Hits, PANELS, Quantised, Query, ScanTable, Table, USERS};
use super::QUARTER;
use super::scan::{float, integers, items, nibbles, signed, starts};

pub(in super::super) static TABLE: Table = Table {
    int8: ScanTable {
        query: |_| Query::Bytes(127),
        by_users: &[int8::<1>, int8::<2>, int8::<3>, int8::<4>, int8::<5>, int8::<6>],
    },
    int4: ScanTable { query: |_| Query::Bytes(127), by_users: &[int4::<1>, int4::<2>, int4::<3>, int4::<4>] },
    share: 32,
    fewest: 2048,
    ..super::TABLE
};

/// # Safety
/// NEON and dotprod are there, and the lengths are those that [`super::super::Scanner::scan`] checks.
#[target_feature(enable = "neon,dotprod")]
unsafe fn int8<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let width = block.lines.len() / PANELS;
    hits.masks = [0; USERS];
    let mut found = 0;
    for p in 0..PANELS {
        // SAFETY: there are `U` starts.
        let mut sums = unsafe { starts::<U>(block) };
        for k in 0..width {
            let mut line = [vdupq_n_s8(0); QUARTER];
            for (quarter, line) in line.iter_mut().enumerate() {
                // SAFETY: line k is inside the panel.
                *line = signed(unsafe { items(block, p * width + k, quarter) });
            }
            for (j, sums) in sums.iter_mut().enumerate() {
                // SAFETY: there are `width * U` words.
                let query = unsafe { float(block.queries, k * U + j) };
                for (sum, items) in sums.iter_mut().zip(&line) {
                    *sum = dot(*sum, *items, query);
                }
            }
        }
        // SAFETY: there are `U` thresholds.
        found |= unsafe { integers(p, &sums, block, hits) };
    }
    found
}

/// # Safety
/// As for [`int8`].
#[target_feature(enable = "neon,dotprod")]
unsafe fn int4<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let width = block.lines.len() / PANELS;
    hits.masks = [0; USERS];
    let mut found = 0;
    for p in 0..PANELS {
        // SAFETY: there are `U` starts.
        let mut sums = unsafe { starts::<U>(block) };
        for k in 0..width {
            for quarter in 0..QUARTER {
                // SAFETY: line k is inside the panel.
                let (low, high) = nibbles(unsafe { items(block, p * width + k, quarter) });
                for (j, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: there are `2 * width * U` words.
                    let (first, second) = unsafe {
                        (float(block.queries, 2 * k * U + j), float(block.queries, (2 * k + 1) * U + j))
                    };
                    sums[quarter] = dot(sums[quarter], low, first);
                    sums[quarter] = dot(sums[quarter], high, second);
                }
            }
        }
        // SAFETY: there are `U` thresholds.
        found |= unsafe { integers(p, &sums, block, hits) };
    }
    found
}

/// For each of four items the sum with its four products; the query's four bytes are the bits of a float, which
/// is how they come into the first lane of a register without any detour.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn dot(mut sum: int32x4_t, items: int8x16_t, query: f32) -> int32x4_t {
    // The intrinsic isn't stable yet.
    // SAFETY: dotprod is there, and the instruction only computes.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {items:v}.16b, {query:v}.4b[0]",
            sum = inout(vreg) sum,
            items = in(vreg) items,
            query = in(vreg) query,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
