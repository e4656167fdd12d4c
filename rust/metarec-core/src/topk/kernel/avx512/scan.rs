//! Scans without dot products, and what all scans with AVX-512 share.
//!
//! Integers are multiplied as those of [`avx2`] are, twice as wide and under the same rule that nothing
//! saturates.

use std::arch::x86_64::*;

use super::super::{Hits, LANES, PANELS, Quantised, USERS, avx2};

/// How far ahead a scan for few users asks for lines, in lines at least.
const AHEAD: usize = 128;
/// Most users for whom it does.
const FEW: usize = 2;
/// Panels that an integer scan without dot products takes at once.
const PAIR: usize = 2;

/// # Safety
/// AVX-512 F and BW are there, the lengths are those that [`super::super::Scanner::scan`] checks, and query bytes are as
/// small as [`avx2::bytes`] says.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn int8<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let items = Items::<U>::new(block);
    let ones = _mm512_set1_epi16(1);
    hits.masks = [0; USERS];
    let mut found = 0;
    for first in (0..PANELS).step_by(PAIR) {
        // SAFETY: there are `U` starts.
        let mut sums = unsafe { starts::<U, PAIR>(block) };
        let whole = items.width / 2 * 2;
        for k in (0..whole).step_by(2) {
            // SAFETY: lines k and k + 1 are inside the panels.
            let (even, odd) = unsafe { (items.lines::<PAIR>(first, k), items.lines::<PAIR>(first, k + 1)) };
            for (j, sums) in sums.iter_mut().enumerate() {
                // SAFETY: there are `width * U` words.
                let (low, high) =
                    unsafe { (word(block.queries, k * U + j), word(block.queries, (k + 1) * U + j)) };
                for (p, sum) in sums.iter_mut().enumerate() {
                    let two = _mm512_maddubs_epi16(even[p], low);
                    let four = _mm512_add_epi16(two, _mm512_maddubs_epi16(odd[p], high));
                    *sum = _mm512_add_epi32(*sum, _mm512_madd_epi16(four, ones));
                }
            }
        }
        if whole < items.width {
            // SAFETY: the last line is inside the panels.
            let last = unsafe { items.lines::<PAIR>(first, whole) };
            for (j, sums) in sums.iter_mut().enumerate() {
                // SAFETY: there are `width * U` words.
                let query = unsafe { word(block.queries, whole * U + j) };
                for (sum, line) in sums.iter_mut().zip(&last) {
                    let two = _mm512_maddubs_epi16(*line, query);
                    *sum = _mm512_add_epi32(*sum, _mm512_madd_epi16(two, ones));
                }
            }
        }
        // SAFETY: there are `U` thresholds.
        found |= unsafe { integers(first, &sums, block, hits) };
    }
    found
}

/// # Safety
/// As for [`int8`]; sixteen products of a byte and an item in 0 ..= 15 stay below 2¹⁵.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn int4<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    const STEP: usize = 4;
    let items = Items::<U>::new(block);
    let ones = _mm512_set1_epi16(1);
    hits.masks = [0; USERS];
    let mut found = 0;
    for first in (0..PANELS).step_by(PAIR) {
        // SAFETY: there are `U` starts.
        let mut sums = unsafe { starts::<U, PAIR>(block) };
        for start in (0..items.width).step_by(STEP) {
            let mut parts = [[_mm512_setzero_si512(); PAIR]; U];
            for k in start..items.width.min(start + STEP) {
                // SAFETY: line k is inside the panels.
                let both = unsafe { items.lines::<PAIR>(first, k) };
                let (low, high) = nibbles(&both);
                for (j, parts) in parts.iter_mut().enumerate() {
                    // SAFETY: there are `2 * width * U` words.
                    let (first, second) = unsafe {
                        (word(block.queries, 2 * k * U + j), word(block.queries, (2 * k + 1) * U + j))
                    };
                    for (p, part) in parts.iter_mut().enumerate() {
                        let two = _mm512_maddubs_epi16(low[p], first);
                        let four = _mm512_add_epi16(two, _mm512_maddubs_epi16(high[p], second));
                        *part = _mm512_add_epi16(*part, four);
                    }
                }
            }
            for (sums, parts) in sums.iter_mut().zip(&parts) {
                for (sum, part) in sums.iter_mut().zip(parts) {
                    *sum = _mm512_add_epi32(*sum, _mm512_madd_epi16(*part, ones));
                }
            }
        }
        // SAFETY: there are `U` thresholds.
        found |= unsafe { integers(first, &sums, block, hits) };
    }
    found
}

/// # Safety
/// AVX-512 F is there, and the lengths are those that [`super::super::Scanner::scan`] checks.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn bf16<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let items = Items::<U>::new(block);
    let upper = _mm512_set1_epi32(!0xffff);
    let mut sums = [[_mm512_setzero_ps(); PANELS]; U];
    for k in 0..items.width {
        // SAFETY: line k is inside the panels.
        let both = unsafe { items.lines::<PANELS>(0, k) };
        for (p, both) in both.into_iter().enumerate() {
            let even = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(both));
            let odd = _mm512_castsi512_ps(_mm512_and_si512(both, upper));
            for (j, sums) in sums.iter_mut().enumerate() {
                // SAFETY: there are `2 * width * U` words.
                let (first, second) =
                    unsafe { (word(block.queries, 2 * k * U + j), word(block.queries, (2 * k + 1) * U + j)) };
                sums[p] = _mm512_fmadd_ps(_mm512_castsi512_ps(first), even, sums[p]);
                sums[p] = _mm512_fmadd_ps(_mm512_castsi512_ps(second), odd, sums[p]);
            }
        }
    }
    hits.masks = [0; USERS];
    // SAFETY: there are `U` thresholds.
    unsafe { floats(&sums, block, hits) }
}

/// The lines of a block that is scanned for `U` users.
pub(super) struct Items<const U: usize> {
    first: *const __m512i,
    /// Lines of a panel.
    pub(super) width: usize,
    /// How far ahead lines are asked for: whole blocks, so that it is in time although the panels of a block
    /// are read side by side.
    ahead: usize,
}

impl<const U: usize> Items<U> {
    #[inline(always)]
    pub(super) fn new(block: &Quantised<'_>) -> Self {
        let count = block.lines.len();
        let ahead = AHEAD.next_multiple_of(count.max(1));
        Self { first: block.lines.as_ptr().cast(), width: count / PANELS, ahead }
    }

    /// The same line of `P` panels.
    ///
    /// # Safety
    /// AVX-512 F is there, the panels are below [`PANELS`], the line below their width.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) unsafe fn lines<const P: usize>(&self, first: usize, line: usize) -> [__m512i; P] {
        let mut lines = [_mm512_setzero_si512(); P];
        for (p, value) in lines.iter_mut().enumerate() {
            let at = (first + p) * self.width + line;
            if U <= FEW {
                avx2::ahead(self.first, at + self.ahead);
            }
            // SAFETY: the caller's promise; a line is an aligned register.
            *value = unsafe { _mm512_load_si512(self.first.add(at)) };
        }
        lines
    }
}

/// The low and the high halves of all bytes.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
pub(super) fn nibbles<const P: usize>(both: &[__m512i; P]) -> ([__m512i; P], [__m512i; P]) {
    let (mut low, mut high) = (*both, *both);
    for (low, high) in low.iter_mut().zip(&mut high) {
        *low = _mm512_and_si512(*low, _mm512_set1_epi8(15));
        *high = _mm512_and_si512(_mm512_srli_epi16::<4>(*high), _mm512_set1_epi8(15));
    }
    (low, high)
}

/// One word in all lanes.
///
/// # Safety
/// `at` is below the number of words.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn word(words: &[i32], at: usize) -> __m512i {
    // SAFETY: the caller's promise.
    _mm512_set1_epi32(unsafe { *words.get_unchecked(at) })
}

/// Where the sums of each user start.
///
/// # Safety
/// AVX-512 F is there, and there are `U` starts.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn starts<const U: usize, const P: usize>(block: &Quantised<'_>) -> [[__m512i; P]; U] {
    let mut sums = [[_mm512_setzero_si512(); P]; U];
    for (j, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *sums = [unsafe { word(block.starts, j) }; P];
    }
    sums
}

/// Report the items of panels from `first` on whose integer sums reach the threshold; the users who have one.
/// Always inlined, so that the sums stay where they are.
///
/// # Safety
/// AVX-512 F is there, and there are `U` thresholds.
#[inline(always)]
pub(super) unsafe fn integers<const U: usize, const P: usize>(
    first: usize,
    sums: &[[__m512i; P]; U],
    block: &Quantised<'_>,
    hits: &mut Hits,
) -> u32 {
    let mut found = 0;
    // SAFETY: the caller's promise.
    unsafe {
        for (j, sums) in sums.iter().enumerate() {
            let mut most = sums[0];
            for &sum in &sums[1..] {
                most = _mm512_max_epi32(most, sum);
            }
            let reached = _mm512_cmpge_epi32_mask(most, word(block.thresholds, j));
            found |= u32::from(reached != 0) << j;
        }
        if found != 0 {
            for (j, sums) in sums.iter().enumerate() {
                for (p, &sum) in sums.iter().enumerate() {
                    let reached = _mm512_cmpge_epi32_mask(sum, word(block.thresholds, j));
                    keep(hits, j, first + p, reached, sum);
                }
            }
        }
    }
    found
}

/// The same for the floating sums of a block.
///
/// # Safety
/// AVX-512 F is there, and there are `U` thresholds.
#[inline(always)]
pub(super) unsafe fn floats<const U: usize>(
    sums: &[[__m512; PANELS]; U],
    block: &Quantised<'_>,
    hits: &mut Hits,
) -> u32 {
    let mut found = 0;
    // SAFETY: the caller's promise.
    unsafe {
        for (j, sums) in sums.iter().enumerate() {
            let mut most = sums[0];
            for &sum in &sums[1..] {
                most = _mm512_max_ps(most, sum);
            }
            let least = _mm512_castsi512_ps(word(block.thresholds, j));
            found |= u32::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(most, least) != 0) << j;
        }
        if found != 0 {
            for (j, sums) in sums.iter().enumerate() {
                let least = _mm512_castsi512_ps(word(block.thresholds, j));
                for (p, &sum) in sums.iter().enumerate() {
                    let reached = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(sum, least);
                    keep(hits, j, p, reached, _mm512_castps_si512(sum));
                }
            }
        }
    }
    found
}

/// Keep the sums of a panel.
#[target_feature(enable = "avx512f")]
#[inline]
fn keep(hits: &mut Hits, user: usize, panel: usize, reached: __mmask16, sums: __m512i) {
    hits.masks[user] |= u64::from(reached) << (panel * LANES);
    let target = hits.sums[user][panel * LANES..][..LANES].as_mut_ptr().cast();
    // SAFETY: sixteen integers.
    unsafe { _mm512_storeu_si512(target, sums) };
}
