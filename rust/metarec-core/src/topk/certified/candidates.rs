//! The items that could still belong to one user's list, with their bounds.

use super::super::bound::Interval;
use super::super::exact::select;

/// An item and the enclosure of its score; a point once the score is known.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Encloses the score.
    pub score: Interval,
    /// The item.
    pub id: u32,
}

impl Candidate {
    /// Whether the score is known.
    pub fn is_exact(&self) -> bool {
        self.score.lower == self.score.upper
    }
}

/// Longest list whose best lower bounds are kept in order all the time.
const SHORT: usize = 24;

/// A small buffer, and the floor below which nothing can belong to the list any more.
pub struct Candidates {
    k: usize,
    capacity: usize,
    list: Vec<Candidate>,
    floor: f32,
    /// The k largest lower bounds, best first, of a short list; 0 where there is none yet.
    best: Vec<u32>,
    scratch: Vec<u32>,
    /// Items that had to be scored exactly so far.
    pub rescored: usize,
}

impl Candidates {
    /// For a list of `k` items, `k` at least 1; `burst` may come between two looks at [`Candidates::is_full`].
    pub fn new(k: usize, burst: usize) -> Self {
        let capacity = 3 * k + 32;
        Self {
            k,
            capacity,
            list: Vec::with_capacity(capacity + burst),
            floor: f32::NEG_INFINITY,
            best: if k <= SHORT { vec![0; k] } else { Vec::new() },
            scratch: Vec::new(),
            rescored: 0,
        }
    }

    /// Every item of the list scores at least this: the k-th largest lower bound.
    pub fn floor(&self) -> f32 {
        self.floor
    }

    /// Raise the floor to what another thread found for the same user.
    pub fn raise(&mut self, floor: f32) {
        self.floor = self.floor.max(floor);
    }

    /// Take an item whose upper bound reaches the floor.
    pub fn push(&mut self, candidate: Candidate) {
        self.list.push(candidate);
        if !self.best.is_empty() {
            self.insert(select::ordered(candidate.score.lower));
        }
    }

    /// Push the worst of the best out. Each slot depends on its old neighbour only, so that there is neither a
    /// chain nor a branch to mispredict.
    fn insert(&mut self, lower: u32) {
        for slot in (1..self.best.len()).rev() {
            self.best[slot] = self.best[slot].max(self.best[slot - 1].min(lower));
        }
        self.best[0] = self.best[0].max(lower);
        self.raise(select::unordered(self.best[self.k - 1]));
    }

    /// Whether it is time to [`Candidates::compact`].
    pub fn is_full(&self) -> bool {
        self.list.len() >= self.capacity
    }

    /// Drop what can't belong to the list, and make room by knowing scores where bounds don't suffice.
    /// `rescore` makes candidates exact.
    pub fn compact(&mut self, rescore: impl FnMut(&mut [Candidate]) -> usize) {
        if self.best.is_empty() {
            self.raise_to_kth();
        }
        self.drop_below();
        if self.list.len() > self.capacity / 4 * 3 {
            self.settle(rescore);
            if self.list.len() > self.capacity / 4 * 3 {
                // Only ties can be this many; those with the lowest items win, whatever comes.
                let mut keys = self.keys();
                select::finish(&mut keys, self.k);
                self.list.clear();
                self.list.extend(
                    keys.into_iter()
                        .map(select::unkey)
                        .map(|(score, id)| Candidate { score: Interval { lower: score, upper: score }, id }),
                );
            }
        }
    }

    /// The list, best first.
    pub fn finish(&mut self, rescore: impl FnMut(&mut [Candidate]) -> usize) -> Vec<u64> {
        self.raise_to_kth();
        self.drop_below();
        self.settle(rescore);
        let mut keys = self.keys();
        select::finish(&mut keys, self.k);
        keys
    }

    /// Make all candidates exact: first the k that look best, which settles most of the others.
    fn settle(&mut self, mut rescore: impl FnMut(&mut [Candidate]) -> usize) {
        if self.list.len() > self.k {
            let by_upper = |a: &Candidate, b: &Candidate| b.score.upper.total_cmp(&a.score.upper);
            self.list.select_nth_unstable_by(self.k - 1, by_upper);
            self.rescored += rescore(&mut self.list[..self.k]);
            self.raise_to_kth();
            self.drop_below();
        }
        self.rescored += rescore(&mut self.list);
        self.raise_to_kth();
        self.drop_below();
    }

    /// Raise the floor to the k-th largest lower bound in the buffer, whose candidates are distinct.
    fn raise_to_kth(&mut self) {
        if self.list.len() >= self.k {
            self.scratch.clear();
            self.scratch.extend(self.list.iter().map(|candidate| select::ordered(candidate.score.lower)));
            let (_, kth, _) = self.scratch.select_nth_unstable_by(self.k - 1, |a, b| b.cmp(a));
            let kth = select::unordered(*kth);
            self.raise(kth);
        }
    }

    fn drop_below(&mut self) {
        let floor = self.floor;
        self.list.retain(|candidate| candidate.score.upper >= floor);
    }

    fn keys(&self) -> Vec<u64> {
        self.list.iter().map(|candidate| select::key(candidate.score.lower, candidate.id)).collect()
    }
}
