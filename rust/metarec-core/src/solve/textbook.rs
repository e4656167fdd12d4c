//! The textbook loops that the solvers of this folder follow to the bit, one fused multiply-add a step.

use super::row::Row;

/// Solve `A x = b` by Cholesky's method from the upper triangle of a `size` × `size` matrix; None where a pivot
/// isn't a normal positive number.
pub(super) fn solve(matrix: &[f32], size: usize, b: &[f32]) -> Option<Vec<f32>> {
    let (mut upper, mut x, mut inverse) = (matrix.to_vec(), b.to_vec(), vec![0.0; size]);
    for i in 0..size {
        for j in i..size {
            for t in 0..i {
                upper[i * size + j] =
                    (-upper[t * size + i]).mul_add(upper[t * size + j], upper[i * size + j]);
            }
        }
        let pivot = upper[i * size + i];
        if pivot.is_nan() || pivot <= f32::MIN_POSITIVE || pivot.is_infinite() {
            return None;
        }
        inverse[i] = 1.0 / pivot.sqrt();
        upper[i * size + i..(i + 1) * size].iter_mut().for_each(|value| *value *= inverse[i]);
        for t in 0..i {
            x[i] = (-upper[t * size + i]).mul_add(x[t], x[i]);
        }
        x[i] *= inverse[i];
    }
    for i in (0..size).rev() {
        for t in (i + 1..size).rev() {
            x[i] = (-upper[i * size + t]).mul_add(x[t], x[i]);
        }
        x[i] *= inverse[i];
    }
    Some(x)
}

/// The dual of one user: `u0 + Tᵀ√Ω (I + √Ω T Tᵀ √Ω)⁻¹ √Ω (y − T u0)`.
pub(super) fn dual(row: &Row<'_>, table: &[f32], u0: &[f32]) -> Option<Vec<f32>> {
    let (events, width) = (row.items.len(), u0.len());
    let t: Vec<Vec<f32>> = row
        .items
        .iter()
        .map(|&item| {
            let z = &table[item as usize * width..(item as usize + 1) * width];
            (0..width).map(|c| row.inverse_root.map_or(z[c], |scale| scale[c] * z[c])).collect()
        })
        .collect();
    let product =
        |left: &[f32], right: &[f32]| left.iter().zip(right).fold(0.0_f32, |sum, (a, b)| a.mul_add(*b, sum));
    let root: Vec<f32> = row.weights.iter().map(|weight| weight.sqrt()).collect();
    let mut matrix = vec![0.0; events * events];
    let mut b = vec![0.0; events];
    for i in 0..events {
        for j in i..events {
            matrix[i * events + j] = root[i] * root[j] * product(&t[i], &t[j]);
        }
        matrix[i * events + i] += 1.0;
        b[i] = root[i] * (row.targets.map_or(1.0, |targets| targets[i]) - product(&t[i], u0));
    }
    let x = solve(&matrix, events, &b)?;
    let mut u = u0.to_vec();
    for j in 0..events {
        for c in 0..width {
            u[c] = (x[j] * root[j]).mul_add(t[j][c], u[c]);
        }
    }
    Some(u)
}
