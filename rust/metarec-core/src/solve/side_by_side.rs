//! The dual systems of up to sixteen users side by side, one user a lane.

use super::aligned::Aligned;
use super::lane_cholesky::{solve_lanes, width_of};
use super::lanes::{LANES, Lanes, add_combination, vectorised};
use super::row::Row;
use super::turn::{STEP, prefetch, turn};

/// Lanes of gathered rows that are multiplied at once, so that they stay in the level 1 cache.
const CACHED: usize = 384;

/// Values of a table that is near enough without asking for its rows in advance: 2 MB.
const NEAR: usize = 1 << 19;

/// Rows and columns of a register tile.
const TILE: usize = 2;

/// Columns that the loop over a tile takes at once; they divide [`STEP`].
const UNROLLED: usize = 4;

/// Working memory of one thread.
#[derive(Default)]
pub(super) struct Space {
    /// Where the row of each event starts in the table; [event][lane].
    starts: Vec<[usize; LANES]>,
    /// √ω, y and the solution of each event.
    roots: Aligned,
    targets: Aligned,
    shares: Aligned,
    /// Some columns of the gathered rows, [event][column].
    rows: Aligned,
    /// The same columns of 1/√δ.
    scales: Aligned,
    system: Aligned,
    inverse_pivots: Aligned,
}

/// Up to 16 users whose u0 and 1/√δ (where the table doesn't hold it) lie one after the other, f32[users, width].
pub(super) struct Group<'a> {
    pub users: &'a [Row<'a>],
    pub inverse_roots: Option<&'a [f32]>,
    /// Whether some u0 isn't 0.
    pub with_mean: bool,
}

/// Whether users, the longest first, are solved sooner side by side than one by one.
///
/// Side by side costs what sixteen users of the greatest length cost, however few there are. Measured on AVX2 it
/// takes 4 users of 5 events, 7 of 32 and 11 of 64 to be worth it, and short ones count by their length.
pub(super) fn worthwhile(users: &[Row<'_>]) -> bool {
    let longest = users.first().map_or(0, |user| user.items.len());
    let total: usize = users.iter().map(|user| user.items.len()).sum();
    longest > 0 && 8 * total >= longest * (longest + 24)
}

vectorised! {
    /// What [`super::row::solve_row`] does in the dual, to the bit, for a whole group: `u` holds u0 of each user
    /// and becomes their solutions. Returns the users whose positive definiteness rounding destroyed.
    pub(super) fn solve_side_by_side(
        group: &Group<'_>,
        table: &[f32],
        space: &mut Space,
        u: &mut [f32],
    ) -> [bool; LANES] {
        let width = u.len() / group.users.len();
        let size = group.users.iter().map(|user| user.items.len()).max().unwrap_or(0);
        space.take_events(group, table, size, width);
        space.multiply_rows(group, size, width, table, u);
        space.weigh(size, group.with_mean);
        let failed = solve_lanes(&mut space.system, size, &mut space.inverse_pivots, &mut space.shares);
        for (share, root) in space.shares.iter_mut().zip(space.roots.iter()).take(size) {
            *share = std::array::from_fn(|lane| share[lane] * root[lane]);
        }
        for (lane, (user, u)) in group.users.iter().zip(u.chunks_exact_mut(width)).enumerate() {
            let shares = &space.shares[..user.items.len()];
            add_combination(u, table, user.items, |event| shares[event][lane], user.inverse_root);
        }
        failed
    }
}

impl Space {
    /// Where a user has no more events, the row of zeros at `nothing` and the weight 0 leave what the identity
    /// has, and every step on it adds an exact 0 to the lane.
    #[inline(always)]
    fn take_events(&mut self, group: &Group<'_>, table: &[f32], size: usize, width: usize) {
        let nothing = table.len() - width;
        self.starts.clear();
        self.starts.resize(size, [nothing; LANES]);
        for memory in [&mut self.roots, &mut self.targets, &mut self.shares, &mut self.inverse_pivots] {
            memory.reserve(size);
        }
        self.roots[..size].fill([0.0; LANES]);
        self.targets[..size].fill([1.0; LANES]);
        for (lane, user) in group.users.iter().enumerate() {
            for (starts, &item) in self.starts.iter_mut().zip(user.items) {
                starts[lane] = item as usize * width;
                if table.len() > NEAR {
                    prefetch(table, starts[lane], width);
                }
            }
            for (roots, &weight) in self.roots.iter_mut().zip(user.weights) {
                roots[lane] = weight;
            }
            for (targets, &target) in self.targets.iter_mut().zip(user.targets.unwrap_or(&[])) {
                targets[lane] = target;
            }
        }
        for roots in &mut self.roots[..size] {
            *roots = roots.map(f32::sqrt);
        }
    }

    /// The inner products of each user's t, and in the last column those with u0.
    #[inline(always)]
    fn multiply_rows(&mut self, group: &Group<'_>, size: usize, width: usize, table: &[f32], u: &[f32]) {
        let side = width_of(size);
        let at_once = (CACHED / (size + 1) / STEP * STEP).clamp(STEP, width);
        self.rows.reserve(at_once * (size + 1));
        self.scales.reserve(at_once);
        self.system.reserve(size * side);
        // Lanes without a user take the numbers of one; their weights are 0.
        let mut of_user: [usize; LANES] = std::array::from_fn(|lane| lane * width % u.len());
        for start in (0..width).step_by(at_once) {
            let columns = at_once.min(width - start);
            let count = size + usize::from(group.with_mean);
            let (scales, rows) = (&mut self.scales[..columns], &mut self.rows[..count * columns]);
            if let Some(inverse_roots) = group.inverse_roots {
                turn(inverse_roots, &of_user, scales);
            }
            for (starts, row) in self.starts.iter_mut().zip(rows.chunks_exact_mut(columns)) {
                turn(table, starts, row);
                starts.iter_mut().for_each(|start| *start += columns);
                if group.inverse_roots.is_some() {
                    for (values, scale) in row.iter_mut().zip(&*scales) {
                        *values = std::array::from_fn(|lane| scale[lane] * values[lane]);
                    }
                }
            }
            if group.with_mean {
                turn(u, &of_user, &mut rows[size * columns..]);
            }
            of_user.iter_mut().for_each(|start| *start += columns);
            add_inner_products(&mut self.system, rows, size, columns, start == 0);
        }
    }

    /// From inner products to `I + √Ω G √Ω` and `√Ω (y − T u0)`.
    #[inline(always)]
    fn weigh(&mut self, size: usize, with_mean: bool) {
        for (row, line) in self.system.chunks_exact_mut(width_of(size)).take(size).enumerate() {
            let (root, target) = (self.roots[row], self.targets[row]);
            for (value, other) in line[row..size].iter_mut().zip(&self.roots[row..]) {
                *value = std::array::from_fn(|lane| root[lane] * other[lane] * value[lane]);
            }
            line[row] = line[row].map(|value| value + 1.0);
            let known = if with_mean { line[size] } else { [0.0; LANES] };
            line[size] = std::array::from_fn(|lane| root[lane] * (target[lane] - known[lane]));
        }
    }
}

/// Add the inner products of `rows`, each of `columns` lanes, to the upper triangle of a system, or write them
/// where `anew`; a row beyond `size` is a right-hand side.
#[inline(always)]
fn add_inner_products(system: &mut [Lanes], rows: &[Lanes], size: usize, columns: usize, anew: bool) {
    let (count, side) = (rows.len() / columns, width_of(size));
    for first in (0..size).step_by(TILE) {
        for column in (first..count).step_by(TILE) {
            let (left, right) = (&rows[first * columns..], &rows[column * columns..]);
            let system = &mut system[first * side + column..];
            match (first + 1 < size, column + 1 < count) {
                (true, true) => add_tile::<2, 2>(system, left, right, side, columns, anew),
                (true, false) => add_tile::<2, 1>(system, left, right, side, columns, anew),
                (false, true) => add_tile::<1, 2>(system, left, right, side, columns, anew),
                (false, false) => add_tile::<1, 1>(system, left, right, side, columns, anew),
            }
        }
    }
}

#[inline(always)]
fn add_tile<const ROWS: usize, const COLUMNS: usize>(
    system: &mut [Lanes],
    left: &[Lanes],
    right: &[Lanes],
    side: usize,
    columns: usize,
    anew: bool,
) {
    let mut tile = [[[0.0; LANES]; COLUMNS]; ROWS];
    if !anew {
        tile = std::array::from_fn(|i| std::array::from_fn(|j| system[i * side + j]));
    }
    let left: [&[Lanes]; ROWS] = std::array::from_fn(|i| &left[i * columns..(i + 1) * columns]);
    let right: [&[Lanes]; COLUMNS] = std::array::from_fn(|j| &right[j * columns..(j + 1) * columns]);
    for start in (0..columns).step_by(UNROLLED) {
        let left = left.map(|row| row[start..].first_chunk::<UNROLLED>().expect("whole steps"));
        let right = right.map(|row| row[start..].first_chunk::<UNROLLED>().expect("whole steps"));
        for column in 0..UNROLLED {
            let right: [Lanes; COLUMNS] = right.map(|row| row[column]);
            for (sums, left) in tile.iter_mut().zip(left) {
                for (sum, right) in sums.iter_mut().zip(&right) {
                    *sum = std::array::from_fn(|lane| left[column][lane].mul_add(right[lane], sum[lane]));
                }
            }
        }
    }
    for (i, sums) in tile.iter().enumerate() {
        for (j, sum) in sums.iter().enumerate() {
            system[i * side + j] = *sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solve::row::{Scratch, solve_row};
    use crate::solve::textbook;

    struct Users {
        items: Vec<Vec<i32>>,
        weights: Vec<Vec<f32>>,
        targets: Vec<Vec<f32>>,
        inverse_roots: Vec<f32>,
        u0: Vec<f32>,
        table: Vec<f32>,
        width: usize,
    }

    impl Users {
        fn new(lengths: &[usize], width: usize) -> Self {
            let mut state = 7_u32;
            let mut number = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / 8_388_608.0 - 1.0
            };
            let n_items = 50;
            let mut numbers = |count: usize| (0..count).map(|_| number()).collect::<Vec<f32>>();
            let mut table = numbers(n_items * width);
            table.resize((n_items + 1) * width, 0.0);
            let many = |scale: f32, add: f32, numbers: &mut dyn FnMut(usize) -> Vec<f32>| {
                lengths
                    .iter()
                    .map(|&length| numbers(length).into_iter().map(|value| value * scale + add).collect())
                    .collect::<Vec<Vec<f32>>>()
            };
            let items = many(25.0, 25.0, &mut numbers);
            Self {
                items: items
                    .into_iter()
                    .map(|row| row.into_iter().map(|value| value.clamp(0.0, 49.0) as i32).collect())
                    .collect(),
                weights: many(1.0, 1.0, &mut numbers),
                targets: many(2.0, 0.5, &mut numbers),
                inverse_roots: numbers(lengths.len() * width).into_iter().map(|value| 1.1 + value).collect(),
                u0: numbers(lengths.len() * width),
                table,
                width,
            }
        }

        fn rows(&self, own_scale: bool, own_targets: bool) -> Vec<Row<'_>> {
            (0..self.items.len())
                .map(|user| Row {
                    items: &self.items[user],
                    weights: &self.weights[user],
                    targets: own_targets.then(|| &self.targets[user][..]),
                    inverse_root: own_scale
                        .then(|| &self.inverse_roots[user * self.width..(user + 1) * self.width]),
                })
                .collect()
        }
    }

    #[test]
    fn alone_and_side_by_side_follow_the_textbook_to_the_bit() {
        let lengths = [40, 33, 17, 16, 9, 5, 5, 3, 2, 1, 1, 0];
        for width in [48, 112] {
            let users = Users::new(&lengths, width);
            for (own_scale, own_targets, with_mean) in
                [(false, false, false), (true, true, true), (false, true, true), (true, false, false)]
            {
                let rows = users.rows(own_scale, own_targets);
                let u0 = if with_mean { users.u0.clone() } else { vec![0.0; users.u0.len()] };
                let mut together = u0.clone();
                let group = Group {
                    users: &rows,
                    inverse_roots: own_scale.then_some(&users.inverse_roots),
                    with_mean,
                };
                let failed = solve_side_by_side(&group, &users.table, &mut Space::default(), &mut together);
                assert_eq!(failed, [false; LANES]);
                for (user, row) in rows.iter().enumerate() {
                    let range = user * width..(user + 1) * width;
                    let want = textbook::dual(row, &users.table, &u0[range.clone()]).unwrap();
                    assert_eq!(together[range.clone()], want, "user {user} side by side");
                    let mut alone = u0[range].to_vec();
                    assert!(solve_row(row, &users.table, width, &mut Scratch::default(), &mut alone));
                    assert_eq!(alone, want, "user {user} alone");
                }
            }
        }
    }

    #[test]
    fn a_few_short_users_or_one_long_among_them_are_not_worth_it() {
        let count = |lengths: &[usize]| {
            let users = Users::new(lengths, 16);
            worthwhile(&users.rows(false, false))
        };
        assert!(count(&[5; 4]) && !count(&[5; 3]));
        assert!(count(&[32; 7]) && !count(&[32; 6]));
        assert!(count(&[100; 16]) && !count(&[110; 16]));
        assert!(!count(&[60, 3, 3, 3, 3, 3, 3]) && !count(&[0; 16]) && !count(&[]));
    }
}
