//! Top-K on every instruction set and thread count, against a plain loop over all items.

use metarec_core::Ragged;
use metarec_core::isa::Isa;
use metarec_core::topk::{Biases, Boosts, ItemIndex, Lists, Options, Path, Precision, Request};
use proptest::prelude::*;

const TASKS: usize = 3;

/// A whole call, owned.
#[derive(Debug, Clone)]
struct Case {
    n: usize,
    width: usize,
    rows: usize,
    k: usize,
    matrix: Vec<f32>,
    bias: Option<Vec<f32>>,
    queries: Vec<f32>,
    exclude: Option<(Vec<i64>, Vec<i32>)>,
    allow: Option<Vec<bool>>,
    deny: Option<Vec<bool>>,
    boosts: Option<(Vec<i64>, Vec<i32>, Vec<f32>)>,
    /// Bias of each task, and of the call; the tasks of the rows.
    task_bias: Option<(Vec<f32>, Vec<i32>)>,
    call_bias: Option<Vec<f32>>,
}

impl Case {
    fn request(&self) -> Request<'_> {
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

    fn ragged<'a>(&self, offsets: &'a [i64], items: &'a [i32]) -> Ragged<'a> {
        Ragged::new("test", "rows", offsets, items, self.n).unwrap()
    }

    fn score(&self, row: usize, item: usize) -> f32 {
        let query = &self.queries[row * self.width..][..self.width];
        let vector = &self.matrix[item * self.width..][..self.width];
        let mut score = query.iter().zip(vector).fold(0.0_f32, |sum, (q, x)| q.mul_add(*x, sum));
        score += self.call_bias.as_ref().or(self.bias.as_ref()).map_or(0.0, |bias| bias[item]);
        if let Some((values, tasks)) = &self.task_bias
            && tasks[row] >= 0
        {
            score += values[tasks[row] as usize * self.n + item];
        }
        if let Some((offsets, items, added)) = &self.boosts {
            for place in offsets[row] as usize..offsets[row + 1] as usize {
                if items[place] as usize == item {
                    score += added[place];
                }
            }
        }
        score
    }

    fn admits(&self, row: usize, item: usize) -> bool {
        let excluded = self.exclude.as_ref().is_some_and(|(offsets, items)| {
            items[offsets[row] as usize..offsets[row + 1] as usize].contains(&(item as i32))
        });
        let allowed = self.allow.as_ref().is_none_or(|allow| allow[item]);
        !excluded && allowed && !self.deny.as_ref().is_some_and(|deny| deny[item])
    }

    fn reference(&self) -> Lists {
        let mut lists = Lists { offsets: vec![0], ..Lists::default() };
        for row in 0..self.rows {
            let mut scored: Vec<(f32, usize)> = (0..self.n)
                .filter(|&item| self.admits(row, item))
                .map(|item| (self.score(row, item), item))
                .collect();
            scored.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(&b.1)));
            for (score, item) in scored.into_iter().take(self.k) {
                lists.items.push(item as i64);
                lists.scores.push(score);
            }
            lists.offsets.push(lists.items.len() as i64);
        }
        lists
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let expected = self.reference();
        for isa in Isa::available() {
            let index = self.index(isa);
            let view = index.over(&self.matrix).unwrap();
            for path in paths(&index) {
                for threads in [1, 3] {
                    let request = Request { path: Some(path), ..self.request() };
                    let found = pool(threads).install(|| view.topk(&request)).unwrap();
                    let way = format!("{} {} with {threads} threads", isa.name(), path.name());
                    prop_assert_eq!(&found, &expected, "{}", way);
                }
            }
        }
        Ok(())
    }

    fn index(&self, isa: Isa) -> ItemIndex {
        let options = Options { planes: Some(Precision::ALL.to_vec()), isa: Some(isa) };
        let task = self.task_bias.as_ref().map(|(values, _)| (&values[..], TASKS));
        let biases = Biases { item: self.bias.as_deref(), task };
        ItemIndex::new(&self.matrix, self.n, self.width, biases, &options).unwrap()
    }
}

fn paths(index: &ItemIndex) -> Vec<Path> {
    let planes = index.planes().iter().map(|&precision| Path::Certified(precision));
    std::iter::once(Path::Fp32).chain(planes).collect()
}

fn pool(threads: usize) -> &'static rayon::ThreadPool {
    use std::sync::OnceLock;
    static POOLS: [OnceLock<rayon::ThreadPool>; 4] = [const { OnceLock::new() }; 4];
    POOLS[threads].get_or_init(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap())
}

/// Few distinct values make many ties; the others exercise rounding and signs.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![(-2_i8..=2).prop_map(f32::from), -10.0_f32..10.0, Just(-0.0), Just(1e-40), Just(-1e-30)]
}

fn offsets(lengths: &[usize]) -> Vec<i64> {
    let mut offsets = vec![0];
    for length in lengths {
        offsets.push(offsets.last().unwrap() + *length as i64);
    }
    offsets
}

fn ragged(rows: usize, n: usize) -> impl Strategy<Value = (Vec<i64>, Vec<i32>)> {
    let longest: usize = if n == 0 { 0 } else { 40 };
    prop::collection::vec(0..=longest, rows).prop_flat_map(move |lengths| {
        let total: usize = lengths.iter().sum();
        let items = prop::collection::vec(0..n.max(1) as i32, total);
        (Just(offsets(&lengths)), items)
    })
}

fn case() -> impl Strategy<Value = Case> {
    (0_usize..150, 0_usize..10, 0_usize..24, 0_usize..40).prop_flat_map(|(n, width, rows, k)| {
        let mask = (0_u8..=20).prop_flat_map(move |share| {
            prop::collection::vec(prop::bool::weighted(f64::from(share) / 20.0), n)
        });
        let boosts = ragged(rows, n).prop_flat_map(|(offsets, items)| {
            let added = prop::collection::vec(value(), items.len());
            (Just(offsets), Just(items), added)
        });
        let tasks =
            (prop::collection::vec(value(), TASKS * n), prop::collection::vec(-1..TASKS as i32, rows));
        let dense = (
            prop::collection::vec(value(), n * width),
            prop::option::of(prop::collection::vec(value(), n)),
            prop::collection::vec(value(), rows * width),
        );
        let filters = (
            prop::option::of(ragged(rows, n)),
            prop::option::of(mask.clone()),
            prop::option::of(mask),
            prop::option::of(boosts),
            prop::option::of(tasks),
            prop::option::of(prop::collection::vec(value(), n)),
        );
        (dense, filters).prop_map(
            move |((matrix, bias, queries), (exclude, allow, deny, boosts, task_bias, call_bias))| Case {
                n,
                width,
                rows,
                k,
                matrix,
                bias,
                queries,
                exclude,
                allow,
                deny,
                boosts,
                task_bias,
                call_bias,
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_bit_for_bit(case in case()) {
        case.check()?;
    }

    #[test]
    fn scores_at_agrees_bit_for_bit(case in case()) {
        let Some((offsets, items)) = &case.exclude else { return Ok(()) };
        let plain = Case { boosts: None, task_bias: None, call_bias: None, ..case.clone() };
        let expected: Vec<f32> = (0..case.rows)
            .flat_map(|row| (offsets[row] as usize..offsets[row + 1] as usize).map(move |place| (row, place)))
            .map(|(row, place)| plain.score(row, items[place] as usize))
            .collect();
        for isa in Isa::available() {
            let index = plain.index(isa);
            let found = index.over(&case.matrix).unwrap().scores_at(&case.queries, case.ragged(offsets, items)).unwrap();
            prop_assert_eq!(&found, &expected, "{}", isa.name());
        }
    }
}

/// A case large enough to be divided among threads, by users or by items.
fn large(rows: usize, n: usize, k: usize) -> Case {
    let mut state = 12345_u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 28) as f32 - 7.5 // sixteen values, so that ties abound
    };
    let width = 24;
    let mut values = |count: usize| (0..count).map(|_| next()).collect::<Vec<f32>>();
    let (matrix, queries) = (values(n * width), values(rows * width));
    let items: Vec<i32> = (0..rows * 50).map(|place| (place * 7919 % n) as i32).collect();
    Case {
        n,
        width,
        rows,
        k,
        matrix,
        bias: Some(values(n)),
        queries,
        exclude: Some((offsets(&vec![50; rows]), items.clone())),
        allow: None,
        deny: Some((0..n).map(|item| item % 997 == 0).collect()),
        boosts: Some((offsets(&vec![50; rows]), items.iter().rev().copied().collect(), values(rows * 50))),
        task_bias: Some((values(TASKS * n), (0..rows).map(|row| row as i32 % 4 - 1).collect())),
        call_bias: None,
    }
}

#[test]
fn divided_work_gives_the_same_bits() {
    let fast = *Isa::available().last().unwrap();
    for (rows, n, k) in [(1, 400_000, 10), (3, 150_001, 700), (50, 9_000, 20), (200, 3_001, 5)] {
        let case = large(rows, n, k);
        let index = case.index(fast);
        let view = index.over(&case.matrix).unwrap();
        let expected = pool(1).install(|| view.topk(&case.request())).unwrap();
        for path in paths(&index) {
            for threads in [1, 3] {
                let request = Request { path: Some(path), ..case.request() };
                let found = pool(threads).install(|| view.topk(&request)).unwrap();
                assert_eq!(found, expected, "{rows} rows, {n} items, {}, {threads} threads", path.name());
            }
        }
        if rows < 10 {
            assert_eq!(case.reference(), expected, "{rows} rows, {n} items");
        }
    }
}
