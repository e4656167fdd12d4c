//! Register-tiled kernels in portable Rust over arrays of fixed width, which LLVM turns into vector code.
//!
//! Every sum has one order (events or inner dimension ascending, one fused multiply-add each), so a tile, its
//! remainder and every instruction set give the same bits.

use std::slice::ChunksExact;

/// Columns of a tile; every padded width is a multiple of it.
pub(super) const LANES: usize = 16;
const ROWS: usize = 4;

/// One tile of columns, or one value of sixteen users.
pub(super) type Lanes = [f32; LANES];

/// `width` rounded up to whole tiles.
pub(super) const fn padded(width: usize) -> usize {
    width.div_ceil(LANES) * LANES
}

pub(super) use crate::isa::vectorised;

#[inline(always)]
fn lanes(slice: &[f32], start: usize) -> &[f32; LANES] {
    slice[start..].first_chunk().expect("widths are padded to whole tiles")
}

#[inline(always)]
fn lanes_mut(slice: &mut [f32], start: usize) -> &mut [f32; LANES] {
    slice[start..].first_chunk_mut().expect("widths are padded to whole tiles")
}

/// `tile ± Σ_t rows[t] rows[t]ᵀ` at (`row`, `column`), minus where `MINUS`.
#[inline(always)]
fn outer_tile<const MINUS: bool>(
    mut tile: [Lanes; ROWS],
    rows: &ChunksExact<'_, f32>,
    row: usize,
    column: usize,
) -> [Lanes; ROWS] {
    for event in rows.clone() {
        let right = lanes(event, column);
        let left: &[f32; ROWS] = event[row..].first_chunk().expect("rows of a tile");
        for (sums, &a) in tile.iter_mut().zip(left) {
            let a = if MINUS { -a } else { a };
            for (sum, &b) in sums.iter_mut().zip(right) {
                *sum = a.mul_add(b, *sum);
            }
        }
    }
    tile
}

/// Add `Σ_t rows[t] rows[t]ᵀ` to the upper triangle of `matrix` (`width` × `width`, tiles on the diagonal whole).
#[inline(always)]
pub(super) fn add_outer_products(matrix: &mut [f32], width: usize, rows: &[f32], count: usize) {
    // Built once: it divides to find out how many there are.
    let rows = rows[..count * width].chunks_exact(width);
    for column in (0..width).step_by(LANES) {
        for row in (0..column + LANES).step_by(ROWS) {
            let tile = std::array::from_fn(|i| *lanes(matrix, (row + i) * width + column));
            let tile = outer_tile::<false>(tile, &rows, row, column);
            for (i, sums) in tile.iter().enumerate() {
                *lanes_mut(matrix, (row + i) * width + column) = *sums;
            }
        }
    }
}

/// Subtract `Σ_{t < block} U[t] U[t]ᵀ` from the block row of `matrix` that starts at `block`.
#[inline(always)]
pub(super) fn subtract_finished_rows(matrix: &mut [f32], width: usize, block: usize) {
    let (finished, rest) = matrix.split_at_mut(block * width);
    let finished = finished.chunks_exact(width);
    for column in (block..width).step_by(LANES) {
        for row in (0..LANES).step_by(ROWS) {
            let tile = std::array::from_fn(|i| *lanes(rest, (row + i) * width + column));
            let tile = outer_tile::<true>(tile, &finished, block + row, column);
            for (i, sums) in tile.iter().enumerate() {
                *lanes_mut(rest, (row + i) * width + column) = *sums;
            }
        }
    }
}

/// `target += factor · source`, both of padded length.
#[inline(always)]
pub(super) fn add_scaled(target: &mut [f32], factor: f32, source: &[f32]) {
    let (target, source) = (target.as_chunks_mut::<LANES>().0, source.as_chunks::<LANES>().0);
    for (target, source) in target.iter_mut().zip(source) {
        // Whole arrays by value: with loads and stores in between, LLVM falls back to scalar code.
        let mut values = *target;
        for (value, &step) in values.iter_mut().zip(source) {
            *value = factor.mul_add(step, *value);
        }
        *target = values;
    }
}

/// `target += Σ_t factors[t] rows[t]`, rows of the target's padded length.
#[inline(always)]
pub(super) fn add_scaled_rows(target: &mut [f32], rows: &[f32], factors: &[f32]) {
    for (row, &factor) in rows.chunks_exact(target.len()).zip(factors) {
        add_scaled(target, factor, row);
    }
}

/// Add `Σ_j share(j) · (scale ∘ table[items[j]])` to `target`, whose length is the table's padded width; the
/// scale is 1 where absent.
#[inline(always)]
pub(super) fn add_combination(
    target: &mut [f32],
    table: &[f32],
    items: &[i32],
    share: impl Fn(usize) -> f32,
    scale: Option<&[f32]>,
) {
    let width = target.len();
    let whole = width - width % (4 * LANES);
    for column in (0..whole).step_by(4 * LANES) {
        combination_tile::<4>(target, table, items, &share, scale, column);
    }
    for column in (whole..width).step_by(LANES) {
        combination_tile::<1>(target, table, items, &share, scale, column);
    }
}

#[inline(always)]
fn combination_tile<const TILES: usize>(
    target: &mut [f32],
    table: &[f32],
    items: &[i32],
    share: &impl Fn(usize) -> f32,
    scale: Option<&[f32]>,
    column: usize,
) {
    let width = target.len();
    let target: &mut [Lanes; TILES] = tiles_mut(&mut target[column..]);
    let mut sums = *target;
    let scale: Option<&[Lanes; TILES]> = scale.map(|scale| tiles(&scale[column..]));
    for (event, &item) in items.iter().enumerate() {
        let row: &[Lanes; TILES] = tiles(&table[item as usize * width + column..]);
        let share = share(event);
        for (tile, sums) in sums.iter_mut().enumerate() {
            let mut values = row[tile];
            if let Some(scale) = scale {
                for (value, &scale) in values.iter_mut().zip(&scale[tile]) {
                    *value *= scale;
                }
            }
            for (sum, &value) in sums.iter_mut().zip(&values) {
                *sum = share.mul_add(value, *sum);
            }
        }
    }
    *target = sums;
}

#[inline(always)]
fn tiles<const TILES: usize>(slice: &[f32]) -> &[Lanes; TILES] {
    slice.as_chunks().0.first_chunk().expect("widths are padded to whole tiles")
}

#[inline(always)]
fn tiles_mut<const TILES: usize>(slice: &mut [f32]) -> &mut [Lanes; TILES] {
    slice.as_chunks_mut().0.first_chunk_mut().expect("widths are padded to whole tiles")
}

/// Inner product of two vectors of padded length: one chain a lane, then a fixed tree.
#[inline(always)]
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    for (left, right) in left.as_chunks::<LANES>().0.iter().zip(right.as_chunks::<LANES>().0) {
        for ((sum, &a), &b) in sums.iter_mut().zip(left).zip(right) {
            *sum = a.mul_add(b, *sum);
        }
    }
    across(&sums)
}

/// The sum of a tile's lanes, as a fixed tree.
#[inline(always)]
pub(super) fn across(lanes: &[f32; LANES]) -> f32 {
    let mut sums = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

/// One tile of `COUNT` rows of [`multiply_rows`].
#[inline(always)]
fn product_tile<const COUNT: usize>(
    rows: &[f32],
    depth: usize,
    matrix: &[f32],
    width: usize,
    column: usize,
) -> [Lanes; COUNT] {
    let rows: [&[f32]; COUNT] = std::array::from_fn(|i| &rows[i * depth..][..depth]);
    let mut tile = [[0.0; LANES]; COUNT];
    for (inner, right) in matrix.chunks_exact(width).take(depth).enumerate() {
        let right = lanes(right, column);
        for (sums, row) in tile.iter_mut().zip(rows) {
            for (sum, &b) in sums.iter_mut().zip(right) {
                *sum = row[inner].mul_add(b, *sum);
            }
        }
    }
    tile
}

vectorised! {
    /// `out = rows · matrix` for rows of length `depth` and a `depth` × `width` matrix; `width` is padded.
    pub(super) fn multiply_rows(out: &mut [f32], rows: &[f32], depth: usize, matrix: &[f32], width: usize) {
        let count = out.len() / width;
        let whole = count - count % ROWS;
        for column in (0..width).step_by(LANES) {
            for row in (0..whole).step_by(ROWS) {
                let tile = product_tile::<ROWS>(&rows[row * depth..], depth, matrix, width, column);
                for (i, sums) in tile.iter().enumerate() {
                    *lanes_mut(out, (row + i) * width + column) = *sums;
                }
            }
            for row in whole..count {
                let tile = product_tile::<1>(&rows[row * depth..], depth, matrix, width, column);
                *lanes_mut(out, row * width + column) = tile[0];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0).collect()
    }

    #[test]
    fn outer_products_match_a_plain_loop() {
        let (width, count) = (32, 7);
        let rows = numbers(width * count);
        let mut matrix = vec![0.0; width * width];
        add_outer_products(&mut matrix, width, &rows, count);
        for i in 0..width {
            for j in i..width {
                let want: f64 =
                    (0..count).map(|t| f64::from(rows[t * width + i]) * f64::from(rows[t * width + j])).sum();
                assert!((f64::from(matrix[i * width + j]) - want).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_row_is_the_same_alone_and_in_a_tile() {
        let (depth, width) = (5, 16);
        let (rows, matrix) = (numbers(depth * 7), numbers(depth * width));
        let mut together = vec![0.0; 7 * width];
        multiply_rows(&mut together, &rows, depth, &matrix, width);
        for (row, expected) in together.chunks(width).enumerate() {
            let mut alone = vec![0.0; width];
            multiply_rows(&mut alone, &rows[row * depth..(row + 1) * depth], depth, &matrix, width);
            assert_eq!(alone, expected);
        }
    }

    #[test]
    fn dot_matches_a_plain_loop() {
        let (left, right) = (numbers(48), numbers(96));
        let want: f64 = left.iter().zip(&right[48..]).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        assert!((f64::from(dot(&left, &right[48..])) - want).abs() < 1e-5);
    }
}
