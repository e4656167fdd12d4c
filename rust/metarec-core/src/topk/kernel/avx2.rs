//! AVX2 with FMA. Exact scores: two registers of eight items per panel, a broadcast query value, the sums in
//! registers.
//!
//! Integer scans: without VNNI the product of bytes is `vpmaddubsw`, which adds two products into 16 bits with
//! saturation. Queries are kept so small that four products (int8) or sixteen (int4) can't reach 2¹⁵, and only
//! then the sums go to 32 bits: 1.5 multiply instructions for 32 products instead of 2.

use std::arch::x86_64::*;

use super::{Block, CHAINS, Hits, LANES, Lanes, PANELS, Quantised, Query, ScanTable, Scores, Table, USERS};

pub(super) static TABLE: Table = Table {
    panels: super::exact_table!(panels),
    rows,
    pack,
    int8: ScanTable { query: bytes, by_users: &[int8::<1>, int8::<2>, int8::<3>] },
    int4: ScanTable { query: |_| Query::Bytes(127), by_users: &[int4::<1>, int4::<2>] },
    bf16: ScanTable {
        query: |_| Query::Floats,
        by_users: &[bf16::<1>, bf16::<2>, bf16::<3>, bf16::<4>, bf16::<5>],
    },
    levels: 63,
    offset: 0,
    share: 96,
    fewest: 4608,
};

/// Report the lanes of a panel that are set in `above`; the users who have one. A macro without a loop over
/// users, because sums that are handed to a function or picked by a variable have to be in memory all the time.
macro_rules! report {
    ($panel:expr, $above:ident, $sums:ident, $hits:expr) => {{
        let mut any = _mm256_setzero_si256();
        for above in &$above {
            any = _mm256_or_si256(any, _mm256_or_si256(above[0], above[1]));
        }
        let mut found = 0;
        if _mm256_testz_si256(any, any) == 0 {
            report!(user 0, $panel, $above, $sums, $hits, found);
            report!(user 1, $panel, $above, $sums, $hits, found);
            report!(user 2, $panel, $above, $sums, $hits, found);
            report!(user 3, $panel, $above, $sums, $hits, found);
            report!(user 4, $panel, $above, $sums, $hits, found);
        }
        found
    }};
    (user $user:literal, $panel:expr, $above:ident, $sums:ident, $hits:expr, $found:ident) => {
        if U > $user {
            // A constant index below U; the remainder only keeps the compiler from refusing the others.
            const USER: usize = $user;
            let (above, sums) = ($above[USER % U], $sums[USER % U]);
            let low = _mm256_movemask_ps(_mm256_castsi256_ps(above[0])) as u64;
            let high = _mm256_movemask_ps(_mm256_castsi256_ps(above[1])) as u64;
            $found |= u32::from(low | high != 0) << USER;
            $hits.masks[USER] |= (low | high << HALF) << ($panel * LANES);
            let target = $hits.sums[USER][$panel * LANES..][..LANES].as_mut_ptr().cast::<__m256i>();
            // SAFETY: sixteen integers.
            unsafe {
                _mm256_storeu_si256(target, sums[0]);
                _mm256_storeu_si256(target.add(1), sums[1]);
            }
        }
    };
}

const HALF: usize = LANES / 2;
/// How far ahead a scan for few users asks for lines, in lines.
const AHEAD: usize = 64;

/// Four products of a query byte and an item byte in 0 ..= 2·levels stay below 2¹⁵.
pub(super) fn bytes(levels: i32) -> Query {
    Query::Bytes((i32::from(i16::MAX) / (4 * 2 * levels)).min(127))
}

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

/// Eight rows at a time: eight dimensions of each are transposed in registers, so that a register holds one
/// dimension of all rows and every lane runs its own chain.
///
/// # Safety
/// AVX2 and FMA are there, and every row is as long as the query.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn rows(query: &[f32], rows: &[&[f32]; CHAINS]) -> [f32; CHAINS] {
    let whole = query.len() / CHAINS * CHAINS;
    let mut sums = _mm256_setzero_ps();
    for start in (0..whole).step_by(CHAINS) {
        // SAFETY: start + 8 <= whole <= the length of each row.
        let columns = transposed(unsafe { eight(rows, start) });
        for (column, value) in columns.into_iter().zip(&query[start..]) {
            sums = _mm256_fmadd_ps(_mm256_set1_ps(*value), column, sums);
        }
    }
    let mut chains = [0.0; CHAINS];
    // SAFETY: eight floats.
    unsafe { _mm256_storeu_ps(chains.as_mut_ptr(), sums) };
    for (chain, row) in chains.iter_mut().zip(rows) {
        for (value, item) in query[whole..].iter().zip(&row[whole..]) {
            *chain = value.mul_add(*item, *chain);
        }
    }
    chains
}

/// # Safety
/// AVX2 is there, and every row is as long as the panel.
#[target_feature(enable = "avx2")]
unsafe fn pack(rows: &[&[f32]; LANES], panel: &mut [Lanes]) {
    let whole = panel.len() / HALF * HALF;
    for start in (0..whole).step_by(HALF) {
        if start % LANES == 0 {
            for row in rows {
                // The panel after this one, if its rows follow on these; a prefetch never faults.
                _mm_prefetch::<_MM_HINT_T0>(row.as_ptr().wrapping_add(LANES * panel.len() + start).cast());
            }
        }
        for (half, rows) in rows.as_chunks::<HALF>().0.iter().enumerate() {
            // SAFETY: start + 8 <= whole <= the length of each row.
            let columns = transposed(unsafe { eight(rows, start) });
            for (lanes, column) in panel[start..].iter_mut().zip(columns) {
                // SAFETY: each half of a `Lanes` is eight aligned floats.
                unsafe { _mm256_store_ps(lanes.0.as_mut_ptr().add(half * HALF), column) };
            }
        }
    }
    for (k, lanes) in panel.iter_mut().enumerate().skip(whole) {
        *lanes = Lanes(rows.map(|row| row[k]));
    }
}

/// Eight values of each row from `start` on.
///
/// # Safety
/// AVX2 is there, and every row has them.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn eight(rows: &[&[f32]; HALF], start: usize) -> [__m256; HALF] {
    let mut values = [_mm256_setzero_ps(); HALF];
    for (value, row) in values.iter_mut().zip(rows) {
        // SAFETY: the caller's promise.
        *value = unsafe { _mm256_loadu_ps(row.as_ptr().add(start)) };
    }
    values
}

#[target_feature(enable = "avx2")]
#[inline]
fn transposed(rows: [__m256; 8]) -> [__m256; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    let pairs = |x, y| (_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y));
    let ((ab0, ab1), (cd0, cd1), (ef0, ef1), (gh0, gh1)) =
        (pairs(a, b), pairs(c, d), pairs(e, f), pairs(g, h));
    let quads = |x, y| (_mm256_shuffle_ps::<0x44>(x, y), _mm256_shuffle_ps::<0xee>(x, y));
    let ((p0, p1), (p2, p3)) = (quads(ab0, cd0), quads(ab1, cd1));
    let ((q0, q1), (q2, q3)) = (quads(ef0, gh0), quads(ef1, gh1));
    let low = |x, y| _mm256_permute2f128_ps::<0x20>(x, y);
    let high = |x, y| _mm256_permute2f128_ps::<0x31>(x, y);
    [
        low(p0, q0),
        low(p1, q1),
        low(p2, q2),
        low(p3, q3),
        high(p0, q0),
        high(p1, q1),
        high(p2, q2),
        high(p3, q3),
    ]
}

/// Three users at most: their sums, two lines of items and the temporaries fill the sixteen registers.
///
/// # Safety
/// AVX2 is there, the lengths are those that [`super::Scanner::scan`] checks, and query bytes are as small as
/// [`bytes`] says.
#[target_feature(enable = "avx2")]
unsafe fn int8<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let width = block.lines.len() / PANELS;
    let ones = _mm256_set1_epi16(1);
    hits.masks = [0; USERS];
    let mut found = 0;
    for p in 0..PANELS {
        let items = block.lines[p * width..].as_ptr().cast::<__m256i>();
        let mut sums = [[_mm256_setzero_si256(); 2]; U];
        for (sums, start) in sums.iter_mut().zip(block.starts) {
            *sums = [_mm256_set1_epi32(*start); 2];
        }
        let mut k = 0;
        while k + 1 < width {
            if U <= 2 {
                ahead(items, k + AHEAD);
                ahead(items, k + 1 + AHEAD);
            }
            // SAFETY: lines k and k + 1 of the panel are two registers each.
            let lines: [__m256i; 4] =
                std::array::from_fn(|at| unsafe { _mm256_load_si256(items.add(2 * k + at)) });
            for (j, sums) in sums.iter_mut().enumerate() {
                // SAFETY: there are `width * U` words.
                let (first, second) =
                    unsafe { (word(block.queries, k * U + j), word(block.queries, (k + 1) * U + j)) };
                let low = _mm256_maddubs_epi16(lines[0], first);
                let low = _mm256_add_epi16(low, _mm256_maddubs_epi16(lines[2], second));
                sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(low, ones));
                let high = _mm256_maddubs_epi16(lines[1], first);
                let high = _mm256_add_epi16(high, _mm256_maddubs_epi16(lines[3], second));
                sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(high, ones));
            }
            k += 2;
        }
        if k < width {
            // SAFETY: as above, for the last line.
            let (low, high) =
                unsafe { (_mm256_load_si256(items.add(2 * k)), _mm256_load_si256(items.add(2 * k + 1))) };
            for (j, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as above.
                let first = unsafe { word(block.queries, k * U + j) };
                let (low, high) = (_mm256_maddubs_epi16(low, first), _mm256_maddubs_epi16(high, first));
                sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(low, ones));
                sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(high, ones));
            }
        }
        let mut above = [[_mm256_setzero_si256(); 2]; U];
        for (j, above) in above.iter_mut().enumerate() {
            // Thresholds are far from the ends of the range.
            let below = _mm256_set1_epi32(block.thresholds[j] - 1);
            above[0] = _mm256_cmpgt_epi32(sums[j][0], below);
            above[1] = _mm256_cmpgt_epi32(sums[j][1], below);
        }
        found |= report!(p, above, sums, hits);
    }
    found
}

/// # Safety
/// As for [`int8`]; sixteen products of a byte and an item in 0 ..= 15 stay below 2¹⁵.
#[target_feature(enable = "avx2")]
unsafe fn int4<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    const STEP: usize = 4;
    let width = block.lines.len() / PANELS;
    let (ones, nibble) = (_mm256_set1_epi16(1), _mm256_set1_epi8(15));
    hits.masks = [0; USERS];
    let mut found = 0;
    for p in 0..PANELS {
        let items = block.lines[p * width..].as_ptr().cast::<__m256i>();
        let mut sums = [[_mm256_setzero_si256(); 2]; U];
        for (sums, start) in sums.iter_mut().zip(block.starts) {
            *sums = [_mm256_set1_epi32(*start); 2];
        }
        for start in (0..width).step_by(STEP) {
            let mut parts = [[_mm256_setzero_si256(); 2]; U];
            for k in start..width.min(start + STEP) {
                if U <= 2 {
                    ahead(items, k + AHEAD);
                }
                for half in 0..2 {
                    // SAFETY: line k of the panel is two registers; there are `2 * width * U` words.
                    let both = unsafe { _mm256_load_si256(items.add(2 * k + half)) };
                    let low = _mm256_and_si256(both, nibble);
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), nibble);
                    for (j, parts) in parts.iter_mut().enumerate() {
                        // SAFETY: as above.
                        let (first, second) = unsafe {
                            (word(block.queries, 2 * k * U + j), word(block.queries, (2 * k + 1) * U + j))
                        };
                        let low = _mm256_maddubs_epi16(low, first);
                        let high = _mm256_maddubs_epi16(high, second);
                        parts[half] = _mm256_add_epi16(parts[half], _mm256_add_epi16(low, high));
                    }
                }
            }
            for (sums, parts) in sums.iter_mut().zip(parts) {
                for (sum, part) in sums.iter_mut().zip(parts) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(part, ones));
                }
            }
        }
        let mut above = [[_mm256_setzero_si256(); 2]; U];
        for (j, above) in above.iter_mut().enumerate() {
            // Thresholds are far from the ends of the range.
            let below = _mm256_set1_epi32(block.thresholds[j] - 1);
            above[0] = _mm256_cmpgt_epi32(sums[j][0], below);
            above[1] = _mm256_cmpgt_epi32(sums[j][1], below);
        }
        found |= report!(p, above, sums, hits);
    }
    found
}

/// # Safety
/// AVX2 and FMA are there, and the lengths are those that [`super::Scanner::scan`] checks.
#[target_feature(enable = "avx2,fma")]
unsafe fn bf16<const U: usize>(block: &Quantised<'_>, hits: &mut Hits) -> u32 {
    let width = block.lines.len() / PANELS;
    let upper = _mm256_set1_epi32(!0xffff);
    hits.masks = [0; USERS];
    let mut found = 0;
    for p in 0..PANELS {
        let items = block.lines[p * width..].as_ptr().cast::<__m256i>();
        let mut sums = [[_mm256_setzero_ps(); 2]; U];
        for k in 0..width {
            if U <= 2 {
                ahead(items, k + AHEAD);
            }
            for half in 0..2 {
                // SAFETY: line k of the panel is two registers; there are `2 * width * U` words.
                let both = unsafe { _mm256_load_si256(items.add(2 * k + half)) };
                let even = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(both));
                let odd = _mm256_castsi256_ps(_mm256_and_si256(both, upper));
                for (j, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: as above.
                    let (first, second) = unsafe {
                        (word(block.queries, 2 * k * U + j), word(block.queries, (2 * k + 1) * U + j))
                    };
                    sums[half] = _mm256_fmadd_ps(_mm256_castsi256_ps(first), even, sums[half]);
                    sums[half] = _mm256_fmadd_ps(_mm256_castsi256_ps(second), odd, sums[half]);
                }
            }
        }
        let (mut above, mut bits) = ([[_mm256_setzero_si256(); 2]; U], [[_mm256_setzero_si256(); 2]; U]);
        for j in 0..U {
            let least = _mm256_castsi256_ps(_mm256_set1_epi32(block.thresholds[j]));
            for half in 0..2 {
                above[j][half] = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GE_OQ>(sums[j][half], least));
                bits[j][half] = _mm256_castps_si256(sums[j][half]);
            }
        }
        found |= report!(p, above, bits, hits);
    }
    found
}

/// Ask for a line of items to come: a prefetch never faults, wherever it points.
#[inline(always)]
pub(super) fn ahead<T>(items: *const T, line: usize) {
    // SAFETY: SSE is part of x86-64, and a prefetch doesn't touch memory.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(items.cast::<i8>().wrapping_add(line * size_of::<Lanes>())) };
}

/// One query word in all lanes.
///
/// # Safety
/// `at` is below the number of words.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) unsafe fn word(words: &[i32], at: usize) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_set1_epi32(unsafe { *words.get_unchecked(at) })
}

const _: () = assert!(size_of::<Lanes>() == 64);
