//! Keeping the k best of a stream of scores in a small buffer.

/// A score as an integer of the same order; never 0 for a finite score.
pub fn ordered(score: f32) -> u32 {
    let bits = score.to_bits();
    // Floats order like sign-magnitude integers; flipping makes them order like unsigned ones.
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The score of [`ordered`]; −∞ for 0.
pub fn unordered(ordered: u32) -> f32 {
    match ordered {
        0 => f32::NEG_INFINITY,
        _ => f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered }),
    }
}

/// A score and its item as one integer: larger is better, equal scores prefer the lower item.
pub fn key(score: f32, item: u32) -> u64 {
    (u64::from(ordered(score)) << 32) | u64::from(!item)
}

/// The score and item of a [`key`].
pub fn unkey(key: u64) -> (f32, u32) {
    (unordered((key >> 32) as u32), !(key as u32))
}

/// Keep the `k` largest keys, best first.
pub fn finish(keys: &mut Vec<u64>, k: usize) {
    if keys.len() > k {
        if k > 0 {
            keys.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
        }
        keys.truncate(k);
    }
    keys.sort_unstable_by(|a, b| b.cmp(a));
}

/// Longest list that is kept in order all the time.
const SHORT: usize = 24;
/// No key of a finite score is this small.
const EMPTY: u64 = 0;

/// The candidates of one user while items go by in ascending order.
///
/// Short lists are kept sorted, so that the floor rises with every candidate. Long ones go to a buffer with
/// room for three times k, where a compression, linear in the room, happens after 2k candidates at most.
pub struct Selector {
    k: usize,
    capacity: usize,
    keys: Vec<u64>,
    floor: f32,
}

impl Selector {
    /// A selector of the `k` best of `n_items`.
    pub fn new(k: usize, n_items: usize) -> Self {
        let k = k.min(n_items);
        let capacity = (3 * k + 32).min(n_items);
        let keys = if k <= SHORT { vec![EMPTY; k] } else { Vec::with_capacity(capacity) };
        let floor = if k == 0 { f32::INFINITY } else { f32::NEG_INFINITY };
        Self { k, capacity, keys, floor }
    }

    /// The score that an item has to exceed. Items come in ascending order, so that a later item with the
    /// same score as the k-th has lost.
    pub fn floor(&self) -> f32 {
        self.floor
    }

    /// Take a candidate that exceeds the floor.
    pub fn push(&mut self, score: f32, item: u32) {
        let candidate = key(score, item);
        if self.k <= SHORT {
            self.insert(candidate);
        } else {
            self.keys.push(candidate);
            if self.keys.len() >= self.capacity {
                self.compress();
            }
        }
    }

    /// At most k keys, best first.
    pub fn into_best(mut self) -> Vec<u64> {
        if self.k <= SHORT {
            self.keys.retain(|&kept| kept != EMPTY);
        } else {
            finish(&mut self.keys, self.k);
        }
        self.keys
    }

    /// Push the worst of a sorted list out. Each slot depends on its old neighbour only, so that there is
    /// neither a chain nor a branch to mispredict.
    fn insert(&mut self, candidate: u64) {
        for slot in (1..self.keys.len()).rev() {
            self.keys[slot] = self.keys[slot].max(self.keys[slot - 1].min(candidate));
        }
        self.keys[0] = self.keys[0].max(candidate);
        let worst = self.keys[self.k - 1];
        if worst != EMPTY {
            self.floor = unkey(worst).0;
        }
    }

    fn compress(&mut self) {
        if self.keys.len() > self.k {
            let (_, &mut worst, _) = self.keys.select_nth_unstable_by(self.k - 1, |a, b| b.cmp(a));
            self.keys.truncate(self.k);
            self.floor = unkey(worst).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_like_scores_and_prefer_the_lower_item() {
        let scores = [f32::MIN, -1.0, -f32::MIN_POSITIVE, -1e-45, 0.0, 1e-45, 2.0, f32::MAX];
        for pair in scores.windows(2) {
            assert!(key(pair[0], 0) < key(pair[1], u32::MAX), "{pair:?}");
        }
        assert!(key(1.0, 3) > key(1.0, 4));
        assert_eq!(unkey(key(-2.5, 77)), (-2.5, 77));
    }

    #[test]
    fn keeps_the_best_whatever_the_order() {
        for (k, step) in [(1, 7), (5, 11), (24, 19), (25, 23), (40, 13), (200, 17), (600, 3)] {
            let n = 500;
            let mut selector = Selector::new(k, n);
            let score = |item: usize| (item * step % 101) as f32;
            for item in 0..n {
                if score(item) > selector.floor() {
                    selector.push(score(item), item as u32);
                }
            }
            let mut expected: Vec<u64> = (0..n).map(|item| key(score(item), item as u32)).collect();
            finish(&mut expected, k);
            assert_eq!(selector.into_best(), expected, "k = {k}");
        }
    }

    #[test]
    fn nothing_is_kept_for_k_zero() {
        let selector = Selector::new(0, 10);
        assert_eq!(selector.floor(), f32::INFINITY);
        assert!(selector.into_best().is_empty());
    }
}
