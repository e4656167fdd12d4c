//! How a batch is divided among threads: groups of users, and stretches of items where users are too few.

use rayon::prelude::*;

use super::super::kernel::{BLOCK, USERS};
use super::scan::Scan;
use super::select;

/// Multiply-adds below which one thread is faster, about a fifth of a millisecond.
const SMALL: usize = 8 << 20;
/// Query values of a group, which should stay in the second-level cache while the items stream by.
const GROUP_VALUES: usize = 32 << 10;
/// Tasks for each thread, so that a slow one doesn't hold up the rest.
const TASKS: usize = 4;
/// Least chunks of a stretch, so that filling the buffers anew for each doesn't show.
const STRETCH: usize = 32;

/// A grid of user groups × item stretches.
pub struct Plan {
    groups: usize,
    stretches: usize,
    rows: usize,
    chunks: usize,
}

impl Plan {
    /// Whether the work isn't worth a second thread.
    pub fn is_small(rows: usize, items: usize, width: usize) -> bool {
        rows.saturating_mul(items.next_multiple_of(BLOCK)).saturating_mul(width.max(1)) < SMALL
    }

    /// The grid for `rows` users, `chunks` chunks of items and that many threads.
    pub fn new(rows: usize, chunks: usize, width: usize, threads: usize) -> Self {
        let most_users = (GROUP_VALUES / width.max(1)).clamp(2 * USERS, 32 * USERS);
        let wanted = if threads > 1 { threads * TASKS } else { 1 };
        // Groups of fewer than two tiles would read the items too often for what they compute.
        let groups = rows.div_ceil(most_users).max(wanted.min(rows / (2 * USERS))).max(1);
        let stretches = wanted.div_ceil(groups).min(chunks / STRETCH).max(1);
        Self { groups, stretches, rows, chunks }
    }

    /// Run the scan over the grid, from row `start` of the batch on, and merge; the best `k` keys of every row.
    pub fn run(&self, scan: &Scan<'_>, start: usize, k: usize) -> Vec<Vec<u64>> {
        let groups: Vec<Vec<Vec<u64>>> =
            (0..self.groups).into_par_iter().map(|group| self.group(scan, start, group, k)).collect();
        groups.into_iter().flatten().collect()
    }

    fn group(&self, scan: &Scan<'_>, start: usize, group: usize, k: usize) -> Vec<Vec<u64>> {
        let (first, last) = part(self.rows, self.groups, group);
        let stretches: Vec<Vec<Vec<u64>>> = (0..self.stretches)
            .into_par_iter()
            .map(|stretch| {
                let (from, to) = part(self.chunks, self.stretches, stretch);
                scan.run(start + first, start + last, from, to)
            })
            .collect();
        let mut merged = stretches.into_iter();
        let mut best = merged.next().unwrap_or_default();
        for stretch in merged {
            for (keys, more) in best.iter_mut().zip(stretch) {
                keys.extend(more);
            }
        }
        if self.stretches > 1 {
            // Keys hold score and item, so that the order of merging doesn't matter.
            best.iter_mut().for_each(|keys| select::finish(keys, k));
        }
        best
    }
}

/// Bounds of part `index` of `parts` nearly equal ones.
fn part(length: usize, parts: usize, index: usize) -> (usize, usize) {
    (length * index / parts, length * (index + 1) / parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_users_split_the_items_and_many_split_themselves() {
        let one = Plan::new(1, 1563, 64, 4);
        assert_eq!((one.groups, one.stretches), (1, 16));
        let many = Plan::new(1024, 1563, 64, 2);
        assert_eq!((many.groups, many.stretches), (8, 1));
        let tiny = Plan::new(1, 3, 64, 4);
        assert_eq!((tiny.groups, tiny.stretches), (1, 1));
        let single = Plan::new(1024, 1563, 64, 1);
        assert_eq!((single.groups, single.stretches), (6, 1));
    }
}
