//! Rows into lanes: the transposition that brings sixteen vectors side by side.

use super::lanes::{LANES, Lanes};
use crate::isa::Isa;

/// Columns are turned so many at a time.
pub(super) const STEP: usize = 8;

/// `out[c][l] = source[starts[l] + c]` for every column of `out`, whose length is a multiple of 8.
///
/// Nothing is computed, so every instruction set gives the same bits.
pub(super) fn turn(source: &[f32], starts: &[usize; LANES], out: &mut [Lanes]) {
    let last = starts.iter().fold(0, |last, &start| last.max(start));
    assert!(
        out.len().is_multiple_of(STEP) && last <= source.len() && source.len() - last >= out.len(),
        "rows shorter than the columns"
    );
    #[cfg(target_arch = "x86_64")]
    if Isa::current().is_ok_and(Isa::avx2) {
        // SAFETY: an `Isa` exists only where the machine has its instructions; lengths are checked above.
        return unsafe { avx2::turn(source, starts, out) };
    }
    portable(source, starts, out);
}

/// Values in a cache line.
const LINE: usize = 16;

/// Ask for the `length` values from `start` on to be brought near; a hint, without effect on results.
#[inline(always)]
pub(super) fn prefetch(source: &[f32], start: usize, length: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in source[start..start + length].chunks(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program sees, and SSE is part of every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (source, start, length);
}

fn portable(source: &[f32], starts: &[usize; LANES], out: &mut [Lanes]) {
    for (lane, &start) in starts.iter().enumerate() {
        for (out, &value) in out.iter_mut().zip(&source[start..]) {
            out[lane] = value;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{LANES, Lanes, STEP};

    /// 8 × 4 tiles: rows i and i + 4 share a register, which leaves two levels of shuffles within its halves.
    ///
    /// # Safety
    /// AVX2; `out.len()`, a multiple of 8, values from each start on.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn turn(source: &[f32], starts: &[usize; LANES], out: &mut [Lanes]) {
        let columns = out.len();
        for first in (0..LANES).step_by(STEP) {
            // SAFETY: the columns exist from every start on and in `out`; first + 8 ≤ 16 lanes.
            unsafe {
                let rows: [*const f32; STEP] =
                    std::array::from_fn(|lane| source.as_ptr().add(starts[first + lane]));
                let out = out.as_mut_ptr().cast::<f32>().add(first);
                for column in (0..columns).step_by(4) {
                    let pair = |row: usize| {
                        let (low, high) = (rows[row].add(column), rows[row + 4].add(column));
                        _mm256_set_m128(_mm_loadu_ps(high), _mm_loadu_ps(low))
                    };
                    let (a, b, c, d) = (pair(0), pair(1), pair(2), pair(3));
                    let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                    let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                    let turned = [
                        _mm256_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low),
                        _mm256_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low),
                        _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                        _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
                    ];
                    for (step, values) in turned.into_iter().enumerate() {
                        _mm256_storeu_ps(out.add((column + step) * LANES), values);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_finds_its_lane() {
        let source: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let starts: [usize; LANES] = std::array::from_fn(|lane| lane * 41 % 17 * 60);
        for columns in [0, 8, 16, 40] {
            let (mut out, mut plain) = (vec![[-1.0; LANES]; columns], vec![[-2.0; LANES]; columns]);
            turn(&source, &starts, &mut out);
            portable(&source, &starts, &mut plain);
            for (column, lanes) in out.iter().enumerate() {
                assert_eq!(*lanes, starts.map(|start| (start + column) as f32));
            }
            assert_eq!(out, plain);
        }
    }

    #[test]
    #[should_panic(expected = "rows shorter than the columns")]
    fn a_row_beyond_the_source_is_refused() {
        let mut starts = [0; LANES];
        starts[7] = 25;
        turn(&[0.0; 32], &starts, &mut [[0.0; LANES]; 8]);
    }
}
