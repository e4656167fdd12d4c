//! One user's system, in the coordinates that make everybody's shared part diagonal.
//!
//! With `t_j = z_j / √δ` and `s_j = √ω_j t_j` the user's normal equations become `(I + SᵀS) u = Sᵀỹ + u0`, and by
//! the push-through identity `u = u0 + Sᵀ (I + SSᵀ)⁻¹ (ỹ − S u0)`: the cheaper of the two is factorised.

use super::cholesky::solve_in_place;
use super::lanes::{
    LANES, Lanes, add_combination, add_outer_products, add_scaled, add_scaled_rows, padded, vectorised,
};
use super::turn::turn;

/// Floats of gathered rows that are turned into outer products at once: half an L1 cache.
const GATHER: usize = 4096;

/// Working memory of one thread.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) rows: Vec<f32>,
    turned: Vec<f32>,
    matrix: Vec<f32>,
    inverse_pivots: Vec<f32>,
    residuals: Vec<f32>,
    roots: Vec<f32>,
}

/// What one user brings.
pub(super) struct Row<'a> {
    pub items: &'a [i32],
    pub weights: &'a [f32],
    pub targets: Option<&'a [f32]>,
    /// f32[width], 1/√δ; absent where the table holds t instead of z.
    pub inverse_root: Option<&'a [f32]>,
}

/// Up to this many events the dual system of so many factors is the cheaper one.
///
/// Measured for one user alone and for sixteen side by side on AVX2: alone the two cost the same at 0.6 to 0.9 m
/// (m = 16 to 256), side by side at 1.1 m (m = 64) and 0.9 m (m = 128). Above m the dual would only stay exact
/// for small weights.
pub(super) fn most_dual_events(size: usize) -> usize {
    9 * size / 10
}

vectorised! {
    /// Solve for `u` (padded), which holds u0 on entry. `table` is f32[n + 1, width], padded with zeros and a row of them.
    /// Returns false where rounding destroyed positive definiteness.
    pub(super) fn solve_row(row: &Row<'_>, table: &[f32], size: usize, scratch: &mut Scratch, u: &mut [f32]) -> bool {
        if row.items.is_empty() {
            return true;
        }
        if row.items.len() <= most_dual_events(size) {
            dual(row, table, scratch, u)
        } else {
            primal(row, table, size, scratch, u)
        }
    }
}

impl Row<'_> {
    /// `values ∘ 1/√δ`, nothing where the table has it already.
    #[inline(always)]
    pub(super) fn scale(&self, values: &mut [f32]) {
        if let Some(scale) = self.inverse_root {
            for (value, &scale) in values.iter_mut().zip(scale) {
                *value *= scale;
            }
        }
    }

    /// Write `s_j` and return `ỹ_j = √ω_j y_j`.
    #[inline(always)]
    fn gather(&self, table: &[f32], event: usize, out: &mut [f32]) -> f32 {
        let width = out.len();
        let root = self.weights[event].sqrt();
        let start = self.items[event] as usize * width;
        let source = &table[start..start + width];
        if let Some(scale) = self.inverse_root {
            for ((out, &z), &scale) in out.iter_mut().zip(source).zip(scale) {
                *out = root * (scale * z);
            }
        } else {
            for (out, &t) in out.iter_mut().zip(source) {
                *out = root * t;
            }
        }
        self.targets.map_or(root, |targets| root * targets[event])
    }
}

#[inline(always)]
fn primal(row: &Row<'_>, table: &[f32], size: usize, scratch: &mut Scratch, u: &mut [f32]) -> bool {
    let width = u.len();
    let batch = (GATHER / width).max(8);
    reserve(&mut scratch.rows, batch * width);
    reserve(&mut scratch.inverse_pivots, width);
    reserve(&mut scratch.matrix, width * width);
    let matrix = &mut scratch.matrix[..width * width];
    matrix.fill(0.0);
    for start in (0..row.items.len()).step_by(batch) {
        let stop = row.items.len().min(start + batch);
        for (event, out) in (start..stop).zip(scratch.rows.chunks_exact_mut(width)) {
            let target = row.gather(table, event, out);
            add_scaled(u, target, out);
        }
        add_outer_products(matrix, width, &scratch.rows, stop - start);
    }
    for index in 0..width {
        matrix[index * width + index] += 1.0;
    }
    solve_in_place(matrix, width, size, &mut scratch.inverse_pivots, u)
}

/// One chain of fused multiply-adds a value, in the order of [`super::side_by_side`].
#[inline(always)]
fn dual(row: &Row<'_>, table: &[f32], scratch: &mut Scratch, u: &mut [f32]) -> bool {
    let (events, width) = (row.items.len(), u.len());
    let side = padded(events);
    reserve(&mut scratch.turned, side * width);
    reserve(&mut scratch.inverse_pivots, side);
    reserve(&mut scratch.matrix, side * side);
    scratch.residuals.clear();
    scratch.residuals.resize(side, 0.0);
    scratch.roots.clear();
    scratch.roots.extend(row.weights.iter().map(|weight| weight.sqrt()));
    scratch.roots.resize(side, 0.0);
    let (turned, matrix) = (&mut scratch.turned[..side * width], &mut scratch.matrix[..side * side]);
    let (residuals, roots) = (&mut scratch.residuals[..], &scratch.roots[..]);
    turn_rows(row, table, width, side, turned);
    // residual = √ω (y − S u0)
    add_scaled_rows(residuals, turned, u);
    for (event, (residual, root)) in residuals.iter_mut().zip(roots).enumerate().take(events) {
        *residual = root * (row.targets.map_or(1.0, |targets| targets[event]) - *residual);
    }
    matrix.fill(0.0);
    add_outer_products(matrix, side, turned, width);
    for (index, line) in matrix.chunks_exact_mut(side).enumerate() {
        for (value, other) in line.iter_mut().zip(roots) {
            *value *= roots[index] * other;
        }
        line[index] += 1.0;
    }
    if !solve_in_place(matrix, side, events, &mut scratch.inverse_pivots, residuals) {
        return false;
    }
    add_combination(u, table, row.items, |event| residuals[event] * roots[event], row.inverse_root);
    true
}

/// Write t of the events as columns of `turned`, f32[width, side]; zeros beyond the last event.
#[inline(always)]
fn turn_rows(row: &Row<'_>, table: &[f32], width: usize, side: usize, turned: &mut [f32]) {
    let nothing = table.len() - width;
    let mut tile: [Lanes; LANES] = [[0.0; LANES]; LANES];
    for first in (0..side).step_by(LANES) {
        let mut starts: [usize; LANES] = std::array::from_fn(|lane| {
            row.items.get(first + lane).map_or(nothing, |&item| item as usize * width)
        });
        for column in (0..width).step_by(LANES) {
            turn(table, &starts, &mut tile);
            starts.iter_mut().for_each(|start| *start += LANES);
            if let Some(scale) = row.inverse_root {
                for (lanes, scale) in tile.iter_mut().zip(&scale[column..]) {
                    *lanes = lanes.map(|value| scale * value);
                }
            }
            for (lanes, line) in tile.iter().zip(turned[column * side..].chunks_exact_mut(side)) {
                line[first..first + LANES].copy_from_slice(lanes);
            }
        }
    }
}

pub(super) fn reserve(buffer: &mut Vec<f32>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
}
