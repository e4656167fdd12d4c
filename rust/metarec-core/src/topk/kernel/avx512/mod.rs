//! AVX-512: one register holds one value of each item of a panel. With 32 registers a call keeps the sums of four
//! panels for six users, so that a broadcast query value serves four multiply-adds.

pub(super) mod bf16;
mod scan;
pub(super) mod vnni;

use std::arch::x86_64::*;

use super::{Block, LANES, Lanes, Query, ScanTable, Scores, Table, avx2};
use scan::{bf16, int4, int8};

pub(super) static TABLE: Table = Table {
    panels: super::exact_table!(wide panels),
    rows: avx2::rows,
    pack,
    int8: ScanTable {
        query: avx2::bytes,
        by_users: &[int8::<1>, int8::<2>, int8::<3>, int8::<4>, int8::<5>, int8::<6>],
    },
    int4: ScanTable { query: |_| Query::Bytes(127), by_users: &[int4::<1>, int4::<2>, int4::<3>, int4::<4>] },
    bf16: ScanTable {
        query: |_| Query::Floats,
        by_users: &[bf16::<1>, bf16::<2>, bf16::<3>, bf16::<4>, bf16::<5>],
    },
    levels: avx2::TABLE.levels,
    offset: 0,
    share: avx2::TABLE.share,
    fewest: avx2::TABLE.fewest,
};

/// # Safety
/// AVX-512 F is there, and the lengths are those that [`super::Kernels::score`] checks.
#[target_feature(enable = "avx512f")]
unsafe fn panels<const U: usize, const P: usize>(block: &Block<'_>, scores: &mut Scores) -> u32 {
    let width = block.panels.len() / P;
    let items = block.panels.as_ptr().cast::<f32>();
    let queries = block.queries.as_ptr();
    let mut sums = [[_mm512_setzero_ps(); P]; U];
    for k in 0..width {
        let mut lanes = [_mm512_setzero_ps(); P];
        for (p, lanes) in lanes.iter_mut().enumerate() {
            // SAFETY: panel p has `width` lanes of 16 aligned floats, and k < width.
            *lanes = unsafe { _mm512_load_ps(items.add((p * width + k) * LANES)) };
        }
        for (j, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there are `width * U` query values, j < U.
            let query = _mm512_set1_ps(unsafe { *queries.add(k * U + j) });
            for (sum, lanes) in sums.iter_mut().zip(&lanes) {
                *sum = _mm512_fmadd_ps(query, *lanes, *sum);
            }
        }
    }
    for (p, bias) in block.bias.iter().enumerate().take(P) {
        // SAFETY: a `Lanes` is 16 aligned floats.
        let bias = unsafe { _mm512_load_ps(bias.0.as_ptr()) };
        for sums in &mut sums {
            sums[p] = _mm512_add_ps(sums[p], bias);
        }
    }
    if let Some(extra) = block.extra {
        for (sums, extra) in sums.iter_mut().zip(extra) {
            for (p, sum) in sums.iter_mut().enumerate() {
                // SAFETY: each user's extra bias holds `P * 16` floats.
                *sum = _mm512_add_ps(*sum, unsafe { _mm512_loadu_ps(extra.as_ptr().add(p * LANES)) });
            }
        }
    }
    let mut hits = 0;
    for (j, sums) in sums.iter().enumerate() {
        let floor = _mm512_set1_ps(block.floors[j]);
        let mut any = 0;
        for (p, &sum) in sums.iter().enumerate() {
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(sum, floor);
            any |= above;
            scores.above[j * P + p] = above;
            // SAFETY: a `Lanes` is 16 aligned floats.
            unsafe { _mm512_store_ps(scores.lanes[j * P + p].0.as_mut_ptr(), sum) };
        }
        hits |= u32::from(any != 0) << j;
    }
    hits
}

/// Sixteen dimensions of all rows are transposed in registers and written a whole cache line each.
///
/// # Safety
/// AVX-512 F is there, and every row is as long as the panel.
#[target_feature(enable = "avx512f")]
unsafe fn pack(rows: &[&[f32]; LANES], panel: &mut [Lanes]) {
    for (chunk, panel) in panel.chunks_mut(LANES).enumerate() {
        let mask = u16::MAX >> (LANES - panel.len());
        // SAFETY: the mask admits only what is inside each row.
        let columns = transposed(
            rows.map(|row| unsafe { _mm512_maskz_loadu_ps(mask, row.as_ptr().wrapping_add(chunk * LANES)) }),
        );
        for (lanes, column) in panel.iter_mut().zip(columns) {
            // SAFETY: a `Lanes` is 16 aligned floats.
            unsafe { _mm512_store_ps(lanes.0.as_mut_ptr(), column) };
        }
    }
}

/// Four rows at a time within quarters, then the quarters of four such groups.
#[target_feature(enable = "avx512f")]
#[inline]
fn transposed(rows: [__m512; LANES]) -> [__m512; LANES] {
    let mut fours = [[_mm512_setzero_ps(); 4]; 4];
    for (four, rows) in fours.iter_mut().zip(rows.as_chunks::<4>().0) {
        let [a, b, c, d] = *rows;
        let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
        four[0] = _mm512_shuffle_ps::<0x44>(ab, cd);
        four[1] = _mm512_shuffle_ps::<0xee>(ab, cd);
        let (ab, cd) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
        four[2] = _mm512_shuffle_ps::<0x44>(ab, cd);
        four[3] = _mm512_shuffle_ps::<0xee>(ab, cd);
    }
    let mut columns = [_mm512_setzero_ps(); LANES];
    let [first, second, third, fourth] = fours;
    for column in 0..4 {
        let (a, b, c, d) = (first[column], second[column], third[column], fourth[column]);
        let (ab, cd) = (_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0x44>(c, d));
        columns[column] = _mm512_shuffle_f32x4::<0x88>(ab, cd);
        columns[4 + column] = _mm512_shuffle_f32x4::<0xdd>(ab, cd);
        let (ab, cd) = (_mm512_shuffle_f32x4::<0xee>(a, b), _mm512_shuffle_f32x4::<0xee>(c, d));
        columns[8 + column] = _mm512_shuffle_f32x4::<0x88>(ab, cd);
        columns[12 + column] = _mm512_shuffle_f32x4::<0xdd>(ab, cd);
    }
    columns
}
