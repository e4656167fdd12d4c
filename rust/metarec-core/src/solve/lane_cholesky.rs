//! Cholesky factorisation and solution of sixteen systems of one size, one system a lane.
//!
//! Lanes never mix, so that what a system gives doesn't depend on its neighbours, be they singular or absent.

use std::slice::ChunksExact;

use super::cholesky::usable;
use super::lanes::{LANES, Lanes};

/// Rows and columns of a register tile.
const TILE: usize = 2;

/// Values in a row of a system with `size` unknowns: A's, b's and a filler that makes the number odd, so that
/// the rows spread over the whole cache.
pub(super) const fn width_of(size: usize) -> usize {
    (size + 1) | 1
}

/// Solve `A x = b` in each lane. `system` holds A's upper triangle and b in column `size`, `size` rows of
/// `width_of(size)`, and is overwritten; x goes to the first `size` values of `x`. Returns the lanes that failed.
///
/// Each lane does what [`super::cholesky::solve_in_place`] does with one matrix, operation for operation.
#[inline(always)]
pub(super) fn solve_lanes(
    system: &mut [Lanes],
    size: usize,
    inverse_pivots: &mut [Lanes],
    x: &mut [Lanes],
) -> [bool; LANES] {
    let width = width_of(size);
    let mut failed = [false; LANES];
    for first in (0..size).step_by(TILE) {
        let (finished, rest) = system.split_at_mut(first * width);
        subtract_finished(rest, finished, size, first);
        for pivot in first..size.min(first + TILE) {
            let (row, later) = rest[(pivot - first) * width..].split_at_mut(width);
            for (failed, &value) in failed.iter_mut().zip(&row[pivot]) {
                *failed |= !usable(value);
            }
            let inverse = row[pivot].map(|value| 1.0 / value.sqrt());
            inverse_pivots[pivot] = inverse;
            for value in &mut row[pivot + 1..] {
                *value = std::array::from_fn(|lane| value[lane] * inverse[lane]);
            }
            if pivot == first && first + 1 < size {
                let factor = row[pivot + 1];
                for (target, value) in later[pivot + 1..width].iter_mut().zip(&row[pivot + 1..]) {
                    *target = minus_product(*target, &factor, value);
                }
            }
        }
    }
    for row in (0..size).rev() {
        let line = &system[row * width..(row + 1) * width];
        let mut sum = line[size];
        for later in (row + 1..size).rev() {
            sum = minus_product(sum, &line[later], &x[later]);
        }
        x[row] = std::array::from_fn(|lane| sum[lane] * inverse_pivots[row][lane]);
    }
    failed
}

/// Subtract `Σ_t U[t]ᵀ U[t]` of the finished rows from the one or two rows of a block row: from column `first`
/// on, up to and with the right-hand side.
#[inline(always)]
fn subtract_finished(rest: &mut [Lanes], finished: &[Lanes], size: usize, first: usize) {
    // Built once: it divides to find out how many there are.
    let finished = finished.chunks_exact(width_of(size));
    for column in (first..=size).step_by(TILE) {
        match (first + 1 < size, column < size) {
            (true, true) => subtract_tile::<2, 2>(rest, &finished, size, first, column),
            (true, false) => subtract_tile::<2, 1>(rest, &finished, size, first, column),
            (false, true) => subtract_tile::<1, 2>(rest, &finished, size, first, column),
            (false, false) => subtract_tile::<1, 1>(rest, &finished, size, first, column),
        }
    }
}

#[inline(always)]
fn subtract_tile<const ROWS: usize, const COLUMNS: usize>(
    rest: &mut [Lanes],
    finished: &ChunksExact<'_, Lanes>,
    size: usize,
    first: usize,
    column: usize,
) {
    let width = width_of(size);
    let mut tile: [[Lanes; COLUMNS]; ROWS] =
        std::array::from_fn(|i| std::array::from_fn(|j| rest[i * width + column + j]));
    for row in finished.clone() {
        let left: &[Lanes; ROWS] = row[first..].first_chunk().expect("rows of a tile");
        let right: [Lanes; COLUMNS] = *row[column..].first_chunk().expect("columns of a tile");
        for (sums, left) in tile.iter_mut().zip(left) {
            for (sum, right) in sums.iter_mut().zip(&right) {
                *sum = minus_product(*sum, left, right);
            }
        }
    }
    for (i, sums) in tile.iter().enumerate() {
        for (j, sum) in sums.iter().enumerate() {
            rest[i * width + column + j] = *sum;
        }
    }
}

#[inline(always)]
fn minus_product(sum: Lanes, left: &Lanes, right: &Lanes) -> Lanes {
    std::array::from_fn(|lane| (-left[lane]).mul_add(right[lane], sum[lane]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solve::textbook;

    /// `I + R Rᵀ` and a right-hand side, other numbers in every lane.
    fn system(size: usize, lane: usize) -> (Vec<f32>, Vec<f32>) {
        let number = |i: usize| ((i * 37 + lane * 101 + 11) % 211) as f32 / 105.0 - 1.0;
        let matrix = (0..size * size)
            .map(|i| {
                let (row, column) = (i / size, i % size);
                let product = (0..9).map(|q| number(row * 9 + q) * number(column * 9 + q)).sum::<f32>();
                product + f32::from(u8::from(row == column))
            })
            .collect();
        (matrix, (0..size).map(|i| number(i + 5)).collect())
    }

    fn solve(systems: &[(Vec<f32>, Vec<f32>)], size: usize) -> (Vec<Lanes>, [bool; LANES]) {
        let width = width_of(size);
        let mut lanes = vec![[f32::NAN; LANES]; size * width];
        for (lane, (matrix, b)) in systems.iter().enumerate() {
            for row in 0..size {
                for column in row..size {
                    lanes[row * width + column][lane] = matrix[row * size + column];
                }
                lanes[row * width + size][lane] = b[row];
            }
        }
        let mut x = vec![[0.0; LANES]; size];
        let failed = solve_lanes(&mut lanes, size, &mut vec![[0.0; LANES]; size], &mut x);
        (x, failed)
    }

    #[test]
    fn every_lane_follows_the_textbook_to_the_bit() {
        for size in (1..10).chain([16, 17, 32]) {
            let systems: Vec<_> = (0..LANES).map(|lane| system(size, lane)).collect();
            let (x, failed) = solve(&systems, size);
            assert_eq!(failed, [false; LANES]);
            for (lane, (matrix, b)) in systems.iter().enumerate() {
                let want = textbook::solve(matrix, size, b).unwrap();
                let got: Vec<f32> = x.iter().map(|lanes| lanes[lane]).collect();
                assert_eq!(got, want, "size {size}, lane {lane}");
            }
        }
    }

    #[test]
    fn bad_lanes_are_named_and_leave_their_neighbours_alone() {
        let size = 7;
        let mut systems: Vec<_> = (0..LANES).map(|lane| system(size, lane)).collect();
        let (healthy, _) = solve(&systems, size);
        systems[2].0.fill(1.0); // rank 1
        systems[5].0[3 * size + 3] = f32::NAN;
        systems[8].0[0] = f32::INFINITY;
        systems[9].0[size + 1] = -1.0;
        systems[15].0.fill(0.0);
        let (x, failed) = solve(&systems, size);
        for lane in 0..LANES {
            let bad = [2, 5, 8, 9, 15].contains(&lane);
            assert_eq!(failed[lane], bad, "lane {lane}");
            assert_eq!(textbook::solve(&systems[lane].0, size, &systems[lane].1).is_none(), bad);
            if !bad {
                assert!(x.iter().zip(&healthy).all(|(x, healthy)| x[lane] == healthy[lane]), "lane {lane}");
            }
        }
    }
}
