//! Scans without dot products, and what all scans with NEON share.
//!
//! Bytes are multiplied into 16 bits and pairs of those added into 32, which nothing exceeds: items are made signed
//! first, by taking 128 off.

use std::arch::aarch64::*;

use super::super::{Hits, LANES, PANELS, Quantised, USERS};
use super::QUARTER;

/// What turns an unsigned byte into a signed one, when it is taken off.
pub(super) const SIGN: i32 = 128;

/// # Safety
/// The lengths are those that [`super::super::Scanner::scan`] checks.
#[target_feature(enable = "neon")]
pub(super) unsafe fn int8<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let width = block.lines.len() / PANELS;
    hits.masks = [0; USERS];
    let mut found = 0;
    for p in 0..PANELS {
        // SAFETY: there are `U` starts.
        let mut sums = unsafe { starts::<U>(block) };
        for k in 0..width {
            for quarter in 0..QUARTER {
                // SAFETY: line k is inside the panel.
                let items = signed(unsafe { items(block, p * width + k, quarter) });
                for (j, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: there are `width * U` words.
                    let query = unsafe { word(block.queries, k * U + j) };
                    // Two products of −128 ..= 127 and −127 ..= 127 stay below 2¹⁵.
                    let low = vmull_s8(vget_low_s8(items), vget_low_s8(query));
                    let high = vmull_high_s8(items, query);
                    sums[quarter] = vpadalq_s16(sums[quarter], vpaddq_s16(low, high));
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
#[target_feature(enable = "neon")]
pub(super) unsafe fn int4<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
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
                        (word(block.queries, 2 * k * U + j), word(block.queries, (2 * k + 1) * U + j))
                    };
                    // Four products of 0 ..= 15 and −127 ..= 127 stay far below 2¹⁵.
                    let left = vmull_s8(vget_low_s8(low), vget_low_s8(first));
                    let left = vmlal_s8(left, vget_low_s8(high), vget_low_s8(second));
                    let right = vmlal_high_s8(vmull_high_s8(low, first), high, second);
                    sums[quarter] = vpadalq_s16(sums[quarter], vpaddq_s16(left, right));
                }
            }
        }
        // SAFETY: there are `U` thresholds.
        found |= unsafe { integers(p, &sums, block, hits) };
    }
    found
}

/// # Safety
/// The lengths are those that [`super::super::Scanner::scan`] checks.
#[target_feature(enable = "neon")]
pub(super) unsafe fn bf16<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let width = block.lines.len() / PANELS;
    let upper = vdupq_n_u32(0xffff_0000);
    hits.masks = [0; USERS];
    let mut found = 0;
    for p in 0..PANELS {
        let mut sums = [[vdupq_n_f32(0.0); QUARTER]; U];
        for k in 0..width {
            for quarter in 0..QUARTER {
                // SAFETY: line k is inside the panel.
                let both = vreinterpretq_u32_u8(unsafe { items(block, p * width + k, quarter) });
                let even = vreinterpretq_f32_u32(vshlq_n_u32::<16>(both));
                let odd = vreinterpretq_f32_u32(vandq_u32(both, upper));
                for (j, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: there are `2 * width * U` words.
                    let (first, second) = unsafe {
                        (float(block.queries, 2 * k * U + j), float(block.queries, (2 * k + 1) * U + j))
                    };
                    sums[quarter] = vfmaq_n_f32(sums[quarter], even, first);
                    sums[quarter] = vfmaq_n_f32(sums[quarter], odd, second);
                }
            }
        }
        // SAFETY: there are `U` thresholds.
        found |= unsafe { floats(p, &sums, block, hits) };
    }
    found
}

/// A quarter of a line: four items.
///
/// # Safety
/// `line` is below the number of lines, `quarter` below [`QUARTER`].
#[target_feature(enable = "neon")]
#[inline]
pub(super) unsafe fn items(block: &Quantised<'_>, line: usize, quarter: usize) -> uint8x16_t {
    // SAFETY: the caller's promise; a line is 64 bytes.
    unsafe { vld1q_u8(block.lines.as_ptr().add(line).cast::<u8>().add(16 * quarter)) }
}

/// Bytes with [`SIGN`] taken off.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn signed(bytes: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(SIGN as u8)))
}

/// The low and the high half of every byte.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn nibbles(both: uint8x16_t) -> (int8x16_t, int8x16_t) {
    let (low, high) = (vandq_u8(both, vdupq_n_u8(15)), vshrq_n_u8::<4>(both));
    (vreinterpretq_s8_u8(low), vreinterpretq_s8_u8(high))
}

/// One query word in all lanes.
///
/// # Safety
/// `at` is below the number of words.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn word(words: &[i32], at: usize) -> int8x16_t {
    // SAFETY: the caller's promise.
    vreinterpretq_s8_s32(vdupq_n_s32(unsafe { *words.get_unchecked(at) }))
}

/// One query word as the float that it is, or whose bits it lends.
///
/// # Safety
/// `at` is below the number of words.
#[inline(always)]
pub(super) unsafe fn float(words: &[i32], at: usize) -> f32 {
    // SAFETY: the caller's promise.
    f32::from_bits(unsafe { *words.get_unchecked(at) } as u32)
}

/// Where the sums of each user start.
///
/// # Safety
/// There are `U` starts.
#[target_feature(enable = "neon")]
#[inline]
pub(super) unsafe fn starts<const U: usize>(block: &Quantised<'_>) -> [[int32x4_t; QUARTER]; U] {
    let mut sums = [[vdupq_n_s32(0); QUARTER]; U];
    for (j, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *sums = [vdupq_n_s32(unsafe { *block.starts.get_unchecked(j) }); QUARTER];
    }
    sums
}

/// Report the items of a panel whose integer sums reach the threshold; the users who have one. Always inlined,
/// so that the sums stay where they are.
///
/// # Safety
/// There are `U` thresholds.
#[inline(always)]
pub(super) unsafe fn integers<const U: usize>(
    panel: usize,
    sums: &[[int32x4_t; QUARTER]; U],
    block: &Quantised<'_>,
    hits: &mut Hits,
) -> u32 {
    let mut found = 0;
    // SAFETY: the caller's promise; NEON is part of AArch64.
    unsafe {
        for (j, &[a, b, c, d]) in sums.iter().enumerate() {
            let most = vmaxq_s32(vmaxq_s32(a, b), vmaxq_s32(c, d));
            found |= u32::from(vmaxvq_s32(most) >= *block.thresholds.get_unchecked(j)) << j;
        }
        if found != 0 {
            for (j, &[a, b, c, d]) in sums.iter().enumerate() {
                let least = vdupq_n_s32(*block.thresholds.get_unchecked(j));
                let reached =
                    bits(vcgeq_s32(a, least), vcgeq_s32(b, least), vcgeq_s32(c, least), vcgeq_s32(d, least));
                keep(hits, j, panel, reached, [a, b, c, d]);
            }
        }
    }
    found
}

/// The same for floating sums.
///
/// # Safety
/// There are `U` thresholds.
#[inline(always)]
unsafe fn floats<const U: usize>(
    panel: usize,
    sums: &[[float32x4_t; QUARTER]; U],
    block: &Quantised<'_>,
    hits: &mut Hits,
) -> u32 {
    let mut found = 0;
    // SAFETY: the caller's promise; NEON is part of AArch64.
    unsafe {
        for (j, &[a, b, c, d]) in sums.iter().enumerate() {
            let most = vmaxq_f32(vmaxq_f32(a, b), vmaxq_f32(c, d));
            found |= u32::from(vmaxvq_f32(most) >= float(block.thresholds, j)) << j;
        }
        if found != 0 {
            for (j, &[a, b, c, d]) in sums.iter().enumerate() {
                let least = vdupq_n_f32(float(block.thresholds, j));
                let reached =
                    bits(vcgeq_f32(a, least), vcgeq_f32(b, least), vcgeq_f32(c, least), vcgeq_f32(d, least));
                let sums = [a, b, c, d].map(|sum| vreinterpretq_s32_f32(sum));
                keep(hits, j, panel, reached, sums);
            }
        }
    }
    found
}

/// Keep the sums of a panel.
#[target_feature(enable = "neon")]
#[inline]
fn keep(hits: &mut Hits, user: usize, panel: usize, reached: u16, sums: [int32x4_t; QUARTER]) {
    hits.masks[user] |= u64::from(reached) << (panel * LANES);
    let target = hits.sums[user][panel * LANES..][..LANES].as_mut_ptr();
    for (quarter, sum) in sums.into_iter().enumerate() {
        // SAFETY: sixteen integers.
        unsafe { vst1q_s32(target.add(4 * quarter), sum) };
    }
}

/// One bit for each lane of a panel that is all ones.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn bits(a: uint32x4_t, b: uint32x4_t, c: uint32x4_t, d: uint32x4_t) -> u16 {
    const WEIGHTS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    let (low, high) = (
        vuzp1q_u16(vreinterpretq_u16_u32(a), vreinterpretq_u16_u32(b)),
        vuzp1q_u16(vreinterpretq_u16_u32(c), vreinterpretq_u16_u32(d)),
    );
    let bytes = vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high));
    // SAFETY: sixteen bytes.
    let weighted = vandq_u8(bytes, unsafe { vld1q_u8(WEIGHTS.as_ptr()) });
    u16::from(vaddv_u8(vget_low_u8(weighted))) | u16::from(vaddv_u8(vget_high_u8(weighted))) << 8
}
