//! Users' vectors against normal equations in float64, and the same bits in every batch, order and pool.

use metarec_core::solve::{Events, FactorSolver};
use metarec_core::{Error, Ragged};
use proptest::prelude::*;
use rayon::ThreadPoolBuilder;

const ITEMS: usize = 40;

/// A batch, owned: for each user (item, weight, target) of each event, and a prior mean.
#[derive(Debug, Clone)]
struct Batch {
    width: usize,
    factors: Vec<f32>,
    precision: Vec<f32>,
    unobserved_weight: f32,
    exponent: f32,
    users: Vec<Vec<(i32, f32, f32)>>,
    means: Option<Vec<f32>>,
}

impl Batch {
    fn solver(&self) -> FactorSolver {
        FactorSolver::new(&self.factors, &self.precision, self.unobserved_weight, self.exponent).unwrap()
    }

    /// Solve the users that `rows` names, in that order, on so many threads.
    fn solve(&self, solver: &FactorSolver, rows: &[usize], threads: usize) -> (Vec<f32>, Option<Error>) {
        let mut offsets = vec![0_i64];
        let (mut items, mut weights, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for &row in rows {
            for &(item, weight, target) in &self.users[row] {
                items.push(item);
                weights.push(weight);
                targets.push(target);
            }
            offsets.push(items.len() as i64);
        }
        let means: Option<Vec<f32>> = self.means.as_ref().map(|means| {
            rows.iter().flat_map(|row| &means[row * self.width..(row + 1) * self.width]).copied().collect()
        });
        let rows = Ragged::new("test", "rows", &offsets, &items, ITEMS).unwrap();
        let events = Events::new("test", rows, &weights, Some(&targets)).unwrap();
        let mut out = vec![f32::NAN; rows.len() * self.width];
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let error = pool.install(|| solver.solve(events, means.as_deref(), &mut out)).err();
        (out, error)
    }

    /// α₀ΦᵀΦ in float64, f64[m, m].
    fn shared(&self) -> Vec<f64> {
        let m = self.width;
        let mut shared = vec![0.0; m * m];
        for row in self.factors.chunks(m) {
            for p in 0..m {
                for q in 0..m {
                    shared[p * m + q] += f64::from(self.unobserved_weight * row[p]) * f64::from(row[q]);
                }
            }
        }
        shared
    }

    /// The normal equations of one user by Cholesky's method in float64, and how much the events weigh beside
    /// the prior, `Σ_j ω_j φ_jᵀ (t Λ)⁻¹ φ_j`, which bounds the condition of the system.
    fn reference(&self, shared: &[f64], user: usize) -> (Vec<f64>, f64) {
        let m = self.width;
        let total: f64 = self.users[user].iter().map(|event| f64::from(event.1)).sum();
        let mass = total + f64::from(self.unobserved_weight) * ITEMS as f64;
        let scale = if mass == 0.0 { 1.0 } else { mass.powf(f64::from(self.exponent)) };
        let prior: Vec<f64> = self.precision.iter().map(|&value| scale * f64::from(value)).collect();
        let mean = |p: usize| self.means.as_ref().map_or(0.0, |means| f64::from(means[user * m + p]));
        let mut left = shared.to_vec();
        let mut right: Vec<f64> = (0..m).map(|p| prior[p] * mean(p)).collect();
        (0..m).for_each(|p| left[p * m + p] += prior[p]);
        let mut strength = 0.0;
        for &(item, weight, target) in &self.users[user] {
            let row = &self.factors[item as usize * m..(item as usize + 1) * m];
            for p in 0..m {
                let weighted = f64::from(weight) * f64::from(row[p]);
                right[p] += weighted * f64::from(target);
                strength += weighted * f64::from(row[p]) / prior[p];
                for q in 0..m {
                    left[p * m + q] += weighted * f64::from(row[q]);
                }
            }
        }
        (cholesky(&left, right), strength)
    }
}

fn cholesky(matrix: &[f64], mut x: Vec<f64>) -> Vec<f64> {
    let size = x.len();
    let mut lower = matrix.to_vec();
    for i in 0..size {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|t| lower[i * size + t] * lower[j * size + t]).sum();
            let rest = matrix[i * size + j] - sum;
            lower[i * size + j] = if i == j { rest.sqrt() } else { rest / lower[j * size + j] };
        }
        let sum: f64 = (0..i).map(|t| lower[i * size + t] * x[t]).sum();
        x[i] = (x[i] - sum) / lower[i * size + i];
    }
    for i in (0..size).rev() {
        let sum: f64 = (i + 1..size).map(|t| lower[t * size + i] * x[t]).sum();
        x[i] = (x[i] - sum) / lower[i * size + i];
    }
    x
}

fn number() -> impl Strategy<Value = f32> {
    (-1000..=1000_i32).prop_map(|value| value as f32 / 500.0)
}

/// No weight at all, one around 1, or one between a millionth and a million.
fn weight() -> impl Strategy<Value = f32> {
    prop_oneof![
        1 => Just(0.0_f32),
        4 => (10..300_i32).prop_map(|value| value as f32 / 100.0),
        2 => (-600..=600_i32).prop_map(|exponent| 10_f32.powf(exponent as f32 / 100.0)),
    ]
}

/// Users of 0, 1, 2, … to far more events than factors, with repeated items.
fn batches() -> impl Strategy<Value = Batch> {
    let width = prop_oneof![Just(1_usize), Just(2), Just(7), Just(16), Just(17), Just(33)];
    (width, 1_usize..40).prop_flat_map(|(width, users)| {
        let length = prop_oneof![
            1 => Just(0_usize), 2 => 1..4_usize, 4 => Just(5), 4 => 1..=width, 1 => width..=3 * width
        ];
        let user = length.prop_flat_map(move |length| {
            proptest::collection::vec((0..ITEMS as i32, weight(), number()), length)
        });
        (
            proptest::collection::vec(number(), ITEMS * width),
            proptest::collection::vec((50..300_i32).prop_map(|value| value as f32 / 100.0), width),
            prop_oneof![Just(0.0_f32), Just(0.1), Just(2.0)],
            prop_oneof![Just(0.0_f32), Just(1.0)],
            proptest::collection::vec(user, users),
            proptest::option::of(proptest::collection::vec(number(), users * width)),
        )
            .prop_map(move |(factors, precision, unobserved_weight, exponent, users, means)| Batch {
                width,
                factors,
                precision,
                unobserved_weight,
                exponent,
                users,
                means,
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn agrees_with_the_normal_equations(batch in batches()) {
        let rows: Vec<usize> = (0..batch.users.len()).collect();
        let (got, error) = batch.solve(&batch.solver(), &rows, 2);
        let shared = batch.shared();
        let mut first_failed = None;
        for (user, got) in got.chunks(batch.width).enumerate() {
            let (want, strength) = batch.reference(&shared, user);
            if got[0].is_nan() {
                prop_assert!(strength > 1e6, "user {user} failed at strength {strength}");
                first_failed = first_failed.or(Some(user));
                continue;
            }
            let largest = want.iter().fold(2.0_f64, |largest, value| largest.max(value.abs()));
            let tolerance = 5e-8 * (20.0 + strength) * largest;
            for (got, want) in got.iter().zip(&want) {
                prop_assert!((f64::from(*got) - want).abs() <= tolerance, "user {user}: {got} for {want}");
            }
        }
        prop_assert_eq!(failed_row(error), first_failed);
    }

    #[test]
    fn the_same_bits_in_every_batch_order_and_pool(batch in batches(), turn in 0_usize..40) {
        let solver = batch.solver();
        let rows: Vec<usize> = (0..batch.users.len()).collect();
        let (all, _) = batch.solve(&solver, &rows, 1);
        let all: Vec<&[f32]> = all.chunks(batch.width).collect();
        let mut turned = rows.clone();
        turned.rotate_left(turn % rows.len());
        turned.reverse();
        // Copies make tasks for several threads, full groups and other neighbours.
        let many: Vec<usize> = turned.iter().copied().cycle().take(400).collect();
        for (order, threads) in [(&turned, 1), (&many, 1), (&many, 3)] {
            let (got, _) = batch.solve(&solver, order, threads);
            for (&row, got) in order.iter().zip(got.chunks(batch.width)) {
                prop_assert!(same_bits(got, all[row]), "row {row}: {got:?} and {:?}", all[row]);
            }
        }
        for row in rows {
            let (alone, _) = batch.solve(&solver, &[row], 1);
            prop_assert!(same_bits(&alone, all[row]), "row {row}: {alone:?} and {:?}", all[row]);
        }
    }
}

fn same_bits(left: &[f32], right: &[f32]) -> bool {
    left.iter().zip(right).all(|(left, right)| left.to_bits() == right.to_bits())
}

fn failed_row(error: Option<Error>) -> Option<usize> {
    match error {
        None => None,
        Some(Error::NotPositiveDefinite { row, .. }) => Some(row),
        Some(other) => panic!("{other}"),
    }
}

/// Fifty users of five events, some of whom weigh so much that rounding or overflow makes their system
/// singular.
#[test]
fn a_singular_user_is_named_and_harms_nobody() {
    let width = 16;
    let number = |i: usize| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0;
    let healthy = Batch {
        width,
        factors: (0..ITEMS * width).map(number).collect(),
        precision: vec![1.0; width],
        unobserved_weight: 0.0,
        exponent: 0.0,
        users: (0..50)
            .map(|user| (0..5).map(|event| (((user * 7 + event * 3) % ITEMS) as i32, 1.0, 1.0)).collect())
            .collect(),
        means: None,
    };
    let solver = healthy.solver();
    let rows: Vec<usize> = (0..50).collect();
    let (want, error) = healthy.solve(&solver, &rows, 1);
    assert_eq!(error, None);
    for weight in [1e9, f32::MAX] {
        let mut sick = healthy.clone();
        for row in [41, 23, 24] {
            sick.users[row].iter_mut().for_each(|event| *event = (3, weight, 1.0));
        }
        // All of them side by side, and three one by one.
        for (order, threads) in [(&rows[..], 1), (&rows[..], 3), (&[22, 23, 25], 1)] {
            let (got, error) = sick.solve(&solver, order, threads);
            assert_eq!(failed_row(error), order.iter().position(|&row| row == 23));
            for (&row, got) in order.iter().zip(got.chunks(width)) {
                if [23, 24, 41].contains(&row) {
                    assert!(got.iter().all(|value| value.is_nan()), "row {row}: {got:?}");
                } else {
                    assert!(same_bits(got, &want[row * width..(row + 1) * width]), "row {row}: {got:?}");
                }
            }
        }
    }
}
