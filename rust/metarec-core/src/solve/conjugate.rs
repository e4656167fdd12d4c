//! A few conjugate-gradient steps on one user's system, without building its matrix.
//!
//! The coordinates of [`super::row`] already divide by the shared diagonal, which makes them a good
//! preconditioner: from the user's last vector a few steps do what a factorisation would (Takács, Pilászy &
//! Tikk 2011), at a cost that grows with m instead of m².

use super::lanes::{LANES, across, add_scaled, dot, vectorised};
use super::row::{Row, Scratch, reserve};

/// Events whose inner products and updates are computed together.
const TOGETHER: usize = 4;

vectorised! {
    /// Improve `u` (padded) by `steps` steps on `(I + SᵀS) u = Sᵀỹ`.
    pub(super) fn improve_row(row: &Row<'_>, table: &[f32], steps: usize, scratch: &mut Scratch, u: &mut [f32]) {
        let width = u.len();
        reserve(&mut scratch.rows, 4 * width + TOGETHER * LANES);
        let (residual, rest) = scratch.rows.split_at_mut(width);
        let (direction, rest) = rest.split_at_mut(width);
        let (product, work) = rest.split_at_mut(width);
        // residual = Sᵀ(ỹ − S u) − u
        add_events::<true>(row, table, u, work, residual);
        add_scaled(residual, -1.0, u);
        direction.copy_from_slice(residual);
        let mut length = dot(residual, residual);
        for _ in 0..steps {
            // product = (I + SᵀS) direction
            add_events::<false>(row, table, direction, work, product);
            add_scaled(product, 1.0, direction);
            let curvature = dot(direction, product);
            if curvature <= 0.0 {
                return;
            }
            let step = length / curvature;
            add_scaled(u, step, direction);
            add_scaled(residual, -step, product);
            let before = std::mem::replace(&mut length, dot(residual, residual));
            let keep = length / before;
            for (direction, &residual) in direction.iter_mut().zip(&*residual) {
                *direction = keep.mul_add(*direction, residual);
            }
        }
    }
}

/// `out = SᵀS x`, or `Sᵀ(ỹ − S x)` where `RESIDUAL`. `work` is memory for `out.len() + 64` values.
#[inline(always)]
fn add_events<const RESIDUAL: bool>(
    row: &Row<'_>,
    table: &[f32],
    x: &[f32],
    work: &mut [f32],
    out: &mut [f32],
) {
    let (scaled, sums) = work.split_at_mut(out.len());
    scaled.copy_from_slice(x);
    row.scale(scaled);
    out.fill(0.0);
    let whole = row.items.len() - row.items.len() % TOGETHER;
    for event in (0..whole).step_by(TOGETHER) {
        add_some::<TOGETHER, RESIDUAL>(row, table, event, scaled, out, sums);
    }
    for event in whole..row.items.len() {
        add_some::<1, RESIDUAL>(row, table, event, scaled, out, sums);
    }
    row.scale(out);
}

/// The share of `COUNT` events from `event` on; each lane adds them in their order.
#[inline(always)]
fn add_some<const COUNT: usize, const RESIDUAL: bool>(
    row: &Row<'_>,
    table: &[f32],
    event: usize,
    scaled: &[f32],
    out: &mut [f32],
    sums: &mut [f32],
) {
    let width = out.len();
    let (scaled, out) = (scaled.as_chunks::<LANES>().0, out.as_chunks_mut::<LANES>().0);
    let tiles = scaled.len().min(out.len());
    let rows: [&[[f32; LANES]]; COUNT] = std::array::from_fn(|i| {
        let start = row.items[event + i] as usize * width;
        &table[start..start + width].as_chunks().0[..tiles]
    });
    // In memory and by whole arrays, else LLVM cuts them into pairs for the sums across lanes.
    let sums = &mut sums.as_chunks_mut::<LANES>().0[..COUNT];
    sums.fill([0.0; LANES]);
    for (tile, x) in scaled[..tiles].iter().enumerate() {
        for (sums, row) in sums.iter_mut().zip(rows) {
            let mut values = *sums;
            for ((value, &x), &z) in values.iter_mut().zip(x).zip(&row[tile]) {
                *value = x.mul_add(z, *value);
            }
            *sums = values;
        }
    }
    let factors: [f32; COUNT] = std::array::from_fn(|i| {
        let (weight, product) = (row.weights[event + i], across(&sums[i]));
        if RESIDUAL {
            weight * (row.targets.map_or(1.0, |targets| targets[event + i]) - product)
        } else {
            weight * product
        }
    });
    for (tile, out) in out[..tiles].iter_mut().enumerate() {
        let mut values = *out;
        for (row, &factor) in rows.iter().zip(&factors) {
            for (value, &z) in values.iter_mut().zip(&row[tile]) {
                *value = factor.mul_add(z, *value);
            }
        }
        *out = values;
    }
}
