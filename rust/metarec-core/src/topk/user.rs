//! One user's side of a scan: what they may not get, what is boosted, what is kept.

use std::borrow::Cow;

use super::panels::{LANES, Lanes};
use super::request::{Boosts, Request};
use super::select::Selector;

/// The state of one row of the batch while panels go by in ascending order.
pub struct User<'a> {
    /// Row of the batch.
    pub row: usize,
    /// The candidates.
    pub selector: Selector,
    /// Excluded items that haven't been passed yet, ascending.
    excluded: Cow<'a, [i32]>,
    next_excluded: usize,
    /// Boosted items and what is added, ascending by item.
    boosts: Vec<(u32, f32)>,
    next_boost: usize,
    task_bias: Option<&'a [f32]>,
    /// The last, partly filled panel's task bias, filled up.
    tail: [f32; LANES],
}

impl<'a> User<'a> {
    /// The state of row `row` before panel `from`, for a scan over `scanned` of `n_items` items.
    pub fn new(request: &Request<'a>, row: usize, from: usize, n_items: usize, scanned: usize) -> Self {
        let first = (from * LANES) as u32;
        let excluded = request.exclude.map_or(Cow::Borrowed(&[][..]), |rows| ascending(rows.row(row)));
        let boosts = request.boosts.map_or_else(Vec::new, |boosts| boosts_of(&boosts, row));
        let task_bias = request.task_bias.and_then(|bias| bias.of(row, n_items));
        let mut tail = [0.0; LANES];
        if let Some(values) = task_bias {
            let whole = n_items / LANES * LANES;
            tail[..n_items - whole].copy_from_slice(&values[whole..]);
        }
        Self {
            row,
            selector: Selector::new(request.k, scanned),
            next_excluded: excluded.partition_point(|&item| (item as u32) < first),
            excluded,
            next_boost: boosts.partition_point(|&(item, _)| item < first),
            boosts,
            task_bias,
            tail,
        }
    }

    /// The panel of the next boosted item; `usize::MAX` when there is none.
    pub fn next_boosted(&self) -> usize {
        self.boosts.get(self.next_boost).map_or(usize::MAX, |&(item, _)| item as usize / LANES)
    }

    /// Add the boosts of the panels that `scores` belong to; whether there was any.
    pub fn boost(&mut self, panel: usize, scores: &mut [Lanes]) -> bool {
        let (first, last) = (panel * LANES, (panel + scores.len()) * LANES);
        let mut any = false;
        while let Some(&(item, added)) = self.boosts.get(self.next_boost) {
            let item = item as usize;
            if item >= last {
                break;
            }
            self.next_boost += 1;
            // Items before `first` lie in panels that the scan left out, because nothing there is admitted.
            if item >= first {
                scores[(item - first) / LANES].0[item % LANES] += added;
                any = true;
            }
        }
        any
    }

    /// Keep the lanes of `above` that aren't excluded; the new floor.
    pub fn offer(&mut self, panel: usize, scores: &[Lanes], above: &[u16]) -> f32 {
        for (position, (lanes, &above)) in scores.iter().zip(above).enumerate() {
            let mut rest = above;
            while rest != 0 {
                let lane = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let item = ((panel + position) * LANES + lane) as u32;
                // The floor may have risen since the kernel compared.
                if lanes.0[lane] > self.selector.floor() && !self.is_excluded(item) {
                    self.selector.push(lanes.0[lane], item);
                }
            }
        }
        self.selector.floor()
    }

    /// The task bias of `count` panels, or none; a partly filled last panel has to be asked for alone.
    pub fn task_bias(&self, panel: usize, count: usize) -> Option<&[f32]> {
        let values = self.task_bias?;
        let (first, last) = (panel * LANES, (panel + count) * LANES);
        Some(values.get(first..last).unwrap_or(&self.tail))
    }

    fn is_excluded(&mut self, item: u32) -> bool {
        while let Some(&next) = self.excluded.get(self.next_excluded) {
            if next as u32 >= item {
                return next as u32 == item;
            }
            self.next_excluded += 1;
        }
        false
    }
}

/// The row in ascending order; borrowed where it is already.
fn ascending(row: &[i32]) -> Cow<'_, [i32]> {
    if row.is_sorted() {
        return Cow::Borrowed(row);
    }
    let mut sorted = row.to_vec();
    sorted.sort_unstable();
    Cow::Owned(sorted)
}

fn boosts_of(boosts: &Boosts<'_>, row: usize) -> Vec<(u32, f32)> {
    let range = boosts.items.range(row);
    let added = boosts.added[range].iter().copied();
    let mut pairs: Vec<_> = boosts.items.row(row).iter().map(|&item| item as u32).zip(added).collect();
    // Stable, so that an item's boosts are added in the order given.
    pairs.sort_by_key(|&(item, _)| item);
    pairs
}
