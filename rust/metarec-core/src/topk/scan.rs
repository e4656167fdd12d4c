//! One pass over a stretch of panels for a group of users: score, compare with the floors, keep what exceeds.

use super::kernel::{Block, Kernels, Scores, USERS};
use super::panels::{LANES, Lanes, Panels};
use super::request::Request;
use super::user::User;

const ZEROS: [f32; 4 * LANES] = [0.0; 4 * LANES];

/// What is scanned.
pub struct Scan<'a> {
    /// The items.
    pub panels: &'a Panels,
    /// Their bias, −∞ for items that may not come back.
    pub bias: &'a [Lanes],
    /// Runs of panels to visit.
    pub runs: &'a [(usize, usize)],
    /// The request of the whole batch.
    pub request: &'a Request<'a>,
    /// The kernels.
    pub kernels: Kernels,
}

/// Up to [`USERS`] users that a kernel call scores together.
struct Tile<'a> {
    users: Vec<User<'a>>,
    /// `queries[k * users + j]`.
    queries: Vec<f32>,
    floors: [f32; USERS],
    /// The least panel where one of the users has a boosted item.
    next_boosted: usize,
}

impl Scan<'_> {
    /// The best keys of users `first..last` among the items of panels `from..to`.
    pub fn run(&self, first: usize, last: usize, from: usize, to: usize) -> Vec<Vec<u64>> {
        let mut tiles = self.tiles(first, last, from, to);
        let widest = tiles.iter().map(|tile| tile.users.len()).max().unwrap_or(1);
        let step = Kernels::panels_for(widest);
        // A partly filled last panel is scored alone where its task bias has to be filled up.
        let whole = if self.request.task_bias.is_some() { self.panels.n_items() / LANES } else { usize::MAX };
        let mut scores = Scores::new();
        for &(run_first, run_last) in self.runs {
            let (mut panel, end) = (run_first.max(from), run_last.min(to));
            while panel < end {
                let count = if panel + step <= end.min(whole) { step } else { 1 };
                for tile in &mut tiles {
                    self.visit(tile, panel, count, &mut scores);
                }
                panel += count;
            }
        }
        tiles.into_iter().flat_map(|tile| tile.users).map(|user| user.selector.into_best()).collect()
    }

    fn tiles(&self, first: usize, last: usize, from: usize, to: usize) -> Vec<Tile<'_>> {
        let (rows, width) = (last - first, self.panels.width());
        let count = rows.div_ceil(USERS);
        let items = self.panels.n_items().min(to * LANES) - from * LANES;
        (0..count)
            .map(|tile| {
                // Even tiles, because the kernels for few users are less efficient.
                let (start, stop) = (first + rows * tile / count, first + rows * (tile + 1) / count);
                let users: Vec<_> = (start..stop)
                    .map(|row| User::new(self.request, row, from, self.panels.n_items(), items))
                    .collect();
                let mut queries = vec![0.0; users.len() * width];
                for (j, user) in users.iter().enumerate() {
                    let query = &self.request.queries[user.row * width..][..width];
                    for (k, &value) in query.iter().enumerate() {
                        queries[k * users.len() + j] = value;
                    }
                }
                let mut floors = [f32::INFINITY; USERS];
                for (floor, user) in floors.iter_mut().zip(&users) {
                    *floor = user.selector.floor();
                }
                let next_boosted = users.iter().map(User::next_boosted).min().unwrap_or(usize::MAX);
                Tile { users, queries, floors, next_boosted }
            })
            .collect()
    }

    fn visit(&self, tile: &mut Tile<'_>, panel: usize, count: usize, scores: &mut Scores) {
        let users = tile.users.len();
        let extra = self.extra(tile, panel, count);
        let block = Block {
            panels: self.panels.slice(panel, count),
            bias: &self.bias[panel..panel + count],
            queries: &tile.queries,
            extra: extra.as_ref(),
            floors: &tile.floors,
        };
        let mut hits = self.kernels.score(users, count, &block, scores);
        if tile.next_boosted < panel + count {
            for (j, user) in tile.users.iter_mut().enumerate() {
                let pairs = j * count..(j + 1) * count;
                let lanes = &mut scores.lanes[pairs.clone()];
                if user.boost(panel, lanes) {
                    hits |= 1 << j;
                    for (above, lanes) in scores.above[pairs].iter_mut().zip(lanes) {
                        *above = lanes.above(tile.floors[j]);
                    }
                }
            }
            tile.next_boosted = tile.users.iter().map(User::next_boosted).min().unwrap_or(usize::MAX);
        }
        while hits != 0 {
            let j = hits.trailing_zeros() as usize;
            hits &= hits - 1;
            let pairs = j * count..(j + 1) * count;
            tile.floors[j] = tile.users[j].offer(panel, &scores.lanes[pairs.clone()], &scores.above[pairs]);
        }
    }

    /// Each user's task bias for the panels of one call.
    fn extra<'t>(&self, tile: &'t Tile<'_>, panel: usize, count: usize) -> Option<[&'t [f32]; USERS]> {
        self.request.task_bias?;
        let mut extra = [&ZEROS[..count * LANES]; USERS];
        for (slot, user) in extra.iter_mut().zip(&tile.users) {
            if let Some(values) = user.task_bias(panel, count) {
                *slot = values;
            }
        }
        Some(extra)
    }
}
