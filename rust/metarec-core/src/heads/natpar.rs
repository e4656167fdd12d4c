//! The head that needs no solve: a user is the sum of their events' rows of a whitened item table.
//!
//! The softmax likelihood with a whitened table ψ has Hessian −κI at w = 0, so with a prior N(μ, diag s) the
//! posterior mean is `(r + μ/s) / (κ + 1/s)`, with `r = Σ ω_j ψ_j` and `κ = Σ ω_j`.

use rayon::prelude::*;

use crate::solve::Events;
use crate::{Error, Result, finite, pool};

/// Each contribution is rounded to a multiple of 2⁻²⁴ and summed in float64, where such sums are exact up to 2²⁹:
/// states can be added and subtracted in any order without a trace of rounding.
pub const GRID: f64 = 1.0 / 16_777_216.0;
/// Adding and subtracting 1.5·2²⁸ rounds to the grid, because that is where float64 has steps of 2⁻²⁴.
const ROUNDER: f64 = 402_653_184.0;
const LARGEST: f64 = 134_217_728.0;
const USERS: usize = 64;
const LANES: usize = 8;

/// Write `r` (f64[b, m]) and `κ` (f64[b]) of a batch of users. `table` is ψ, f32[n, m], checked to be finite by
/// whoever keeps it: it is large, and asked for one user at a time.
pub fn state(
    events: Events<'_>,
    table: &[f32],
    width: usize,
    r: &mut [f64],
    kappa: &mut [f64],
) -> Result<()> {
    const OPERATION: &str = "natpar_state";
    let users = events.rows.len();
    if r.len() != users * width || kappa.len() != users {
        let (got, expected) = (format!("{} sums", r.len()), format!("{users} rows of {width}"));
        return Err(Error::Shape { operation: OPERATION, argument: "r", got, expected });
    }
    pool::run(|| {
        r.par_chunks_mut((USERS * width).max(1)).zip(kappa.par_chunks_mut(USERS)).enumerate().try_for_each(
            |(block, (r, kappa))| {
                for (index, (r, kappa)) in r.chunks_exact_mut(width).zip(kappa).enumerate() {
                    let row = block * USERS + index;
                    if add_row(events, row, table, r, kappa) >= LARGEST {
                        let expected = "contributions (weight times table entry) below 2^27".to_owned();
                        let got = format!("too large for an exact sum in row {row}");
                        return Err(Error::Value {
                            operation: OPERATION,
                            argument: "weights",
                            got,
                            expected,
                        });
                    }
                }
                Ok(())
            },
        )
    })?
}

/// Sum one user and return the largest contribution.
fn add_row(events: Events<'_>, row: usize, table: &[f32], r: &mut [f64], kappa: &mut f64) -> f64 {
    let width = r.len();
    r.fill(0.0);
    *kappa = 0.0;
    let mut largest = 0.0f64;
    for (&item, &weight) in events.rows.row(row).iter().zip(&events.weights[events.rows.range(row)]) {
        let weight = f64::from(weight);
        *kappa += (weight + ROUNDER) - ROUNDER;
        let start = item as usize * width;
        let values = &table[start..start + width];
        largest = largest.max(weight).max(add_event(weight, values, r));
    }
    largest
}

/// Add one event and return its largest contribution. A maximum of its own for each lane: a single one would make
/// every value wait for the one before.
fn add_event(weight: f64, values: &[f32], r: &mut [f64]) -> f64 {
    let mut largest = [0.0f64; LANES];
    let (sums, last_sums) = r.as_chunks_mut::<LANES>();
    let (values, last_values) = values.as_chunks::<LANES>();
    for (sums, values) in sums.iter_mut().zip(values) {
        for lane in 0..LANES {
            let contribution = weight * f64::from(values[lane]);
            sums[lane] += (contribution + ROUNDER) - ROUNDER;
            let size = contribution.abs();
            largest[lane] = if size > largest[lane] { size } else { largest[lane] };
        }
    }
    for ((sum, &value), largest) in last_sums.iter_mut().zip(last_values).zip(&mut largest) {
        let contribution = weight * f64::from(value);
        *sum += (contribution + ROUNDER) - ROUNDER;
        *largest = largest.max(contribution.abs());
    }
    largest.into_iter().fold(0.0, f64::max)
}

/// A prior: one variance per bin of κ and dimension, and a mean per user.
#[derive(Clone, Copy)]
pub struct Prior<'a> {
    /// s ≥ 0, f32[bins, m].
    pub variance: &'a [f32],
    /// f32[bins − 1], ascending: a user is in the bin of the number of edges that are ≤ κ.
    pub edges: &'a [f32],
    /// μ, f32[b, m]; 0 where absent.
    pub mean: Option<&'a [f32]>,
}

/// Write the posterior means `ŵ = (s r + μ) / (s κ + 1)`, f32[b, m], from `r` f64[b, m] and `κ` f64[b].
///
/// The formula of the module multiplied by s, so that s = 0 means "nothing but the prior".
pub fn query(r: &[f64], kappa: &[f64], width: usize, prior: Prior<'_>, out: &mut [f32]) -> Result<()> {
    const OPERATION: &str = "natpar_query";
    let users = kappa.len();
    let shape = |argument: &'static str, got: usize, expected: usize| match got == expected {
        true => Ok(()),
        false => Err(Error::Shape {
            operation: OPERATION,
            argument,
            got: format!("{got} values"),
            expected: format!("{expected}"),
        }),
    };
    shape("r", r.len(), users * width)?;
    shape("out", out.len(), users * width)?;
    shape("prior_variance", prior.variance.len(), (prior.edges.len() + 1) * width)?;
    finite::check(OPERATION, "prior_variance", prior.variance, width)?;
    finite::check(OPERATION, "edges", prior.edges, 1)?;
    if let Some(mean) = prior.mean {
        shape("prior_mean", mean.len(), users * width)?;
        finite::check(OPERATION, "prior_mean", mean, width)?;
    }
    if let Some(value) = prior.variance.iter().find(|&&value| value < 0.0) {
        let expected = "variances of at least 0".to_owned();
        return Err(Error::Value {
            operation: OPERATION,
            argument: "prior_variance",
            got: value.to_string(),
            expected,
        });
    }
    if prior.edges.windows(2).any(|pair| pair[0] > pair[1]) {
        let (got, expected) = (format!("{:?}", prior.edges), "ascending numbers".to_owned());
        return Err(Error::Value { operation: OPERATION, argument: "edges", got, expected });
    }
    if let Some(row) = kappa.iter().position(|&value| !(0.0..f64::INFINITY).contains(&value)) {
        let (got, expected) =
            (format!("{} in row {row}", kappa[row]), "finite sums of at least 0".to_owned());
        return Err(Error::Value { operation: OPERATION, argument: "kappa", got, expected });
    }
    if let Some(position) = r.iter().position(|value| !value.is_finite()) {
        let (row, value) = (position / width, r[position] as f32);
        return Err(Error::NotFinite { operation: OPERATION, argument: "r", row, value });
    }
    pool::run(|| {
        out.par_chunks_mut((USERS * width).max(1)).enumerate().for_each(|(block, out)| {
            for (index, out) in out.chunks_exact_mut(width).enumerate() {
                let row = block * USERS + index;
                let bin = prior.edges.partition_point(|&edge| f64::from(edge) <= kappa[row]);
                let variance = &prior.variance[bin * width..(bin + 1) * width];
                let span = row * width..(row + 1) * width;
                posterior_mean(
                    &r[span.clone()],
                    kappa[row],
                    variance,
                    prior.mean.map(|mean| &mean[span]),
                    out,
                );
            }
        });
    })
}

fn posterior_mean(r: &[f64], kappa: f64, variance: &[f32], mean: Option<&[f32]>, out: &mut [f32]) {
    for (q, ((out, &r), &s)) in out.iter_mut().zip(r).zip(variance).enumerate() {
        let s = f64::from(s);
        let mean = mean.map_or(0.0, |mean| f64::from(mean[q]));
        *out = ((s * r + mean) / (s * kappa + 1.0)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ragged;

    const TABLE: [f32; 6] = [0.1, -0.7, 1.3, 0.33, -2.9, 0.01];

    fn sums(items: &[i32], weights: &[f32]) -> (Vec<f64>, f64) {
        let offsets = [0, items.len() as i64];
        let rows = Ragged::new("test", "rows", &offsets, items, 3).unwrap();
        let events = Events::new("test", rows, weights, None).unwrap();
        let (mut r, mut kappa) = (vec![9.0; 2], vec![9.0]);
        state(events, &TABLE, 2, &mut r, &mut kappa).unwrap();
        (r, kappa[0])
    }

    #[test]
    fn sums_are_exact_in_any_order_and_can_be_undone() {
        let (all, kappa) = sums(&[0, 1, 2, 1], &[0.3, 1.7, 0.9, 5.1]);
        let (shuffled, _) = sums(&[1, 2, 1, 0], &[5.1, 0.9, 1.7, 0.3]);
        assert_eq!(all, shuffled);
        let (part, part_kappa) = sums(&[2, 0], &[0.9, 0.3]);
        let (rest, rest_kappa) = sums(&[1, 1], &[1.7, 5.1]);
        assert_eq!([all[0] - part[0], all[1] - part[1]], rest[..]);
        assert_eq!(kappa - part_kappa, rest_kappa);
        assert_eq!(sums(&[], &[]), (vec![0.0; 2], 0.0));
    }

    #[test]
    fn refuses_sums_that_would_not_be_exact() {
        let rows = Ragged::new("test", "rows", &[0, 1], &[0], 3).unwrap();
        let events = Events::new("test", rows, &[3e9], None).unwrap();
        let error = state(events, &TABLE, 2, &mut [0.0; 2], &mut [0.0]).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
    }

    #[test]
    fn posterior_follows_the_bin_of_kappa() {
        let prior =
            Prior { variance: &[0.0, 1.0, 2.0, 4.0], edges: &[1.5], mean: Some(&[0.5, 1.0, 0.0, 0.0]) };
        let mut out = [0.0; 4];
        query(&[3.0, 4.0, 3.0, 4.0], &[1.0, 2.0], 2, prior, &mut out).unwrap();
        assert_eq!(out, [0.5, 2.5, 6.0 / 5.0, 16.0 / 9.0]);
    }
}
