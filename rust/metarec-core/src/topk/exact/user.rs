//! One user's side of a scan: what they may not get, what is boosted, what is kept.

use std::borrow::Cow;

use super::super::kernel::{LANES, Lanes};
use super::super::request::Request;
use super::chunk::{Chosen, Chunk};
use super::select::Selector;

/// The state of one row of the batch while items go by in ascending order.
pub struct User<'a> {
    /// Row of the batch.
    pub row: usize,
    /// The candidates.
    pub selector: Selector,
    /// Position of the user's task among those that the request uses.
    pub task: Option<usize>,
    /// Excluded items that haven't been passed yet, ascending.
    excluded: Cow<'a, [i32]>,
    next_excluded: usize,
    /// Boosted items and what is added, ascending by item.
    boosts: Vec<(u32, f32)>,
    next_boost: usize,
}

impl<'a> User<'a> {
    /// The state of row `row` before place `from` of `scanned` items; `tasks` are the used ones, ascending.
    pub fn new(
        request: &Request<'a>,
        row: usize,
        chosen: &Chosen<'_>,
        from: usize,
        scanned: usize,
        tasks: &[usize],
    ) -> Self {
        let first = if from < chosen.len() { chosen.at(from) } else { u32::MAX };
        let excluded = request.exclude.map_or(Cow::Borrowed(&[][..]), |rows| ascending(rows.row(row)));
        let boosts = request.boosts.map_or_else(Vec::new, |boosts| boosts.of(row));
        Self {
            row,
            selector: Selector::new(request.k, scanned),
            task: request.task(row).and_then(|task| tasks.binary_search(&task).ok()),
            next_excluded: excluded.partition_point(|&item| (item as u32) < first),
            excluded,
            next_boost: boosts.partition_point(|&(item, _)| item < first),
            boosts,
        }
    }

    /// The next boosted item; `u32::MAX` when there is none.
    pub fn next_boosted(&self) -> u32 {
        self.boosts.get(self.next_boost).map_or(u32::MAX, |&(item, _)| item)
    }

    /// Add the boosts of the items of `scores`, which start at panel `panel`; whether there was any.
    pub fn boost(&mut self, chunk: &Chunk, panel: usize, scores: &mut [Lanes]) -> bool {
        let ids = &chunk.ids[panel * LANES..chunk.ids.len().min((panel + scores.len()) * LANES)];
        let mut any = false;
        while let Some(&(item, added)) = self.boosts.get(self.next_boost) {
            if ids.last().is_none_or(|&last| item > last) {
                break;
            }
            self.next_boost += 1;
            // Items that aren't chosen lie between the chunk's.
            if let Ok(place) = ids.binary_search(&item) {
                scores[place / LANES].0[place % LANES] += added;
                any = true;
            }
        }
        any
    }

    /// Keep the lanes of `above` that aren't excluded; the new floor.
    pub fn offer(&mut self, chunk: &Chunk, panel: usize, scores: &[Lanes], above: &[u16]) -> f32 {
        for (position, (lanes, &above)) in scores.iter().zip(above).enumerate() {
            let mut rest = above;
            while rest != 0 {
                let lane = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let item = chunk.ids[(panel + position) * LANES + lane];
                // The floor may have risen since the kernel compared.
                if lanes.0[lane] > self.selector.floor() && !self.is_excluded(item) {
                    self.selector.push(lanes.0[lane], item);
                }
            }
        }
        self.selector.floor()
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
pub fn ascending(row: &[i32]) -> Cow<'_, [i32]> {
    if row.is_sorted() {
        return Cow::Borrowed(row);
    }
    let mut sorted = row.to_vec();
    sorted.sort_unstable();
    Cow::Owned(sorted)
}
