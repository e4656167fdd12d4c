//! From "events of a user" to "events of an item".

use crate::Ragged;

/// For each item the positions of its events in the flat arrays of `rows`, ascending: offsets i64[n + 1] and
/// positions, plus the row that each of those events is in. A stable counting sort.
pub fn events_of_items(rows: Ragged<'_>, n_items: usize) -> (Vec<i64>, Vec<usize>, Vec<i32>) {
    let mut offsets = vec![0i64; n_items + 1];
    for &item in rows.items() {
        offsets[item as usize + 1] += 1;
    }
    for item in 0..n_items {
        offsets[item + 1] += offsets[item];
    }
    let mut next = offsets.clone();
    let mut positions = vec![0; rows.items().len()];
    let mut owners = vec![0; rows.items().len()];
    for row in 0..rows.len() {
        for position in rows.range(row) {
            let slot = &mut next[rows.items()[position] as usize];
            positions[*slot as usize] = position;
            owners[*slot as usize] = row as i32;
            *slot += 1;
        }
    }
    (offsets, positions, owners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_each_items_events_in_order() {
        let rows = Ragged::new("transpose", "rows", &[0, 3, 3, 5], &[2, 0, 2, 0, 3], 4).unwrap();
        let (offsets, positions, owners) = events_of_items(rows, 4);
        assert_eq!(offsets, [0, 2, 2, 4, 5]);
        assert_eq!(positions, [1, 3, 0, 2, 4]);
        assert_eq!(owners, [0, 2, 0, 0, 2]);
    }
}
