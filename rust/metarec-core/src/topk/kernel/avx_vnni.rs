//! AVX2 with VNNI, as on processors without AVX-512: `vpdpbusd` adds four products of an unsigned and a signed byte
//! into 32 bits, and nothing on the way saturates. A call for few users takes several panels side by side, so
//! that there are enough independent sums to hide its latency.

use std::arch::x86_64::*;

use super::avx2::{self, word};
use super::{Hits, LANES, PANELS, Quantised, Query, ScanTable, Table, USERS};

pub(super) static TABLE: Table = Table {
    int8: ScanTable {
        query: |_| Query::Bytes(127),
        by_users: &[int8::<1, 8>, int8::<2, 4>, int8::<3, 2>, int8::<4, 2>, int8::<5, 2>, int8::<6, 2>],
    },
    int4: ScanTable {
        query: |_| Query::Bytes(127),
        by_users: &[int4::<1, 8>, int4::<2, 4>, int4::<3, 2>, int4::<4, 2>],
    },
    levels: 127,
    share: 32,
    fewest: 2048,
    ..avx2::TABLE
};

/// Items of a register, and registers of a block.
const HALF: usize = LANES / 2;
const HALVES: usize = 2 * PANELS;
/// How far ahead a scan for few users asks for lines, in lines at least.
const AHEAD: usize = 64;
/// Most users for whom it does.
const FEW: usize = 2;

/// # Safety
/// AVX2 and AVX-VNNI are there, and the lengths are those that [`super::Scanner::scan`] checks. `R` registers of
/// items are whole panels.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn int8<const U: usize, const R: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let items = Items::<U>::new(block);
    hits.masks = [0; USERS];
    let mut found = 0;
    for first in (0..HALVES).step_by(R) {
        // SAFETY: there are `U` starts.
        let mut sums = unsafe { starts::<U, R>(block) };
        for k in 0..items.width {
            let mut lines = [_mm256_setzero_si256(); R];
            for (r, line) in lines.iter_mut().enumerate() {
                // SAFETY: line k is inside the panels.
                *line = unsafe { items.half(first + r, k) };
            }
            for (j, sums) in sums.iter_mut().enumerate() {
                // SAFETY: there are `width * U` words.
                let query = unsafe { word(block.queries, k * U + j) };
                for (sum, line) in sums.iter_mut().zip(&lines) {
                    *sum = _mm256_dpbusd_avx_epi32(*sum, *line, query);
                }
            }
        }
        // SAFETY: there are `U` thresholds.
        found |= unsafe { integers(first, &sums, block, hits) };
    }
    found
}

/// # Safety
/// As for [`int8`].
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn int4<const U: usize, const R: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let items = Items::<U>::new(block);
    let nibble = _mm256_set1_epi8(15);
    hits.masks = [0; USERS];
    let mut found = 0;
    for first in (0..HALVES).step_by(R) {
        // SAFETY: there are `U` starts.
        let mut sums = unsafe { starts::<U, R>(block) };
        for k in 0..items.width {
            for r in 0..R {
                // SAFETY: line k is inside the panels.
                let both = unsafe { items.half(first + r, k) };
                let low = _mm256_and_si256(both, nibble);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), nibble);
                for (j, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: there are `2 * width * U` words.
                    let (first, second) = unsafe {
                        (word(block.queries, 2 * k * U + j), word(block.queries, (2 * k + 1) * U + j))
                    };
                    sums[r] = _mm256_dpbusd_avx_epi32(sums[r], low, first);
                    sums[r] = _mm256_dpbusd_avx_epi32(sums[r], high, second);
                }
            }
        }
        // SAFETY: there are `U` thresholds.
        found |= unsafe { integers(first, &sums, block, hits) };
    }
    found
}

/// Where the sums of each user start.
///
/// # Safety
/// AVX2 is there, and there are `U` starts.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn starts<const U: usize, const R: usize>(block: &Quantised<'_>) -> [[__m256i; R]; U] {
    let mut sums = [[_mm256_setzero_si256(); R]; U];
    for (j, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *sums = [unsafe { word(block.starts, j) }; R];
    }
    sums
}

/// The lines of a block that is scanned for `U` users, as registers of half a line.
struct Items<const U: usize> {
    first: *const __m256i,
    /// Lines of a panel.
    width: usize,
    /// How far ahead lines are asked for: whole blocks, so that it is in time although some panels are read side
    /// by side.
    ahead: usize,
}

impl<const U: usize> Items<U> {
    #[inline(always)]
    fn new(block: &Quantised<'_>) -> Self {
        let count = block.lines.len();
        let ahead = AHEAD.next_multiple_of(count.max(1));
        Self { first: block.lines.as_ptr().cast(), width: count / PANELS, ahead }
    }

    /// Half of a line.
    ///
    /// # Safety
    /// AVX2 is there, the half is below [`HALVES`], the line below the panels' width.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn half(&self, half: usize, line: usize) -> __m256i {
        let at = half / 2 * self.width + line;
        if U <= FEW && half.is_multiple_of(2) {
            avx2::ahead(self.first, at + self.ahead);
        }
        // SAFETY: the caller's promise; a line is two aligned registers.
        unsafe { _mm256_load_si256(self.first.add(2 * at + half % 2)) }
    }
}

/// Report the items of `R` registers from `first` on whose sums reach the threshold; the users who have one.
/// Always inlined, so that the sums stay where they are.
///
/// # Safety
/// AVX2 is there, and there are `U` thresholds.
#[inline(always)]
unsafe fn integers<const U: usize, const R: usize>(
    first: usize,
    sums: &[[__m256i; R]; U],
    block: &Quantised<'_>,
    hits: &mut Hits,
) -> u32 {
    let mut found = 0;
    // SAFETY: the caller's promise; a register is eight integers.
    unsafe {
        for (j, sums) in sums.iter().enumerate() {
            let mut most = sums[0];
            for &sum in &sums[1..] {
                most = _mm256_max_epi32(most, sum);
            }
            found |= u32::from(reached(most, block, j) != 0) << j;
        }
        if found != 0 {
            for (j, sums) in sums.iter().enumerate() {
                for (r, &sum) in sums.iter().enumerate() {
                    let start = (first + r) * HALF;
                    hits.masks[j] |= u64::from(reached(sum, block, j)) << start;
                    let target = hits.sums[j][start..][..HALF].as_mut_ptr();
                    _mm256_storeu_si256(target.cast(), sum);
                }
            }
        }
    }
    found
}

/// One bit for each sum that reaches the threshold of a user.
///
/// # Safety
/// AVX2 is there, and there is such a threshold.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn reached(sums: __m256i, block: &Quantised<'_>, user: usize) -> u8 {
    // SAFETY: the caller's promise.
    let least = unsafe { word(block.thresholds, user) };
    // A sum is at least the threshold where the larger of both is the sum.
    let above = _mm256_cmpeq_epi32(_mm256_max_epi32(sums, least), sums);
    _mm256_movemask_ps(_mm256_castsi256_ps(above)) as u8
}
