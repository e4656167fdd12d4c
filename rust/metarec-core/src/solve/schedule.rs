//! How a batch is cut into tasks of the pool.

use std::ops::Range;

use super::lanes::LANES;
use crate::Ragged;

/// What a user costs beside their events, in events.
const USER: usize = 16;

/// A task's least cost, in events: a hundred microseconds of work or so, many times what a thread takes to wake.
const LEAST: usize = 4096;

/// Tasks for each thread, so that uneven ones even out.
const TASKS: usize = 8;

/// Cut the rows into tasks of like cost, for so many threads. The results don't depend on where the cuts are.
pub(super) fn blocks(rows: Ragged<'_>, threads: usize) -> Vec<Range<usize>> {
    let total = rows.items().len() + USER * rows.len();
    let enough = (total / (TASKS * threads)).max(LEAST);
    let (mut found, mut first, mut cost) = (Vec::new(), 0, 0);
    for row in 0..rows.len() {
        cost += USER + rows.range(row).len();
        let whole = (row + 1 - first).is_multiple_of(LANES);
        if row + 1 == rows.len() || (cost >= enough && whole) || cost >= 2 * enough {
            found.push(first..row + 1);
            (first, cost) = (row + 1, 0);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_task_and_a_long_one_ends_it() {
        let mut offsets = vec![0_i64];
        for row in 0..1000 {
            offsets.push(offsets[row] + if row == 500 { 50_000 } else { 20 });
        }
        let items = vec![0; offsets[1000] as usize];
        let rows = Ragged::new("test", "rows", &offsets, &items, 1).unwrap();
        let found = blocks(rows, 2);
        assert!(found.len() > 4);
        assert_eq!(found.first().map(|block| block.start), Some(0));
        assert_eq!(found.last().map(|block| block.end), Some(1000));
        assert!(found.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(found.iter().any(|block| block.end == 501));
        assert!(blocks(Ragged::new("test", "rows", &[0], &[], 1).unwrap(), 4).is_empty());
    }
}
