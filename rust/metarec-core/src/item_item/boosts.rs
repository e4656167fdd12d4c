//! What a history adds up to in the item-item table.

use rayon::prelude::*;

use super::neighbours::Table;
use crate::solve::Events;
use crate::{Error, Ragged, Result, finite, pool};

/// How a row of sums becomes boosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boosts {
    /// The sums as they are.
    Sum,
    /// `(K / ΣK)^½` over the row: comparable between short and long histories.
    Root,
}

/// Above this share of the catalogue a dense accumulator is faster than sorting.
const DENSE_SHARE: usize = 8;

/// A checked table of neighbours: row j holds the items that j speaks for, with weights of at least 0.
///
/// Checked once, because a table is large and asked for one user at a time.
#[derive(Debug, Clone)]
pub struct NeighbourTable {
    offsets: Vec<i64>,
    items: Vec<i32>,
    values: Vec<f32>,
}

impl NeighbourTable {
    /// Check and keep a table over `offsets.len() - 1` items.
    pub fn new(offsets: Vec<i64>, items: Vec<i32>, values: Vec<f32>) -> Result<Self> {
        const OPERATION: &str = "item_neighbours";
        Ragged::new(OPERATION, "neighbour_items", &offsets, &items, offsets.len().saturating_sub(1))?;
        if values.len() != items.len() {
            let (got, expected) =
                (format!("{} values", values.len()), format!("{}, one an entry", items.len()));
            return Err(Error::Shape { operation: OPERATION, argument: "neighbour_values", got, expected });
        }
        finite::check(OPERATION, "neighbour_values", &values, 1)?;
        if let Some(position) = values.iter().position(|&value| value < 0.0) {
            let got = format!("{} at position {position}", values[position]);
            let expected = "values of at least 0".to_owned();
            return Err(Error::Value { operation: OPERATION, argument: "neighbour_values", got, expected });
        }
        Ok(Self { offsets, items, values })
    }

    /// Items in the catalogue.
    pub fn n_items(&self) -> usize {
        self.offsets.len() - 1
    }

    /// For each user `Σ_{j∈S} ω_j K_j·` (the sum of the table's rows), items ascending, zeros left out.
    ///
    /// Contributions to an item are added in the order of the history, whichever way they are gathered.
    /// The rows of `events` must have been checked against [`Self::n_items`].
    pub fn boosts(&self, events: Events<'_>, form: Boosts) -> Result<Table> {
        let rows: Vec<Vec<(i32, f32)>> = pool::run(|| {
            (0..events.rows.len())
                .into_par_iter()
                .map_init(Vec::new, |dense, user| self.row(events, user, form, dense))
                .collect()
        })?;
        let total = rows.iter().map(Vec::len).sum();
        let mut out: Table = (vec![0], Vec::with_capacity(total), Vec::with_capacity(total));
        for row in rows {
            out.1.extend(row.iter().map(|entry| entry.0));
            out.2.extend(row.iter().map(|entry| entry.1));
            out.0.push(out.1.len() as i64);
        }
        Ok(out)
    }

    fn row(&self, events: Events<'_>, user: usize, form: Boosts, dense: &mut Vec<f32>) -> Vec<(i32, f32)> {
        let history = events.rows.row(user);
        let weights = &events.weights[events.rows.range(user)];
        let entries: usize = history.iter().map(|&item| self.range(item).len()).sum();
        let contributions = history.iter().zip(weights).flat_map(|(&item, &weight)| {
            let range = self.range(item);
            let values = &self.values[range.clone()];
            self.items[range].iter().zip(values).map(move |(&item, &value)| (item, weight * value))
        });
        let mut row = if entries * DENSE_SHARE > self.n_items() {
            dense_sums(contributions, dense, self.n_items())
        } else {
            sorted_sums(contributions)
        };
        if form == Boosts::Root {
            take_root(&mut row);
        }
        row
    }

    fn range(&self, item: i32) -> std::ops::Range<usize> {
        self.offsets[item as usize] as usize..self.offsets[item as usize + 1] as usize
    }
}

fn dense_sums(
    contributions: impl Iterator<Item = (i32, f32)>,
    sums: &mut Vec<f32>,
    n_items: usize,
) -> Vec<(i32, f32)> {
    sums.clear();
    sums.resize(n_items, 0.0);
    for (item, value) in contributions {
        sums[item as usize] += value;
    }
    let filled = sums.iter().enumerate().filter(|entry| *entry.1 > 0.0);
    filled.map(|(item, &value)| (item as i32, value)).collect()
}

fn sorted_sums(contributions: impl Iterator<Item = (i32, f32)>) -> Vec<(i32, f32)> {
    let mut all: Vec<(i32, f32)> = contributions.collect();
    // Stable: one item's contributions stay in the order of the history.
    all.sort_by_key(|entry| entry.0);
    all.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 += later.1;
        }
        same
    });
    all.retain(|entry| entry.1 > 0.0);
    all
}

fn take_root(row: &mut [(i32, f32)]) {
    let total: f64 = row.iter().map(|entry| f64::from(entry.1)).sum();
    for entry in row {
        entry.1 = (f64::from(entry.1) / total).sqrt() as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_summing_agree_to_the_bit() {
        let entries: Vec<(i32, f32)> =
            (0..500).map(|i| ((i * 7919) % 61, 0.1 + (i % 13) as f32 / 7.0)).collect();
        let dense = dense_sums(entries.iter().copied(), &mut Vec::new(), 61);
        assert_eq!(dense, sorted_sums(entries.into_iter()));
    }

    #[test]
    fn root_makes_squares_that_sum_to_one() {
        let mut row = [(0, 3.0), (1, 1.0)];
        take_root(&mut row);
        assert_eq!(row, [(0, 0.75f32.sqrt()), (1, 0.5)]);
    }
}
