//! Blocked Cholesky factorisation and solution of one symmetric positive definite system in fp32.

use super::lanes::{LANES, Lanes, add_scaled, subtract_finished_rows};
use super::turn::turn;

/// Solve `A x = b` in place: `matrix` holds the upper triangle of A (`width` × `width`, row-major, `width` a
/// multiple of 16, of which the first `size` rows count) and `x` holds b and becomes the solution.
///
/// `inverse_pivots` is scratch of `width` values. Returns false where a pivot isn't `usable`.
///
/// A = UᵀU, one block row of 16 at a time: finished rows are subtracted by the same register tiles that built
/// the matrix, then the 16 rows are eliminated among themselves. A finished row keeps zeros up to and on its
/// diagonal. Every value is one chain of fused multiply-adds in the order of the textbook loops (rows
/// ascending; descending in the backward substitution), which [`super::lane_cholesky`] follows too.
#[inline(always)]
pub(super) fn solve_in_place(
    matrix: &mut [f32],
    width: usize,
    size: usize,
    inverse_pivots: &mut [f32],
    x: &mut [f32],
) -> bool {
    for block in (0..size).step_by(LANES) {
        subtract_finished_rows(matrix, width, block);
        for pivot in block..size.min(block + LANES) {
            if !eliminate(matrix, width, block, pivot, &mut inverse_pivots[pivot]) {
                return false;
            }
            x[pivot] *= inverse_pivots[pivot];
            let known = x[pivot];
            add_scaled(&mut x[block..], -known, &matrix[pivot * width + block..(pivot + 1) * width]);
        }
    }
    for block in (0..size).step_by(LANES).rev() {
        substitute_block(matrix, width, size, block, inverse_pivots, x);
    }
    true
}

/// Whether a pivot is what a positive definite matrix gives: a finite number well above 0.
#[inline(always)]
pub(super) fn usable(pivot: f32) -> bool {
    pivot > f32::MIN_POSITIVE && pivot < f32::INFINITY
}

/// The backward substitution of 16 rows: their sums are lanes, their columns are turned 16 at a time.
#[inline(always)]
fn substitute_block(
    matrix: &[f32],
    width: usize,
    size: usize,
    block: usize,
    inverse_pivots: &[f32],
    x: &mut [f32],
) {
    let mut columns = [[0.0; LANES]; LANES];
    let mut sums: Lanes = *x[block..].first_chunk().expect("whole tiles");
    for tile in (block..size).step_by(LANES).rev() {
        let starts = std::array::from_fn(|row| (block + row) * width + tile);
        turn(matrix, &starts, &mut columns);
        for later in (tile..size.min(tile + LANES)).rev() {
            if tile == block {
                x[later] = sums[later - block] * inverse_pivots[later];
            }
            let known = x[later];
            for (sum, value) in sums.iter_mut().zip(&columns[later - tile]) {
                *sum = (-value).mul_add(known, *sum);
            }
        }
    }
}

/// Finish row `pivot` of the block row at `block` and subtract it from the later rows of that block.
#[inline(always)]
fn eliminate(matrix: &mut [f32], width: usize, block: usize, pivot: usize, inverse: &mut f32) -> bool {
    let (upper, later) = matrix.split_at_mut((pivot + 1) * width);
    let row = &mut upper[pivot * width + block..];
    let within = pivot - block;
    if !usable(row[within]) {
        return false;
    }
    *inverse = 1.0 / row[within].sqrt();
    row[..=within].fill(0.0);
    for value in row.iter_mut() {
        *value *= *inverse;
    }
    for (distance, target) in later.chunks_exact_mut(width).take(LANES - 1 - within).enumerate() {
        let factor = row[within + 1 + distance];
        add_scaled(&mut target[block..], -factor, row);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solve::lanes::{add_outer_products, padded};
    use crate::solve::textbook;

    fn solve(size: usize, rows: &[f32], count: usize, ridge: f32) -> (Vec<f32>, Vec<f64>) {
        let width = padded(size);
        let mut matrix = vec![0.0; width * width];
        add_outer_products(&mut matrix, width, rows, count);
        for i in 0..width {
            matrix[i * width + i] += ridge;
        }
        let full = |i: usize, j: usize| f64::from(matrix[i.min(j) * width + i.max(j)]);
        let truth: Vec<f64> = (0..size).map(|i| (i % 5) as f64 - 2.0).collect();
        let mut x = vec![0.0; width];
        for (i, value) in x.iter_mut().enumerate().take(size) {
            *value = (0..size).map(|j| full(i, j) * truth[j]).sum::<f64>() as f32;
        }
        let mut pivots = vec![0.0; width];
        assert!(solve_in_place(&mut matrix, width, size, &mut pivots, &mut x));
        (x, truth)
    }

    #[test]
    fn recovers_known_solutions_of_every_size() {
        for size in 1..=50 {
            let width = padded(size);
            let mut rows: Vec<f32> =
                (0..width * 9).map(|i| ((i * 29 + 7) % 97) as f32 / 48.0 - 1.0).collect();
            rows.chunks_mut(width).for_each(|row| row[size..].fill(0.0));
            let (x, truth) = solve(size, &rows, 9, 1.0);
            for (got, want) in x.iter().zip(&truth) {
                assert!((f64::from(*got) - want).abs() < 2e-4, "size {size}: {got} for {want}");
            }
        }
    }

    #[test]
    fn follows_the_textbook_to_the_bit() {
        for size in (1..20).chain([31, 32, 33, 50, 65]) {
            let width = padded(size);
            let mut rows: Vec<f32> =
                (0..width * 12).map(|i| ((i * 31 + 5) % 89) as f32 / 44.0 - 1.0).collect();
            rows.chunks_mut(width).for_each(|row| row[size..].fill(0.0));
            let mut matrix = vec![0.0; width * width];
            add_outer_products(&mut matrix, width, &rows, 12);
            (0..width).for_each(|i| matrix[i * width + i] += 1.0);
            let mut x = vec![0.0; width];
            x.iter_mut().take(size).enumerate().for_each(|(i, x)| *x = (i % 7) as f32 - 3.1);
            let plain: Vec<f32> = matrix.chunks(width).flat_map(|row| &row[..size]).copied().collect();
            let want = textbook::solve(&plain[..size * size], size, &x[..size]).unwrap();
            assert!(solve_in_place(&mut matrix, width, size, &mut vec![0.0; width], &mut x));
            assert_eq!(x[..size], want, "size {size}");
        }
    }

    #[test]
    fn refuses_what_is_not_positive_definite() {
        for pivot in [-1.0, 0.0, 1e-39, f32::NAN, f32::INFINITY] {
            let mut matrix = vec![0.0; 16 * 16];
            matrix[0] = 1.0;
            matrix[17] = pivot;
            assert!(!solve_in_place(&mut matrix, 16, 2, &mut [0.0; 16], &mut [1.0; 16]), "{pivot}");
        }
    }
}
