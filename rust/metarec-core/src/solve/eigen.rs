//! Eigen-decomposition of one small symmetric matrix in float64, the same on every machine and thread count.

/// Eigenvalues, ascending, and the orthonormal eigenvectors as **columns** of a row-major `size` × `size` matrix.
///
/// Householder reduction to tridiagonal form, then the implicit QL method (Bowdler, Martin, Reinsch & Wilkinson
/// 1968). Each eigenvector's entry of largest magnitude is positive. Reads the lower triangle of `matrix`, which must be finite.
pub fn symmetric_eigen(matrix: &[f64], size: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = matrix.to_vec();
    let mut diagonal = vec![0.0; size];
    let mut beside = vec![0.0; size];
    if size > 0 {
        tridiagonalise(&mut vectors, &mut diagonal, &mut beside, size);
        // Rows are contiguous: rotations mix rows of the transpose instead of columns.
        transpose(&mut vectors, size);
        implicit_ql(&mut vectors, &mut diagonal, &mut beside, size);
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| diagonal[a].total_cmp(&diagonal[b]));
    let mut sorted = vec![0.0; size * size];
    for (column, &source) in order.iter().enumerate() {
        let vector = &vectors[source * size..(source + 1) * size];
        let largest =
            vector.iter().fold(0.0f64, |best, &value| if value.abs() > best.abs() { value } else { best });
        let sign = if largest < 0.0 { -1.0 } else { 1.0 };
        for (row, value) in vector.iter().enumerate() {
            sorted[row * size + column] = sign * value;
        }
    }
    (order.iter().map(|&index| diagonal[index]).collect(), sorted)
}

fn transpose(matrix: &mut [f64], size: usize) {
    for i in 0..size {
        for j in 0..i {
            matrix.swap(i * size + j, j * size + i);
        }
    }
}

/// Overwrites `a` with the orthogonal Q of A = Q T Qᵀ; `diagonal` and `beside[1..]` become T.
fn tridiagonalise(a: &mut [f64], diagonal: &mut [f64], beside: &mut [f64], size: usize) {
    for i in (1..size).rev() {
        let (above, row) = a.split_at_mut(i * size);
        let row = &mut row[..i];
        let scale: f64 = row.iter().map(|value| value.abs()).sum();
        if i == 1 || scale == 0.0 {
            beside[i] = row[i - 1];
            diagonal[i] = 0.0;
            continue;
        }
        row.iter_mut().for_each(|value| *value /= scale);
        let mut h: f64 = row.iter().map(|value| value * value).sum();
        let f = row[i - 1];
        let g = if f >= 0.0 { -h.sqrt() } else { h.sqrt() };
        beside[i] = scale * g;
        h -= f * g;
        row[i - 1] = f - g;
        // p = A u / h, in `beside[..i]`, from the lower triangle.
        beside[..i].fill(0.0);
        for j in 0..i {
            let line = &above[j * size..j * size + j];
            let mut sum = above[j * size + j] * row[j];
            for (k, value) in line.iter().enumerate() {
                sum += value * row[k];
                beside[k] += value * row[j];
            }
            beside[j] += sum;
        }
        let mut overlap = 0.0;
        for j in 0..i {
            beside[j] /= h;
            overlap += beside[j] * row[j];
        }
        let half = overlap / (h + h);
        for j in 0..i {
            beside[j] -= half * row[j];
        }
        for j in 0..i {
            let (u, p) = (row[j], beside[j]);
            for (k, value) in above[j * size..=j * size + j].iter_mut().enumerate() {
                *value -= u * beside[k] + p * row[k];
            }
        }
        // u / h goes to column i, where the accumulation below finds it.
        for j in 0..i {
            above[j * size + i] = row[j] / h;
        }
        diagonal[i] = h;
    }
    diagonal[0] = 0.0;
    beside[0] = 0.0;
    let mut product = vec![0.0; size];
    for i in 0..size {
        if diagonal[i] != 0.0 {
            let (above, row) = a.split_at_mut(i * size);
            product[..i].fill(0.0);
            for k in 0..i {
                for (sum, value) in product[..i].iter_mut().zip(&above[k * size..k * size + i]) {
                    *sum += row[k] * value;
                }
            }
            for k in 0..i {
                let factor = above[k * size + i];
                for (value, sum) in above[k * size..k * size + i].iter_mut().zip(&product[..i]) {
                    *value -= sum * factor;
                }
            }
        }
        diagonal[i] = a[i * size + i];
        a[i * size + i] = 1.0;
        for j in 0..i {
            a[j * size + i] = 0.0;
            a[i * size + j] = 0.0;
        }
    }
}

/// Diagonalise the tridiagonal matrix; rotations go to the rows of `vectors` (the transpose of Q).
fn implicit_ql(vectors: &mut [f64], diagonal: &mut [f64], beside: &mut [f64], size: usize) {
    beside.rotate_left(1);
    beside[size - 1] = 0.0;
    for low in 0..size {
        // 60 sweeps an eigenvalue is far beyond the two or so that occur; the bound only rules out a hang.
        for _ in 0..60 {
            let split = (low..size - 1)
                .find(|&i| beside[i].abs() <= f64::EPSILON * (diagonal[i].abs() + diagonal[i + 1].abs()))
                .unwrap_or(size - 1);
            if split == low {
                break;
            }
            let mut g = (diagonal[low + 1] - diagonal[low]) / (2.0 * beside[low]);
            let mut r = g.hypot(1.0);
            g = diagonal[split] - diagonal[low] + beside[low] / (g + r.copysign(g));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut deflated = false;
            for i in (low..split).rev() {
                let f = s * beside[i];
                let b = c * beside[i];
                r = f.hypot(g);
                beside[i + 1] = r;
                if r == 0.0 {
                    diagonal[i + 1] -= p;
                    beside[split] = 0.0;
                    deflated = true;
                    break;
                }
                s = f / r;
                c = g / r;
                g = diagonal[i + 1] - p;
                r = (diagonal[i] - g) * s + 2.0 * c * b;
                p = s * r;
                diagonal[i + 1] = g + p;
                g = c * r - b;
                let (first, second) = vectors.split_at_mut((i + 1) * size);
                for (x, y) in first[i * size..].iter_mut().zip(&mut second[..size]) {
                    let old = *y;
                    *y = s * *x + c * old;
                    *x = c * *x - s * old;
                }
            }
            if !deflated {
                diagonal[low] -= p;
                beside[low] = g;
                beside[split] = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(matrix: &[f64], size: usize) {
        let (values, vectors) = symmetric_eigen(matrix, size);
        assert!(values.windows(2).all(|pair| pair[0] <= pair[1]));
        for i in 0..size {
            for j in 0..size {
                let rebuilt: f64 =
                    (0..size).map(|q| vectors[i * size + q] * values[q] * vectors[j * size + q]).sum();
                let overlap: f64 = (0..size).map(|q| vectors[q * size + i] * vectors[q * size + j]).sum();
                assert!((rebuilt - matrix[i * size + j]).abs() < 1e-11, "size {size}: entry {i}, {j}");
                assert!((overlap - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn rebuilds_matrices_of_every_size() {
        for size in 1..=40 {
            let raw: Vec<f64> = (0..size * size).map(|i| ((i * 31 + 5) % 89) as f64 / 44.0 - 1.0).collect();
            let matrix: Vec<f64> =
                (0..size * size).map(|i| raw[i] + raw[(i % size) * size + i / size]).collect();
            check(&matrix, size);
        }
    }

    #[test]
    fn handles_repeated_and_zero_eigenvalues() {
        check(&[0.0; 25], 5);
        check(&[2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, -1.0], 3);
        check(&[1.0; 36], 6);
        assert_eq!(symmetric_eigen(&[], 0), (vec![], vec![]));
    }
}
