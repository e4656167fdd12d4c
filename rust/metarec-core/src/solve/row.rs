//! One user's system, in the coordinates that make everybody's shared part diagonal.
//!
//! With `s_j = √ω_j · z_j / √δ` the user's normal equations become `(I + SᵀS) u = Sᵀỹ + u0`, and by the
//! push-through identity `u = u0 + Sᵀ (I + SSᵀ)⁻¹ (ỹ − S u0)`: the smaller of the two is factorised.

use super::cholesky::solve_in_place;
use super::lanes::{add_outer_products, add_scaled, dot, padded, vectorised};

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
}

/// What one user brings.
pub(super) struct Row<'a> {
    pub items: &'a [i32],
    pub weights: &'a [f32],
    pub targets: Option<&'a [f32]>,
    /// f32[width], 1/√δ; any positive number in the padding.
    pub inverse_root: &'a [f32],
}

/// Beyond this many events the primal system is cheaper.
fn dual_is_cheaper(events: usize, size: usize) -> bool {
    10 * events <= 7 * size
}

vectorised! {
    /// Solve for `u` (padded), which holds u0 on entry. `table` is f32[n, width], padded with zeros.
    /// Returns false where rounding destroyed positive definiteness.
    pub(super) fn solve_row(row: &Row<'_>, table: &[f32], size: usize, scratch: &mut Scratch, u: &mut [f32]) -> bool {
        if dual_is_cheaper(row.items.len(), size) {
            dual(row, table, scratch, u)
        } else {
            primal(row, table, size, scratch, u)
        }
    }
}

impl Row<'_> {
    /// Write `s_j` and return `ỹ_j = √ω_j y_j`.
    #[inline(always)]
    fn gather(&self, table: &[f32], event: usize, out: &mut [f32]) -> f32 {
        let width = out.len();
        let root = self.weights[event].sqrt();
        let start = self.items[event] as usize * width;
        let source = &table[start..start + width];
        for ((out, &z), &scale) in out.iter_mut().zip(source).zip(self.inverse_root) {
            *out = root * scale * z;
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
    add_identity(matrix, width);
    solve_in_place(matrix, width, size, &mut scratch.inverse_pivots, u)
}

#[inline(always)]
fn dual(row: &Row<'_>, table: &[f32], scratch: &mut Scratch, u: &mut [f32]) -> bool {
    let (events, width) = (row.items.len(), u.len());
    let side = padded(events);
    reserve(&mut scratch.rows, events * width);
    reserve(&mut scratch.turned, side * width);
    reserve(&mut scratch.inverse_pivots, side);
    reserve(&mut scratch.residuals, side);
    reserve(&mut scratch.matrix, side * side);
    let turned = &mut scratch.turned[..side * width];
    let residuals = &mut scratch.residuals[..side];
    let matrix = &mut scratch.matrix[..side * side];
    turned.fill(0.0);
    residuals.fill(0.0);
    matrix.fill(0.0);
    for (event, out) in scratch.rows.chunks_exact_mut(width).take(events).enumerate() {
        let target = row.gather(table, event, out);
        residuals[event] = target - dot(out, u);
        for (coordinate, &value) in out.iter().enumerate() {
            turned[coordinate * side + event] = value;
        }
    }
    add_outer_products(matrix, side, turned, width);
    add_identity(matrix, side);
    if !solve_in_place(matrix, side, events, &mut scratch.inverse_pivots, residuals) {
        return false;
    }
    for (out, &share) in scratch.rows.chunks_exact(width).zip(&residuals[..events]) {
        add_scaled(u, share, out);
    }
    true
}

#[inline(always)]
fn add_identity(matrix: &mut [f32], width: usize) {
    for index in 0..width {
        matrix[index * width + index] += 1.0;
    }
}

pub(super) fn reserve(buffer: &mut Vec<f32>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
}
