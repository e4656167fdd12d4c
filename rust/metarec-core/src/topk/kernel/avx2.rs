//! AVX2 with FMA: two registers of eight items per panel, a broadcast query value, the sums in registers.

use std::arch::x86_64::*;

use super::{Block, CHAINS, LANES, Lanes, Scores};

super::table!(panels, pairs);

const HALF: usize = LANES / 2;

/// # Safety
/// AVX2 and FMA are there, and the lengths are those that [`super::Kernels::score`] checks.
#[target_feature(enable = "avx2,fma")]
unsafe fn panels<const U: usize, const P: usize>(block: &Block<'_>, scores: &mut Scores) -> u32 {
    let width = block.panels.len() / P;
    let items = block.panels.as_ptr().cast::<f32>();
    let queries = block.queries.as_ptr();
    let mut sums = [[[_mm256_setzero_ps(); 2]; P]; U];
    for k in 0..width {
        for p in 0..P {
            // The same dimension of the panels of the next call, which may lie past the end: a prefetch
            // never faults. Hardware streams end with each page, and few users compute too little per line
            // to hide a miss.
            _mm_prefetch::<_MM_HINT_T0>(items.wrapping_add(((P + p) * width + k) * LANES).cast());
            // SAFETY: panel p has `width` lanes of 16 aligned floats, and k < width.
            let (low, high) = unsafe {
                let lanes = items.add((p * width + k) * LANES);
                (_mm256_load_ps(lanes), _mm256_load_ps(lanes.add(HALF)))
            };
            for (j, sums) in sums.iter_mut().enumerate() {
                // SAFETY: there are `width * U` query values, j < U.
                let query = unsafe { _mm256_broadcast_ss(&*queries.add(k * U + j)) };
                sums[p][0] = _mm256_fmadd_ps(query, low, sums[p][0]);
                sums[p][1] = _mm256_fmadd_ps(query, high, sums[p][1]);
            }
        }
    }
    let mut hits = 0;
    for (j, sums) in sums.iter_mut().enumerate() {
        let floor = _mm256_set1_ps(block.floors[j]);
        let mut any = _mm256_setzero_ps();
        for (p, sums) in sums.iter_mut().enumerate() {
            let bias = block.bias[p].0.as_ptr();
            let score = scores.lanes[j * P + p].0.as_mut_ptr();
            for (half, sum) in sums.iter_mut().enumerate() {
                // SAFETY: both halves lie inside the 16 aligned floats of a `Lanes`.
                *sum = _mm256_add_ps(*sum, unsafe { _mm256_load_ps(bias.add(half * HALF)) });
                if let Some(extra) = block.extra {
                    // SAFETY: each user's extra bias holds `P * 16` floats.
                    let extra = unsafe { _mm256_loadu_ps(extra[j].as_ptr().add(p * LANES + half * HALF)) };
                    *sum = _mm256_add_ps(*sum, extra);
                }
                // SAFETY: as for the bias.
                unsafe { _mm256_store_ps(score.add(half * HALF), *sum) };
                any = _mm256_or_ps(any, _mm256_cmp_ps::<_CMP_GT_OQ>(*sum, floor));
            }
        }
        if _mm256_movemask_ps(any) != 0 {
            hits |= 1 << j;
            for (p, sums) in sums.iter().enumerate() {
                let [low, high] =
                    sums.map(|sum| _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(sum, floor)) as u16);
                scores.above[j * P + p] = low | high << HALF;
            }
        }
    }
    hits
}

/// Eight chains at a time; the compiler keeps their sums in registers, one fused multiply-add each.
///
/// # Safety
/// AVX2 and FMA are there.
#[target_feature(enable = "avx2,fma")]
unsafe fn pairs(pairs: &[(&[f32], &[Lanes], usize); CHAINS]) -> [f32; CHAINS] {
    let width = pairs[0].0.len();
    let mut sums = [0.0_f32; CHAINS];
    for k in 0..width {
        for (sum, &(query, panel, lane)) in sums.iter_mut().zip(pairs) {
            *sum = query[k].mul_add(panel[k].0[lane], *sum);
        }
    }
    sums
}
