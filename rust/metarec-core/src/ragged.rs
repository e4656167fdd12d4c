//! A checked ragged batch of item rows (CSR without values), as it comes from the caller.

use crate::{Error, Result};

/// Row `i` is `items[offsets[i]..offsets[i + 1]]`. Rows may be empty, unsorted and hold an item twice.
#[derive(Debug, Clone, Copy)]
pub struct Ragged<'a> {
    offsets: &'a [i64],
    items: &'a [i32],
    n_items: usize,
}

impl<'a> Ragged<'a> {
    /// Check `offsets` (from 0, non-decreasing, ending at the number of items) and that every item is in
    /// `0..n_items`.
    pub fn new(
        operation: &'static str,
        argument: &'static str,
        offsets: &'a [i64],
        items: &'a [i32],
        n_items: usize,
    ) -> Result<Self> {
        let shape = |got: String, expected: String| Error::Shape { operation, argument, got, expected };
        let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
            return Err(shape("no offsets".into(), "i64[rows + 1]".into()));
        };
        if first != 0 || last != items.len() as i64 {
            let got = format!("offsets from {first} to {last}");
            return Err(shape(got, format!("offsets from 0 to {}, the number of items", items.len())));
        }
        if let Some(row) = offsets.windows(2).position(|pair| pair[1] < pair[0]) {
            let got = format!("offsets that fall from {} to {} at row {row}", offsets[row], offsets[row + 1]);
            return Err(shape(got, "offsets that never fall".into()));
        }
        let bound = n_items.min(i32::MAX as usize) as u32;
        if let Some(position) = items.iter().position(|&item| item as u32 >= bound) {
            return Err(Error::Value {
                operation,
                argument,
                got: format!("item {} at position {position}", items[position]),
                expected: format!("items from 0 to below {n_items}"),
            });
        }
        Ok(Self { offsets, items, n_items })
    }

    /// Rows in the batch.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where row `row` lies in the flat arrays.
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    /// The items of row `row`.
    pub fn row(&self, row: usize) -> &'a [i32] {
        &self.items[self.range(row)]
    }

    /// All items, row after row.
    pub fn items(&self) -> &'a [i32] {
        self.items
    }

    /// Every item is below this.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// Refuse a batch that doesn't have `rows` rows.
    pub fn expect_rows(self, operation: &'static str, argument: &'static str, rows: usize) -> Result<Self> {
        if self.len() == rows {
            return Ok(self);
        }
        Err(Error::Shape {
            operation,
            argument,
            got: format!("{} rows", self.len()),
            expected: format!("{rows} rows"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offsets: &[i64], items: &[i32], n_items: usize) -> String {
        Ragged::new("topk", "exclude", offsets, items, n_items).unwrap_err().to_string()
    }

    #[test]
    fn gives_rows_as_they_are() {
        let ragged = Ragged::new("topk", "exclude", &[0, 2, 2, 3], &[4, 1, 4], 5).unwrap();
        assert_eq!(ragged.len(), 3);
        assert_eq!((ragged.row(0), ragged.row(1), ragged.row(2)), (&[4, 1][..], &[][..], &[4][..]));
        assert!(ragged.expect_rows("topk", "exclude", 2).is_err());
    }

    #[test]
    fn refuses_broken_offsets_and_unknown_items() {
        assert!(message(&[], &[], 5).contains("no offsets"));
        assert!(message(&[0, 1], &[1, 2], 5).contains("from 0 to 1"));
        assert!(message(&[1, 2], &[1, 2], 5).contains("from 1 to 2"));
        assert!(message(&[0, 2, 1, 2], &[1, 2], 5).contains("fall from 2 to 1 at row 1"));
        assert!(message(&[0, 2], &[1, 5], 5).contains("item 5 at position 1"));
        assert!(message(&[0, 2], &[1, -1], 5).contains("item -1 at position 1"));
    }
}
