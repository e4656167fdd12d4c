//! The bound against exact scores: random blocks and queries, quantised as the index does.

use super::{BlockBound, QueryBound, Terms, thresholds};
use crate::isa::Isa;
use crate::topk::certified::query::quantise;
use crate::topk::kernel::{self, BLOCK, Hits, Kernels, Query};
use crate::topk::order::Measures;
use crate::topk::path::Precision;
use crate::topk::plane::half;
use crate::topk::segment::{Biases, Body, Ids, Rows};
use random::Random;
use std::ops::Range;

#[path = "../../../tests/plain/random.rs"]
mod random;

/// What is drawn.
const SEEDS: Range<u64> = 1..10_000;

/// A block and a query, before they are quantised.
#[derive(Debug, Clone)]
struct Draw {
    rows: Vec<f32>,
    query: Vec<f32>,
    biases: Vec<f32>,
    task_biases: Vec<f32>,
    levels: i32,
}

/// A quantised block and query, and what the scan found.
struct Scan {
    block: BlockBound,
    query: QueryBound,
    floats: bool,
    sums: Vec<i32>,
}

/// What the values of a vector look like.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// All the same: vectors along each other, for which Cauchy–Schwarz is an equality.
    Equal,
    /// Of one magnitude.
    Single,
    /// With outliers.
    Heavy,
    /// Of all magnitudes.
    Mixed,
    /// Of a few magnitudes.
    Close,
    /// Mostly zeros: these point along what a query lost.
    Sparse,
    /// Integers.
    Whole,
    /// The least values.
    Least,
    /// Nothing is lost where bf16 holds them, so that only the rounding of sums remains.
    Halves,
}

const KINDS: [Kind; 9] = [
    Kind::Equal,
    Kind::Single,
    Kind::Heavy,
    Kind::Mixed,
    Kind::Close,
    Kind::Sparse,
    Kind::Whole,
    Kind::Least,
    Kind::Halves,
];

impl Kind {
    fn values(self, random: &mut Random, count: usize) -> Vec<f32> {
        let size = random.magnitude(-44, 14);
        random.vector(count, |random| match self {
            Self::Equal => size * 10.0,
            Self::Single => random.normal() * size,
            Self::Heavy => random.heavy(),
            Self::Mixed => random.uniform() * random.magnitude(-44, 14),
            Self::Close => random.uniform() * random.magnitude(-4, 0),
            Self::Sparse => random.uniform() * f32::from(random.below(4) == 0),
            Self::Whole => random.below(255) as f32 - 127.0,
            Self::Least => f32::from_bits(random.below(3) as u32),
            Self::Halves => (random.below(255) as f32 - 127.0) * 2.0_f32.powi(random.below(24) as i32 - 12),
        })
    }
}

impl Draw {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let width = 1 + random.below([3, 3, 40, 40, 300][seed as usize % 5]);
        let n = if random.below(2) == 0 { BLOCK } else { 1 + random.below(3) };
        let mut vectors = |count| KINDS[random.below(KINDS.len())].values(&mut random, count);
        let (rows, query) = (vectors(n * width), vectors(width));
        // Of any size, or of one that takes some of the scores' digits.
        let typical: f32 = rows.iter().zip(&query).map(|(row, query)| row * query).sum();
        let mut biases = || {
            let size = match random.below(4) {
                0 | 1 => 0.0,
                2 => random.magnitude(-30, 30),
                _ => typical * random.magnitude(-1, 8),
            };
            random.vector(n, |random| size * random.uniform())
        };
        let (biases, mut task_biases) = (biases(), biases());
        if random.below(4) == 0 {
            task_biases = biases.iter().map(|bias| -bias).collect();
        }
        Self { rows, query, biases, task_biases, levels: [63, 127][random.below(2)] }
    }

    fn n(&self) -> usize {
        self.rows.len() / self.query.len()
    }

    fn row(&self, item: usize) -> &[f32] {
        &self.rows[item * self.query.len()..][..self.query.len()]
    }

    /// The score and its chain.
    fn score(&self, item: usize) -> (f32, f32) {
        let chain = self.query.iter().zip(self.row(item)).fold(0.0_f32, |sum, (q, x)| q.mul_add(*x, sum));
        (chain + self.biases[item] + self.task_biases[item], chain)
    }

    fn scan(&self, precision: Precision, kind: Query) -> (Scan, Body) {
        let (n, width) = (self.n(), self.query.len());
        let measures = Measures::of(&self.rows, width, n).unwrap();
        let biases = Biases { item: Some(&self.biases[..n]), task: None };
        let rows = (Rows::Lent, &self.rows[..]);
        let body = Body::build(rows, width, Ids::From(0), biases, &measures, &[precision], self.levels);
        let plane = body.plane(precision).unwrap();
        let scanner = Kernels::of(Isa::SCALAR).scanner(precision, self.levels);
        let words = match kind {
            Query::Halves => plane.width,
            _ => scanner.words(precision, plane.width),
        };
        let quantised = quantise(&self.query, kind, words, plane.offset()).unwrap();
        let sums = if kind == Query::Halves {
            (0..n)
                .map(|place| pairs(&self.query, self.row(body.order[place] as usize)).to_bits() as i32)
                .collect()
        } else {
            let queries: Vec<i32> = quantised.words.iter().map(|word| i32::from_le_bytes(*word)).collect();
            let least = if precision == Precision::Bf16 { f32::MIN.to_bits() as i32 } else { i32::MIN };
            let block = kernel::Quantised {
                lines: plane.block(0),
                queries: &queries,
                starts: &[quantised.start],
                thresholds: &[least],
            };
            let mut hits = Hits::new();
            scanner.scan(precision, 1, &block, &mut hits);
            hits.sums[0][..n].to_vec()
        };
        let scan = Scan {
            block: body.bound(plane, 0),
            query: quantised.bound,
            floats: precision == Precision::Bf16,
            sums,
        };
        (scan, body)
    }
}

/// The sum of products of bf16 values, two at a time, the upper first, where subnormal results become 0: as far
/// from the chain as a kernel may be.
fn pairs(query: &[f32], row: &[f32]) -> f32 {
    let whole = |value: f32| if value.abs() < f32::MIN_POSITIVE { 0.0 } else { value };
    let value = |value: f32| f32::from_bits(half(value));
    query.chunks(2).zip(row.chunks(2)).fold(0.0, |sum, (query, row)| {
        query.iter().zip(row).rev().fold(sum, |sum, (q, x)| whole(value(*q).mul_add(value(*x), sum)))
    })
}

impl Scan {
    /// What the bound gets wrong about an item, if anything.
    fn broken(&self, draw: &Draw, body: &Body) -> Option<String> {
        let top = |values: &[f32]| values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let task = top(&draw.task_biases[..draw.n()]);
        let mut terms = Terms::default();
        terms.push(&self.query, 0.0);
        terms.tasks[0] = task;
        for (place, &sum) in self.sums.iter().enumerate() {
            let item = body.order[place] as usize;
            let (score, chain) = draw.score(item);
            let centre = if self.floats {
                f32::from_bits(sum as u32)
            } else {
                sum as f32 * (self.query.scale * self.block.scale)
            };
            let own = self.query.interval(&self.block, centre);
            let whole = own.plus(draw.biases[item]).plus(draw.task_biases[item]);
            for (value, interval) in [(chain, own), (score, whole)] {
                if !(interval.lower <= value && value <= interval.upper) {
                    return Some(format!("{value:e} of item {item} is outside {interval:?}"));
                }
            }
            // An item whose score is the floor reaches it: so does, in S's monotony, everything above.
            let mut threshold = [0];
            terms.floors[0] = score;
            thresholds(&mut threshold, &terms, &self.block, self.floats);
            let pruned = match self.floats {
                true => f32::from_bits(sum as u32) < f32::from_bits(threshold[0] as u32),
                false => sum < threshold[0],
            };
            if pruned {
                return Some(format!("item {item} is pruned at {sum} by {} for {score:e}", threshold[0]));
            }
            let most = self.query.most(self.block.norm, self.block.bias, task);
            if most < score {
                return Some(format!("item {item} scores {score:e}, above the most, {most:e}"));
            }
        }
        None
    }
}

/// Every precision with every kind of query that some instruction set uses.
fn ways(levels: i32) -> Vec<(Precision, Query)> {
    let least = i32::from(i16::MAX) / (4 * 2 * levels);
    vec![
        (Precision::Int8, Query::Bytes(127)),
        (Precision::Int8, Query::Bytes(least)),
        (Precision::Int4, Query::Bytes(127)),
        (Precision::Bf16, Query::Floats),
        (Precision::Bf16, Query::Halves),
    ]
}

#[test]
fn no_score_is_outside_and_no_item_pruned_wrongly() {
    alone(|| {
        for seed in SEEDS {
            let draw = Draw::new(seed);
            for (precision, kind) in ways(draw.levels) {
                let (scan, body) = draw.scan(precision, kind);
                if let Some(why) = scan.broken(&draw, &body) {
                    panic!("{precision:?} {kind:?}, seed {seed}, width {}: {why}", draw.query.len());
                }
            }
        }
    });
}

/// Each quantity matters: with any of them a little smaller, the draws above show an item outside.
#[test]
fn a_smaller_bound_is_found_out() {
    type Change = fn(&mut Scan);
    let changes: [(&str, Change); 7] = [
        ("half of what the items lost", |scan| scan.block.error *= 0.5),
        ("half of the norm", |scan| scan.block.norm *= 0.5),
        ("half of what the query lost", |scan| scan.query.residual *= 0.5),
        ("half of the quantised query", |scan| scan.query.quantised *= 0.5),
        ("most of the query's norm", |scan| scan.query.norm *= 0.9),
        ("a smaller scale", |scan| scan.block.scale *= 0.999),
        ("a smaller bias", |scan| scan.block.bias -= 1e-3 * scan.block.bias.abs()),
    ];
    for (name, change) in changes {
        let shows = |seed| {
            let draw = Draw::new(seed);
            ways(draw.levels).into_iter().any(|(precision, kind)| {
                let (mut scan, body) = draw.scan(precision, kind);
                change(&mut scan);
                scan.broken(&draw, &body).is_some()
            })
        };
        assert!(alone(|| SEEDS.into_iter().any(shows)), "{name} is enough");
    }
}

/// The rounding of chains of bf16 products is what remains where nothing is lost otherwise.
#[test]
fn a_bound_without_rounding_is_found_out() {
    let shows = |seed| {
        let draw = Draw::new(seed);
        let (mut scan, body) = draw.scan(Precision::Bf16, Query::Halves);
        let lost = draw.query.iter().map(|&value| {
            let lost = f64::from(value) - f64::from(f32::from_bits(half(value)));
            lost * lost
        });
        scan.query.residual = super::rounded_up(lost.sum::<f64>().sqrt());
        scan.broken(&draw, &body).is_some()
    };
    assert!(alone(|| SEEDS.into_iter().any(shows)));
}

/// On one thread: blocks this small aren't worth waking others.
fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work)
}
