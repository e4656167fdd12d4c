//! The best neighbours of each item by shrunk cosine, symmetric or directed.

use rayon::prelude::*;

use crate::transpose::events_of_items;
use crate::{Error, Ragged, Result, pool};

const OPERATION: &str = "item_knn";

/// What to count and how much of it to keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbours {
    /// Most entries in a row of the table.
    pub most: usize,
    /// Added to the denominator: pairs seen together rarely count for less.
    pub shrinkage: f32,
    /// None counts the users who have both items; `Some(w)` counts how often j is among the w events after i.
    pub window: Option<usize>,
}

/// A sparse square table: row i is `items[offsets[i]..offsets[i + 1]]`, ascending, with `values` beside it.
pub type Table = (Vec<i64>, Vec<i32>, Vec<f32>);

/// `K_ij = c_ij / (√(c_i c_j) + shrinkage)`, the `most` best j of each row i, ties to the lower index.
///
/// Symmetric: c_ij and c_i count users, each item once a user. Directed: c_ij counts pairs of events within the
/// window, c_i events.
pub fn neighbours(rows: Ragged<'_>, n_items: usize, options: Neighbours) -> Result<Table> {
    for (argument, fine, got, expected) in [
        ("neighbours", options.most > 0, options.most.to_string(), "at least 1"),
        ("window", options.window != Some(0), "0".to_owned(), "at least 1, or None"),
        (
            "shrinkage",
            options.shrinkage.is_finite() && options.shrinkage >= 0.0,
            options.shrinkage.to_string(),
            "a finite number of at least 0",
        ),
    ] {
        if !fine {
            return Err(Error::Value { operation: OPERATION, argument, got, expected: expected.to_owned() });
        }
    }
    let unique = options.window.is_none().then(|| once_per_row(rows, n_items));
    let rows = match &unique {
        Some((offsets, items)) => Ragged::new(OPERATION, "histories", offsets, items, n_items)?,
        None => rows,
    };
    let (offsets, positions, owners) = events_of_items(rows, n_items);
    let lists: Vec<Vec<(i32, f32)>> = pool::run(|| {
        (0..n_items)
            .into_par_iter()
            .with_min_len(8)
            .map_init(
                || (vec![0u32; n_items], Vec::new()),
                |(counts, touched), item| {
                    let events = offsets[item] as usize..offsets[item + 1] as usize;
                    for event in events.clone() {
                        let row = rows.range(owners[event] as usize);
                        let partners = match options.window {
                            None => row,
                            Some(window) => {
                                let next = positions[event] + 1;
                                next..row.end.min(next.saturating_add(window))
                            }
                        };
                        for &other in &rows.items()[partners] {
                            let count = &mut counts[other as usize];
                            if *count == 0 {
                                touched.push(other);
                            }
                            *count += 1;
                        }
                    }
                    best(item, &offsets, counts, touched, options)
                },
            )
            .collect()
    })?;
    let mut table: Table = (vec![0], Vec::new(), Vec::new());
    for list in lists {
        table.1.extend(list.iter().map(|entry| entry.0));
        table.2.extend(list.iter().map(|entry| entry.1));
        table.0.push(table.1.len() as i64);
    }
    Ok(table)
}

/// Turn the counts of one item into its row, and leave the scratch clean.
fn best(
    item: usize,
    offsets: &[i64],
    counts: &mut [u32],
    touched: &mut Vec<i32>,
    options: Neighbours,
) -> Vec<(i32, f32)> {
    let events = |item: usize| (offsets[item + 1] - offsets[item]) as f64;
    let mut list = Vec::with_capacity(touched.len());
    for other in touched.drain(..) {
        let count = std::mem::take(&mut counts[other as usize]);
        if other as usize != item {
            let size = (events(item) * events(other as usize)).sqrt();
            list.push((other, (f64::from(count) / (size + f64::from(options.shrinkage))) as f32));
        }
    }
    if list.len() > options.most {
        list.select_nth_unstable_by(options.most - 1, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        list.truncate(options.most);
    }
    list.sort_unstable_by_key(|entry| entry.0);
    list
}

/// Each row without repeats, first occurrences in order.
fn once_per_row(rows: Ragged<'_>, n_items: usize) -> (Vec<i64>, Vec<i32>) {
    let mut last_row = vec![usize::MAX; n_items];
    let (mut offsets, mut items) = (vec![0], Vec::with_capacity(rows.items().len()));
    for row in 0..rows.len() {
        for &item in rows.row(row) {
            if std::mem::replace(&mut last_row[item as usize], row) != row {
                items.push(item);
            }
        }
        offsets.push(items.len() as i64);
    }
    (offsets, items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dense(rows: &[&[i32]], n_items: usize, options: Neighbours) -> Vec<Vec<f32>> {
        let items: Vec<i32> = rows.concat();
        let mut offsets = vec![0];
        rows.iter().for_each(|row| offsets.push(offsets[offsets.len() - 1] + row.len() as i64));
        let rows = Ragged::new("test", "rows", &offsets, &items, n_items).unwrap();
        let (offsets, items, values) = neighbours(rows, n_items, options).unwrap();
        let mut table = vec![vec![0.0; n_items]; n_items];
        for row in 0..n_items {
            for entry in offsets[row] as usize..offsets[row + 1] as usize {
                table[row][items[entry] as usize] = values[entry];
            }
        }
        table
    }

    #[test]
    fn symmetric_counts_users_once() {
        let options = Neighbours { most: 9, shrinkage: 1.0, window: None };
        let table = dense(&[&[0, 1, 0], &[1, 0], &[0, 2]], 4, options);
        let (a, b) = ((2.0 / (6f64.sqrt() + 1.0)) as f32, (1.0 / (3f64.sqrt() + 1.0)) as f32);
        assert_eq!(table, [[0.0, a, b, 0.0], [a, 0.0, 0.0, 0.0], [b, 0.0, 0.0, 0.0], [0.0; 4]]);
    }

    #[test]
    fn directed_counts_what_follows_within_the_window() {
        let options = Neighbours { most: 9, shrinkage: 0.0, window: Some(1) };
        let table = dense(&[&[0, 1, 2], &[0, 1]], 3, options);
        assert_eq!(table, [[0.0, 1.0, 0.0], [0.0, 0.0, (1.0 / 2f64.sqrt()) as f32], [0.0; 3]]);
    }

    #[test]
    fn keeps_the_best_and_breaks_ties_by_index() {
        let options = Neighbours { most: 1, shrinkage: 0.0, window: None };
        let table = dense(&[&[2, 0, 1]], 3, options);
        assert_eq!(table, [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]);
    }
}
