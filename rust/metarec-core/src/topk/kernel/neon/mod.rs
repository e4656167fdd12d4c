//! NEON, which every AArch64 has: four registers hold one value of each item of a panel, and 32 registers the sums
//! of six pairs of user and panel.

pub(super) mod dot;
mod scan;

use std::arch::aarch64::*;

use super::{Block, CHAINS, LANES, Lanes, Query, ScanTable, Scores, Table};
use scan::{SIGN, bf16, bits, int4, int8};

pub(super) static TABLE: Table = Table {
    panels: super::exact_table!(panels),
    rows,
    pack,
    int8: ScanTable { query: |_| Query::Bytes(127), by_users: &[int8::<1>, int8::<2>, int8::<3>, int8::<4>] },
    int4: ScanTable { query: |_| Query::Bytes(127), by_users: &[int4::<1>, int4::<2>] },
    bf16: ScanTable { query: |_| Query::Floats, by_users: &[bf16::<1>, bf16::<2>, bf16::<3>, bf16::<4>] },
    levels: 127,
    offset: SIGN,
    share: 128,
    fewest: 4608,
};

/// Values of a register, and registers of a panel.
const QUARTER: usize = LANES / 4;

/// # Safety
/// The lengths are those that [`super::Kernels::score`] checks.
#[target_feature(enable = "neon")]
unsafe fn panels<const U: usize, const P: usize>(block: &Block<'_>, scores: &mut Scores) -> u32 {
    let width = block.panels.len() / P;
    let items = block.panels.as_ptr().cast::<f32>();
    let queries = block.queries.as_ptr();
    let mut sums = [[[vdupq_n_f32(0.0); QUARTER]; P]; U];
    for k in 0..width {
        for p in 0..P {
            // SAFETY: panel p has `width` lanes of 16 floats, and k < width.
            let lanes = unsafe { quarters(items.add((p * width + k) * LANES)) };
            for (j, sums) in sums.iter_mut().enumerate() {
                // SAFETY: there are `width * U` query values, j < U.
                let query = unsafe { *queries.add(k * U + j) };
                for (sum, lanes) in sums[p].iter_mut().zip(&lanes) {
                    *sum = vfmaq_n_f32(*sum, *lanes, query);
                }
            }
        }
    }
    for (p, bias) in block.bias.iter().enumerate().take(P) {
        // SAFETY: a `Lanes` is 16 floats.
        let bias = unsafe { quarters(bias.0.as_ptr()) };
        for sums in &mut sums {
            for (sum, bias) in sums[p].iter_mut().zip(&bias) {
                *sum = vaddq_f32(*sum, *bias);
            }
        }
    }
    if let Some(extra) = block.extra {
        for (sums, extra) in sums.iter_mut().zip(extra) {
            for (p, sums) in sums.iter_mut().enumerate() {
                // SAFETY: each user's extra bias holds `P * 16` floats.
                let extra = unsafe { quarters(extra.as_ptr().add(p * LANES)) };
                for (sum, extra) in sums.iter_mut().zip(&extra) {
                    *sum = vaddq_f32(*sum, *extra);
                }
            }
        }
    }
    let mut hits = 0;
    for (j, sums) in sums.iter().enumerate() {
        let floor = vdupq_n_f32(block.floors[j]);
        let mut any = vdupq_n_u32(0);
        for (p, sums) in sums.iter().enumerate() {
            let score = scores.lanes[j * P + p].0.as_mut_ptr();
            for (quarter, sum) in sums.iter().enumerate() {
                // SAFETY: as for the bias.
                unsafe { vst1q_f32(score.add(4 * quarter), *sum) };
                any = vorrq_u32(any, vcgtq_f32(*sum, floor));
            }
        }
        hits |= u32::from(vmaxvq_u32(any) != 0) << j;
    }
    if hits != 0 {
        for (j, sums) in sums.iter().enumerate() {
            let floor = vdupq_n_f32(block.floors[j]);
            for (p, [a, b, c, d]) in sums.iter().enumerate() {
                scores.above[j * P + p] = bits(
                    vcgtq_f32(*a, floor),
                    vcgtq_f32(*b, floor),
                    vcgtq_f32(*c, floor),
                    vcgtq_f32(*d, floor),
                );
            }
        }
    }
    hits
}

/// Four dimensions of four rows are transposed in registers, so that a register holds one dimension of four
/// rows and every lane runs its own chain.
///
/// # Safety
/// Every row is as long as the query.
#[target_feature(enable = "neon")]
unsafe fn rows(query: &[f32], rows: &[&[f32]; CHAINS]) -> [f32; CHAINS] {
    let mut sums = [vdupq_n_f32(0.0); CHAINS / 4];
    let (whole, rest) = query.as_chunks::<4>();
    for (chunk, values) in whole.iter().enumerate() {
        for (sum, rows) in sums.iter_mut().zip(rows.as_chunks::<4>().0) {
            // SAFETY: the chunk is inside the query, and so inside each row.
            let columns = unsafe { columns(rows, 4 * chunk) };
            for (column, value) in columns.iter().zip(values) {
                *sum = vfmaq_n_f32(*sum, *column, *value);
            }
        }
    }
    let mut chains = [0.0; CHAINS];
    for (chains, sum) in chains.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
        // SAFETY: four floats.
        unsafe { vst1q_f32(chains.as_mut_ptr(), sum) };
    }
    for (chain, row) in chains.iter_mut().zip(rows) {
        for (value, item) in rest.iter().zip(&row[4 * whole.len()..]) {
            *chain = value.mul_add(*item, *chain);
        }
    }
    chains
}

/// # Safety
/// Every row is as long as the panel.
#[target_feature(enable = "neon")]
unsafe fn pack(rows: &[&[f32]; LANES], panel: &mut [Lanes]) {
    let whole = panel.len() / 4 * 4;
    for start in (0..whole).step_by(4) {
        for (quarter, rows) in rows.as_chunks::<4>().0.iter().enumerate() {
            // SAFETY: start + 4 <= whole <= the length of each row.
            let columns = unsafe { columns(rows, start) };
            for (lanes, column) in panel[start..][..4].iter_mut().zip(&columns) {
                // SAFETY: a `Lanes` is four registers.
                unsafe { vst1q_f32(lanes.0.as_mut_ptr().add(4 * quarter), *column) };
            }
        }
    }
    for (k, lanes) in panel.iter_mut().enumerate().skip(whole) {
        *lanes = Lanes(rows.map(|row| row[k]));
    }
}

/// Four dimensions of four rows from `start` on, each a register.
///
/// # Safety
/// Every row has them.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn columns(rows: &[&[f32]; 4], start: usize) -> [float32x4_t; 4] {
    let mut values = [vdupq_n_f32(0.0); 4];
    for (values, row) in values.iter_mut().zip(rows) {
        // SAFETY: the caller's promise.
        *values = unsafe { vld1q_f32(row.as_ptr().add(start)) };
    }
    let [a, b, c, d] = values;
    let pair = |x, y| (vreinterpretq_f64_f32(vtrn1q_f32(x, y)), vreinterpretq_f64_f32(vtrn2q_f32(x, y)));
    let ((even_ab, odd_ab), (even_cd, odd_cd)) = (pair(a, b), pair(c, d));
    [
        vreinterpretq_f32_f64(vtrn1q_f64(even_ab, even_cd)),
        vreinterpretq_f32_f64(vtrn1q_f64(odd_ab, odd_cd)),
        vreinterpretq_f32_f64(vtrn2q_f64(even_ab, even_cd)),
        vreinterpretq_f32_f64(vtrn2q_f64(odd_ab, odd_cd)),
    ]
}

/// The four registers of a `Lanes`.
///
/// # Safety
/// There are sixteen floats.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn quarters(lanes: *const f32) -> [float32x4_t; QUARTER] {
    let mut quarters = [vdupq_n_f32(0.0); QUARTER];
    for (at, quarter) in quarters.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *quarter = unsafe { vld1q_f32(lanes.add(4 * at)) };
    }
    quarters
}
