//! The items that could still belong to one user's list, with their bounds.

use super::super::bound::Interval;
use super::super::exact::select;
use crate::isa::vectorised;

/// Longest list whose best lower bounds are kept in order all the time.
const SHORT: usize = 24;

/// A small buffer, and the floor below which nothing can belong to the list any more.
pub struct Candidates {
    k: usize,
    capacity: usize,
    /// Places `0..len` of these three are in use. An item whose score is known has equal bounds.
    lowers: Vec<f32>,
    uppers: Vec<f32>,
    ids: Vec<u32>,
    len: usize,
    floor: f32,
    /// The k largest lower bounds, best first, of a short list; 0 where there is none yet.
    best: Vec<u32>,
    keys: Vec<u32>,
    /// Items that were kept so far.
    pub kept: usize,
    /// Items that had to be scored exactly so far.
    pub rescored: usize,
}

/// Candidates for a list of `k` items from which it is time to compact.
pub fn capacity(k: usize) -> usize {
    3 * k + 32
}

impl Candidates {
    /// For a list of `k` items, `k` at least 1; up to `burst` may come between two looks at
    /// [`Candidates::is_full`].
    pub fn new(k: usize, burst: usize) -> Self {
        let capacity = capacity(k);
        let places = capacity + burst;
        Self {
            k,
            capacity,
            lowers: vec![0.0; places],
            uppers: vec![0.0; places],
            ids: vec![0; places],
            len: 0,
            floor: f32::NEG_INFINITY,
            best: if k <= SHORT { vec![0; k] } else { Vec::new() },
            keys: Vec::new(),
            kept: 0,
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

    /// Take an item if its upper bound reaches the floor and it `may` be on the list.
    #[inline]
    pub fn offer(&mut self, score: Interval, id: u32, may: bool) {
        // Written in any case, and kept or not by the count alone: whether it is can't be predicted.
        (self.lowers[self.len], self.uppers[self.len], self.ids[self.len]) = (score.lower, score.upper, id);
        let kept = may & (score.upper >= self.floor);
        self.len += usize::from(kept);
        self.kept += usize::from(kept);
        if kept && !self.best.is_empty() {
            self.insert(select::ordered(score.lower));
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
        self.len >= self.capacity
    }

    /// Drop what can't belong to the list, and make room by knowing scores where bounds don't suffice. `rescore`
    /// gives the scores of items.
    pub fn compact(&mut self, rescore: impl Fn(&[u32]) -> Vec<f32>) {
        if self.best.is_empty() {
            self.raise_to_kth();
        }
        self.drop_below();
        if self.len > self.capacity / 4 * 3 {
            self.settle(rescore);
            if self.len > self.capacity / 4 * 3 {
                // Only ties can be this many; those with the lowest items win, whatever comes.
                let best = self.best_keys();
                self.len = best.len();
                for (place, key) in best.into_iter().enumerate() {
                    let (score, id) = select::unkey(key);
                    (self.lowers[place], self.uppers[place], self.ids[place]) = (score, score, id);
                }
            }
        }
    }

    /// The list, best first.
    pub fn finish(&mut self, rescore: impl Fn(&[u32]) -> Vec<f32>) -> Vec<u64> {
        self.raise_to_kth();
        self.drop_below();
        self.settle(rescore);
        self.best_keys()
    }

    /// Make all candidates exact: first the k that look best, which settles most of the others.
    fn settle(&mut self, rescore: impl Fn(&[u32]) -> Vec<f32>) {
        if self.len > self.k {
            let looks = kth_largest(&self.uppers[..self.len], self.k, f32::NEG_INFINITY, &mut self.keys);
            self.rescore_from(looks, &rescore);
            self.raise_to_kth();
            self.drop_below();
        }
        self.rescore_from(f32::NEG_INFINITY, &rescore);
        self.raise_to_kth();
        self.drop_below();
    }

    /// Make the candidates exact whose upper bound is at least `least`.
    fn rescore_from(&mut self, least: f32, rescore: impl Fn(&[u32]) -> Vec<f32>) {
        let open = |&place: &usize| self.uppers[place] >= least && self.lowers[place] != self.uppers[place];
        let places: Vec<usize> = (0..self.len).filter(open).collect();
        let ids: Vec<u32> = places.iter().map(|&place| self.ids[place]).collect();
        for (place, score) in places.into_iter().zip(rescore(&ids)) {
            (self.lowers[place], self.uppers[place]) = (score, score);
        }
        self.rescored += ids.len();
    }

    /// Raise the floor to the k-th largest lower bound in the buffer, whose candidates are distinct.
    fn raise_to_kth(&mut self) {
        if self.len >= self.k {
            let kth = kth_largest(&self.lowers[..self.len], self.k, self.floor, &mut self.keys);
            self.raise(kth);
        }
    }

    fn drop_below(&mut self) {
        let (lowers, uppers) = (&mut self.lowers[..self.len], &mut self.uppers[..self.len]);
        let ids = &mut self.ids[..self.len];
        let mut kept = 0;
        for place in 0..lowers.len() {
            let upper = uppers[place];
            (lowers[kept], uppers[kept], ids[kept]) = (lowers[place], upper, ids[place]);
            kept += usize::from(upper >= self.floor);
        }
        self.len = kept;
    }

    /// The k best of candidates that are exact.
    fn best_keys(&self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.lowers[..self.len]
            .iter()
            .zip(&self.ids)
            .map(|(&score, &id)| select::key(score, id))
            .collect();
        select::finish(&mut keys, self.k);
        keys
    }
}

/// The `k`-th largest of at least `k` values, by halving the range of their ordered bits: counting is vector code,
/// and a handful of counts suffice. `guess` may be below it, and then saves some.
fn kth_largest(values: &[f32], k: usize, guess: f32, keys: &mut Vec<u32>) -> f32 {
    keys.clear();
    keys.resize(values.len(), 0);
    let (mut least, most) = order(values, keys);
    let guess = select::ordered(guess);
    if guess > least && count_from(keys, guess) >= k {
        least = guess;
    }
    // At least k keys reach `least`, and fewer than k reach `beyond`.
    let mut beyond = u64::from(most) + 1;
    while beyond - u64::from(least) > 1 {
        let middle = (u64::from(least) + (beyond - u64::from(least)) / 2) as u32;
        let count = count_from(keys, middle);
        if count >= k {
            least = middle;
            if count == k {
                break;
            }
        } else {
            beyond = middle.into();
        }
    }
    select::unordered(least_from(keys, least))
}

vectorised! {
    /// The ordered bits of all values, the least and the most of them.
    fn order(values: &[f32], keys: &mut [u32]) -> (u32, u32) {
        let (mut least, mut most) = (u32::MAX, 0);
        for (key, &value) in keys.iter_mut().zip(values) {
            *key = select::ordered(value);
            least = least.min(*key);
            most = most.max(*key);
        }
        (least, most)
    }
}

vectorised! {
    /// How many keys are at least `from`.
    fn count_from(keys: &[u32], from: u32) -> usize {
        keys.iter().map(|&key| u32::from(key >= from)).sum::<u32>() as usize
    }
}

vectorised! {
    /// The least key that is at least `from`.
    fn least_from(keys: &[u32], from: u32) -> u32 {
        let mut least = [u32::MAX; 8];
        let (chunks, rest) = keys.as_chunks::<8>();
        for chunk in chunks {
            for lane in 0..8 {
                // All ones for the keys below, so that they don't count.
                let below = u32::from(chunk[lane] < from).wrapping_neg();
                least[lane] = least[lane].min(chunk[lane] | below);
            }
        }
        for &key in rest.iter().filter(|&&key| key >= from) {
            least[0] = least[0].min(key);
        }
        least.into_iter().min().unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_kth_largest_among_ties_and_signs() {
        let values: Vec<f32> = (0..400_u32).map(|i| f32::from((i * 37 % 101) as u8) - 50.0).collect();
        let mut sorted = values.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        for k in [1, 2, 99, 100, 399, 400] {
            for guess in [f32::NEG_INFINITY, -60.0, sorted[k - 1], 100.0] {
                assert_eq!(
                    kth_largest(&values, k, guess, &mut Vec::new()),
                    sorted[k - 1],
                    "k = {k}, {guess}"
                );
            }
        }
    }
}
