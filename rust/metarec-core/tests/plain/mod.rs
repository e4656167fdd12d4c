//! A whole call, and its answer by a plain loop over all items.

#![allow(dead_code, reason = "each test uses some of it")]

pub mod random;

use std::sync::OnceLock;

use metarec_core::Ragged;
use metarec_core::isa::Isa;
use metarec_core::topk::{Biases, Boosts, ItemIndex, Lists, Options, Path, Precision, Request};

/// Tasks of a case that has any.
pub const TASKS: usize = 3;

/// A whole call, owned.
#[derive(Debug, Clone, Default)]
pub struct Case {
    pub n: usize,
    pub width: usize,
    pub rows: usize,
    pub k: usize,
    pub matrix: Vec<f32>,
    pub bias: Option<Vec<f32>>,
    pub queries: Vec<f32>,
    pub exclude: Option<(Vec<i64>, Vec<i32>)>,
    pub allow: Option<Vec<bool>>,
    pub deny: Option<Vec<bool>>,
    pub boosts: Option<(Vec<i64>, Vec<i32>, Vec<f32>)>,
    /// Bias of each task, f32[C, n]; the tasks of the rows.
    pub task_bias: Option<(Vec<f32>, Vec<i32>)>,
    pub call_bias: Option<Vec<f32>>,
}

impl Case {
    pub fn request(&self) -> Request<'_> {
        Request {
            queries: &self.queries,
            rows: self.rows,
            k: self.k,
            exclude: self.exclude.as_ref().map(|(offsets, items)| self.ragged(offsets, items)),
            allow: self.allow.as_deref(),
            deny: self.deny.as_deref(),
            boosts: self
                .boosts
                .as_ref()
                .map(|(offsets, items, added)| Boosts { items: self.ragged(offsets, items), added }),
            bias: self.call_bias.as_deref(),
            tasks: self.task_bias.as_ref().map(|(_, tasks)| &tasks[..]),
            path: None,
        }
    }

    pub fn ragged<'a>(&self, offsets: &'a [i64], items: &'a [i32]) -> Ragged<'a> {
        Ragged::new("test", "rows", offsets, items, self.n).unwrap()
    }

    /// The score without boosts.
    pub fn score(&self, row: usize, item: usize) -> f32 {
        let query = &self.queries[row * self.width..][..self.width];
        let vector = &self.matrix[item * self.width..][..self.width];
        let mut score = query.iter().zip(vector).fold(0.0_f32, |sum, (q, x)| q.mul_add(*x, sum));
        score += self.call_bias.as_ref().or(self.bias.as_ref()).map_or(0.0, |bias| bias[item]);
        if let Some((values, tasks)) = &self.task_bias
            && tasks[row] >= 0
        {
            score += values[tasks[row] as usize * self.n + item];
        }
        score
    }

    pub fn reference(&self) -> Lists {
        let mut lists = Lists { offsets: vec![0], ..Lists::default() };
        for row in 0..self.rows {
            let mut scores: Vec<f32> = (0..self.n).map(|item| self.score(row, item)).collect();
            if let Some((offsets, items, added)) = &self.boosts {
                for place in offsets[row] as usize..offsets[row + 1] as usize {
                    scores[items[place] as usize] += added[place];
                }
            }
            let mut admitted: Vec<bool> = (0..self.n).map(|item| self.is_admitted(item)).collect();
            if let Some((offsets, items)) = &self.exclude {
                for &item in &items[offsets[row] as usize..offsets[row + 1] as usize] {
                    admitted[item as usize] = false;
                }
            }
            let mut best: Vec<usize> = (0..self.n).filter(|&item| admitted[item]).collect();
            best.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap().then(a.cmp(&b)));
            best.truncate(self.k);
            lists.items.extend(best.iter().map(|&item| item as i64));
            // Zeros are positive.
            lists.scores.extend(best.iter().map(|&item| scores[item] + 0.0));
            lists.offsets.push(lists.items.len() as i64);
        }
        lists
    }

    fn is_admitted(&self, item: usize) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow[item])
            && !self.deny.as_ref().is_some_and(|deny| deny[item])
    }

    pub fn index(&self, isa: Isa) -> ItemIndex {
        let options = Options { planes: Some(Precision::ALL.to_vec()), isa: Some(isa) };
        ItemIndex::new(&self.matrix, self.n, self.width, self.biases(), &options).unwrap()
    }

    pub fn biases(&self) -> Biases<'_> {
        let task = self.task_bias.as_ref().map(|(values, _)| (&values[..], TASKS));
        Biases { item: self.bias.as_deref(), task }
    }

    /// Compare every instruction set, path and thread count with the reference.
    pub fn check(&self) -> Result<(), String> {
        let expected = self.reference();
        Isa::available().into_iter().try_for_each(|isa| self.check_index(&self.index(isa), isa, &expected))
    }

    /// Compare every path of an index and thread count with what is expected.
    pub fn check_index(&self, index: &ItemIndex, isa: Isa, expected: &Lists) -> Result<(), String> {
        let view = index.over(&self.matrix).map_err(|error| error.to_string())?;
        for path in paths(index) {
            for threads in [1, 3] {
                let request = Request { path: Some(path), ..self.request() };
                let found = pool(threads).install(|| view.topk(&request)).map_err(|e| e.to_string())?;
                difference(&found, expected)
                    .map_err(|why| format!("{why}; {} {} with {threads} threads", isa.name(), path.name()))?;
            }
        }
        Ok(())
    }
}

/// The first difference in offsets, items or bits of scores.
pub fn difference(found: &Lists, expected: &Lists) -> Result<(), String> {
    if found.offsets != expected.offsets {
        return Err(format!("offsets {:?}, expected {:?}", found.offsets, expected.offsets));
    }
    let pairs = |lists: &Lists| -> Vec<(i64, u32)> {
        lists.items.iter().copied().zip(lists.scores.iter().map(|score| score.to_bits())).collect()
    };
    match pairs(found).iter().zip(pairs(expected)).position(|(a, b)| *a != b) {
        None => Ok(()),
        Some(place) => {
            let show = |lists: &Lists| format!("{} with {:e}", lists.items[place], lists.scores[place]);
            let row = expected.offsets.partition_point(|&offset| offset <= place as i64) - 1;
            Err(format!("place {place}, row {row}: {}, expected {}", show(found), show(expected)))
        }
    }
}

/// All paths that an index has.
pub fn paths(index: &ItemIndex) -> Vec<Path> {
    let planes = index.planes().iter().map(|&precision| Path::Certified(precision));
    std::iter::once(Path::Fp32).chain(planes).collect()
}

/// A pool of that many threads.
pub fn pool(threads: usize) -> &'static rayon::ThreadPool {
    static POOLS: [OnceLock<rayon::ThreadPool>; 4] = [const { OnceLock::new() }; 4];
    POOLS[threads].get_or_init(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap())
}

/// Offsets of rows of those lengths.
pub fn offsets(lengths: &[usize]) -> Vec<i64> {
    let mut offsets = vec![0];
    for length in lengths {
        offsets.push(offsets.last().unwrap() + *length as i64);
    }
    offsets
}
