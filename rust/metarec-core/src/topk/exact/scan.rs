//! One pass over a stretch of items for a group of users: score, compare with the floors, keep what exceeds.

use super::super::kernel::{BLOCK, Block, Scores, USERS};
use super::super::request::Request;
use super::super::view::View;
use super::chunk::{Chosen, Chunk};
use super::user::User;

/// What is scanned.
pub struct Scan<'a> {
    /// The items.
    pub view: &'a View<'a>,
    /// The request of the whole batch.
    pub request: &'a Request<'a>,
    /// Which items.
    pub chosen: &'a Chosen<'a>,
}

/// Up to [`USERS`] users that a kernel call scores together.
struct Tile<'a> {
    users: Vec<User<'a>>,
    /// `queries[k * users + j]`.
    queries: Vec<f32>,
    floors: [f32; USERS],
    /// The least item that is boosted for one of the users.
    next_boosted: u32,
}

impl Scan<'_> {
    /// The best keys of users `first..last` among the items of chunks `from..to`.
    pub fn run(&self, first: usize, last: usize, from: usize, to: usize) -> Vec<Vec<u64>> {
        let tasks = self.request.used_tasks();
        let mut tiles = self.tiles(first, last, from, to, &tasks);
        let widest = tiles.iter().map(|tile| tile.users.len()).max().unwrap_or(1);
        let step = self.view.kernels().panels_for(widest);
        let mut scores = Scores::new();
        let mut chunk = Chunk::new(self.view.width());
        for index in from..to {
            chunk.fill(self.view, self.request, self.chosen, index, &tasks);
            let filled = chunk.filled();
            let mut panel = 0;
            while panel < filled {
                let count = if panel + step <= filled { step } else { 1 };
                for tile in &mut tiles {
                    self.visit(tile, &chunk, panel, count, &mut scores);
                }
                panel += count;
            }
        }
        tiles.into_iter().flat_map(|tile| tile.users).map(|user| user.selector.into_best()).collect()
    }

    fn tiles(&self, first: usize, last: usize, from: usize, to: usize, tasks: &[usize]) -> Vec<Tile<'_>> {
        let (rows, width) = (last - first, self.view.width());
        let count = rows.div_ceil(USERS);
        let items = self.chosen.len().min(to * BLOCK).saturating_sub(from * BLOCK);
        (0..count)
            .map(|tile| {
                // Even tiles, because the kernels for few users are less efficient.
                let (start, stop) = (first + rows * tile / count, first + rows * (tile + 1) / count);
                let users: Vec<_> = (start..stop)
                    .map(|row| User::new(self.request, row, self.chosen, from * BLOCK, items, tasks))
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
                let next_boosted = users.iter().map(User::next_boosted).min().unwrap_or(u32::MAX);
                Tile { users, queries, floors, next_boosted }
            })
            .collect()
    }

    fn visit(&self, tile: &mut Tile<'_>, chunk: &Chunk, panel: usize, count: usize, scores: &mut Scores) {
        let users = tile.users.len();
        let extra = self.request.tasks.map(|_| {
            std::array::from_fn(|j| {
                chunk.task_bias(tile.users.get(j).and_then(|user| user.task), panel, count)
            })
        });
        let block = Block {
            panels: chunk.panels(panel, count),
            bias: chunk.bias(panel, count),
            queries: &tile.queries,
            extra: extra.as_ref(),
            floors: &tile.floors,
        };
        let mut hits = self.view.kernels().score(users, count, &block, scores);
        let last = chunk.ids.len().min((panel + count) * super::super::kernel::LANES) - 1;
        if tile.next_boosted <= chunk.ids[last] {
            for (j, user) in tile.users.iter_mut().enumerate() {
                let pairs = j * count..(j + 1) * count;
                let lanes = &mut scores.lanes[pairs.clone()];
                if user.boost(chunk, panel, lanes) {
                    hits |= 1 << j;
                    for (above, lanes) in scores.above[pairs].iter_mut().zip(lanes) {
                        *above = lanes.above(tile.floors[j]);
                    }
                }
            }
            tile.next_boosted = tile.users.iter().map(User::next_boosted).min().unwrap_or(u32::MAX);
        }
        while hits != 0 {
            let j = hits.trailing_zeros() as usize;
            hits &= hits - 1;
            let pairs = j * count..(j + 1) * count;
            tile.floors[j] =
                tile.users[j].offer(chunk, panel, &scores.lanes[pairs.clone()], &scores.above[pairs]);
        }
    }
}
