//! A group of users that goes over blocks of items together.

use std::sync::atomic::{AtomicU32, Ordering};

use super::super::bound::{BlockBound, Interval, QueryBound, Terms, thresholds};
use super::super::exact::select;
use super::super::kernel::{BLOCK, CHAINS, Hits, Quantised};
use super::super::path::Precision;
use super::Hostile;
use super::candidates::{self, Candidates};
use super::context::{Context, Part};
use super::query;
use super::seen::Seen;

/// Keeping one item in this many, or scoring a quarter as many, costs what the scan saves; besides what some
/// buffers of candidates take until there is a floor.
const SAVED: usize = 6;
const SCORING: usize = 4;
const BUFFERS: usize = 16;

/// Floors that threads share, one a user.
pub struct Floors(Vec<AtomicU32>);

impl Floors {
    /// No floor yet.
    pub fn new(rows: usize) -> Self {
        Self((0..rows).map(|_| AtomicU32::new(0)).collect())
    }

    /// Give a floor and get the highest. A floor is true on its own, so that no order between threads matters.
    fn exchange(&self, row: usize, floor: f32) -> f32 {
        let own = select::ordered(floor);
        let highest = self.0[row].fetch_max(own, Ordering::Relaxed).max(own);
        select::unordered(highest)
    }
}

/// The users `first..` of a call.
pub struct Group<'a> {
    context: &'a Context<'a>,
    first: usize,
    shared: Option<&'a Floors>,
    users: Vec<User<'a>>,
    terms: Terms,
    thresholds: Vec<i32>,
    starts: Vec<i32>,
    /// Words of each tile, one tile after another.
    words: Vec<i32>,
    words_a_user: usize,
    hits: Box<Hits>,
    scanned: usize,
}

struct User<'a> {
    candidates: Candidates,
    seen: Option<Seen<'a>>,
    task: Option<usize>,
    bound: QueryBound,
}

impl<'a> Group<'a> {
    /// Quantise the queries of users `first..last`, unless one is too large for that, and rank what is boosted
    /// for them.
    pub fn new(
        context: &'a Context<'a>,
        first: usize,
        last: usize,
        shared: Option<&'a Floors>,
    ) -> Result<Self, Hostile> {
        let (request, tile) = (context.request, context.tile());
        let plane = context.plane();
        let words_a_user = context.scanner.words(context.precision, plane.width);
        let offset = plane.offset() - context.scanner.offset();
        let rows = last - first;
        let mut group = Self {
            context,
            first,
            shared,
            users: Vec::with_capacity(rows),
            terms: Terms::default(),
            thresholds: vec![0; rows],
            starts: Vec::with_capacity(rows),
            words: vec![0; rows * words_a_user],
            words_a_user,
            hits: Box::new(Hits::new()),
            scanned: 0,
        };
        for row in first..last {
            let Some(quantised) =
                query::quantise(context.query(row), context.scanner.query(), words_a_user, offset)
            else {
                return Err(Hostile);
            };
            let position = row - first;
            let (start, users) = tile_of(position, rows, tile);
            for (word, value) in quantised.words.into_iter().enumerate() {
                group.words[start * words_a_user + word * users + position - start] =
                    i32::from_le_bytes(value);
            }
            group.starts.push(quantised.start);
            let boosts = request.boosts.map_or_else(Vec::new, |boosts| boosts.of(row));
            let excluded = request.exclude.map_or(&[][..], |rows| rows.row(row));
            let mut user = User {
                candidates: Candidates::new(request.k, BLOCK),
                seen: (!excluded.is_empty() || !boosts.is_empty()).then(|| Seen::new(excluded, &boosts)),
                task: request.task(row),
                bound: quantised.bound,
            };
            user.boost(context, row, excluded, &boosts);
            group.terms.push(&quantised.bound, user.candidates.floor());
            group.users.push(user);
        }
        Ok(group)
    }

    /// Look at the blocks of a stretch.
    pub fn scan(&mut self, stretch: usize) -> Result<(), Hostile> {
        let (part, blocks) = self.context.stretch(stretch);
        if let Some(floors) = self.shared {
            for (position, user) in self.users.iter_mut().enumerate() {
                user.candidates.raise(floors.exchange(self.first + position, user.candidates.floor()));
                self.terms.floors[position] = user.candidates.floor();
            }
        }
        let tiles = self.worth_scanning(part, blocks.start);
        if tiles.is_empty() {
            return Ok(());
        }
        for block in blocks {
            let mask = part.mask(block);
            if mask != 0 {
                self.scan_block(part, block, mask, &tiles);
            }
            self.scanned += BLOCK;
            let effort = |user: &User<'_>| user.candidates.kept + SCORING * user.candidates.rescored;
            let effort: usize = self.users.iter().map(effort).sum();
            let expected = self.scanned / SAVED + BUFFERS * candidates::capacity(self.context.request.k);
            if effort > self.users.len() * expected {
                return Err(Hostile);
            }
        }
        Ok(())
    }

    /// The lists of all users, best first.
    pub fn finish(self) -> Vec<Vec<u64>> {
        let Self { context, first, shared, users, .. } = self;
        users
            .into_iter()
            .enumerate()
            .map(|(position, mut user)| {
                let row = first + position;
                if let Some(floors) = shared {
                    user.candidates.raise(floors.exchange(row, user.candidates.floor()));
                }
                let task = user.task;
                user.candidates.finish(|ids| exact_scores(context, row, task, ids))
            })
            .collect()
    }

    /// The tiles in which somebody could still find something from a block on.
    fn worth_scanning(&self, part: &Part<'_>, block: usize) -> Vec<(usize, usize)> {
        let (norm, bias) = part.rest(block);
        let rows = self.users.len();
        let task = if self.context.request.tasks.is_some() {
            self.context.view.index().task_bias_limit
        } else {
            0.0
        };
        let mut tiles = Vec::with_capacity(rows.div_ceil(self.context.tile()));
        let mut position = 0;
        while position < rows {
            let (start, users) = tile_of(position, rows, self.context.tile());
            let worth = |user: &User<'_>| user.bound.most(norm, bias, task) >= user.candidates.floor();
            if self.users[start..start + users].iter().any(worth) {
                tiles.push((start, users));
            }
            position = start + users;
        }
        tiles
    }

    fn scan_block(&mut self, part: &Part<'_>, block: usize, mask: u64, tiles: &[(usize, usize)]) {
        let bound = part.bound(block);
        if self.context.request.tasks.is_some() {
            for (top, user) in self.terms.tasks.iter_mut().zip(&self.users) {
                *top = user.task.map_or(0.0, |task| part.body.task_top(task, block));
            }
        }
        thresholds(&mut self.thresholds, &self.terms, &bound, self.context.precision == Precision::Bf16);
        let lines = part.plane.block(block);
        for &(start, users) in tiles {
            let quantised = Quantised {
                lines,
                queries: &self.words[start * self.words_a_user..][..users * self.words_a_user],
                starts: &self.starts[start..start + users],
                thresholds: &self.thresholds[start..start + users],
            };
            let mut hits =
                self.context.scanner.scan(self.context.precision, users, &quantised, &mut self.hits);
            while hits != 0 {
                let j = hits.trailing_zeros() as usize;
                hits &= hits - 1;
                let user = &mut self.users[start + j];
                let row = self.first + start + j;
                user.offer(
                    self.context,
                    row,
                    part,
                    block,
                    &bound,
                    self.hits.masks[j] & mask,
                    &self.hits.sums[j],
                );
                self.terms.floors[start + j] = user.candidates.floor();
            }
        }
    }
}

impl User<'_> {
    /// Score what is boosted.
    fn boost(&mut self, context: &Context<'_>, row: usize, excluded: &[i32], boosts: &[(u32, f32)]) {
        let Some(seen) = (!boosts.is_empty()).then(|| Seen::new(excluded, &[])) else { return };
        let admitted = |id: u32| context.request.admits(id as usize) && !seen.contains(id);
        let groups: Vec<_> =
            boosts.chunk_by(|a, b| a.0 == b.0).filter(|group| admitted(group[0].0)).collect();
        let ids: Vec<u32> = groups.iter().map(|group| group[0].0).collect();
        for ((id, score), group) in ids.iter().zip(exact_scores(context, row, self.task, &ids)).zip(groups) {
            let score = group.iter().fold(score, |score, &(_, added)| score + added);
            self.candidates.offer(Interval { lower: score, upper: score }, *id, true);
            if self.candidates.is_full() {
                self.candidates.compact(|_| Vec::new());
            }
        }
    }

    /// Keep the items of a block that reach the floor.
    #[expect(clippy::too_many_arguments, reason = "what a block and a user are")]
    fn offer(
        &mut self,
        context: &Context<'_>,
        row: usize,
        part: &Part<'_>,
        block: usize,
        bound: &BlockBound,
        mask: u64,
        sums: &[i32; BLOCK],
    ) {
        let scale = self.bound.scale * bound.scale;
        let biased = context.request.bias.is_some() || part.body.item_bias.is_some();
        let mut rest = mask;
        while rest != 0 {
            let place = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let centre = match context.precision {
                Precision::Bf16 => f32::from_bits(sums[place] as u32),
                _ => sums[place] as f32 * scale,
            };
            let mut score = self.bound.interval(bound, centre);
            let item = part.body.order[block * BLOCK + place];
            let id = part.body.id(item);
            if biased {
                let bias =
                    context.request.bias.map_or_else(|| part.body.item_bias(item), |bias| bias[id as usize]);
                score = score.plus(bias);
            }
            if let Some(task) = self.task {
                score = score.plus(part.body.task_bias(task, item));
            }
            let may = (!context.look_up || context.request.admits(id as usize))
                && !self.seen.as_ref().is_some_and(|seen| seen.contains(id));
            self.candidates.offer(score, id, may);
        }
        if self.candidates.is_full() {
            let task = self.task;
            self.candidates.compact(|ids| exact_scores(context, row, task, ids));
        }
    }
}

/// The scores of some items, without boosts.
fn exact_scores(context: &Context<'_>, row: usize, task: Option<usize>, ids: &[u32]) -> Vec<f32> {
    let query = context.query(row);
    let mut scores = Vec::with_capacity(ids.len());
    for ids in ids.chunks(CHAINS) {
        // A short chunk repeats its first item.
        let items: [_; CHAINS] =
            std::array::from_fn(|place| context.view.item(*ids.get(place).unwrap_or(&ids[0])));
        let chains = context.view.kernels().chains(query, &items.map(|item| item.values));
        scores.extend(ids.iter().zip(&items).zip(chains).map(|((&id, item), chain)| {
            let biased = chain + context.bias(item, id);
            task.map_or(biased, |task| biased + item.task_bias(task))
        }));
    }
    scores
}

/// The tile of a position: its first position and its length. Even tiles, because scans for few users are less
/// efficient.
fn tile_of(position: usize, rows: usize, most: usize) -> (usize, usize) {
    let count = rows.div_ceil(most);
    // The tile t covers rows t / count .. rows (t + 1) / count, rounded down.
    let tile = ((position + 1) * count - 1) / rows;
    let start = rows * tile / count;
    (start, rows * (tile + 1) / count - start)
}
