//! `XᵀX` of a tall table in float64.

use rayon::prelude::*;

use super::lanes::{add_outer_products, padded, vectorised};

/// Rows that are summed in fp32 before they go to float64.
const RUN: usize = 256;
/// Partial sums kept at once; a function of the table alone, so that threads don't change the result.
const MOST_PARTS: usize = 64;

/// The Gram matrix `Σ_i x_i x_iᵀ` (`width` × `width`, row-major, symmetric) of a row-major table.
pub fn gram(table: &[f32], width: usize) -> Vec<f64> {
    let rows = table.len() / width.max(1);
    let part = rows.div_ceil(MOST_PARTS).max(4 * RUN);
    let parts: Vec<Vec<f64>> =
        table.par_chunks((part * width).max(1)).map(|part| upper(part, width)).collect();
    let mut total = vec![0.0; width * width];
    for part in &parts {
        for (sum, value) in total.iter_mut().zip(part) {
            *sum += value;
        }
    }
    for i in 0..width {
        for j in 0..i {
            total[i * width + j] = total[j * width + i];
        }
    }
    total
}

vectorised! {
    fn upper(rows: &[f32], width: usize) -> Vec<f64> {
        let wide = padded(width);
        let mut total = vec![0.0; width * width];
        let mut run_sums = vec![0.0; wide * wide];
        let mut copy = vec![0.0; RUN * wide];
        for run in rows.chunks(RUN * width) {
            let count = run.len() / width;
            for (target, row) in copy.chunks_exact_mut(wide).zip(run.chunks_exact(width)) {
                target[..width].copy_from_slice(row);
            }
            run_sums.fill(0.0);
            add_outer_products(&mut run_sums, wide, &copy, count);
            for i in 0..width {
                for j in i..width {
                    total[i * width + j] += f64::from(run_sums[i * wide + j]);
                }
            }
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_a_plain_loop() {
        for (rows, width) in [(0, 3), (1, 1), (700, 5), (3000, 20)] {
            let table: Vec<f32> =
                (0..rows * width).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0).collect();
            let got = gram(&table, width);
            for i in 0..width {
                for j in 0..width {
                    let want: f64 =
                        table.chunks(width).map(|row| f64::from(row[i]) * f64::from(row[j])).sum();
                    assert!((got[i * width + j] - want).abs() < 1e-3, "{rows} x {width} at {i}, {j}");
                }
            }
        }
    }
}
