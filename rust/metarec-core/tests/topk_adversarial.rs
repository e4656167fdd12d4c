//! Data that is hard on quantised scans: every way to the lists has to give the bits of the plain loop.

mod plain;

use metarec_core::isa::Isa;
use plain::random::Random;
use plain::{Case, TASKS, offsets};

/// What the values of a case look like.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Outlier,
    StudentT,
    Offset,
    HugeBias,
    TinyBias,
    Cancelling,
    Subnormal,
    LeastItems,
    Mixed,
    FiveRows,
    Equal,
    OneValue,
    ZeroQueries,
    AtTheLimit,
    BeyondTheLimit,
}

const KINDS: [Kind; 15] = [
    Kind::Outlier,
    Kind::StudentT,
    Kind::Offset,
    Kind::HugeBias,
    Kind::TinyBias,
    Kind::Cancelling,
    Kind::Subnormal,
    Kind::LeastItems,
    Kind::Mixed,
    Kind::FiveRows,
    Kind::Equal,
    Kind::OneValue,
    Kind::ZeroQueries,
    Kind::AtTheLimit,
    Kind::BeyondTheLimit,
];

impl Kind {
    fn case(self, random: &mut Random, (rows, n, width, k): (usize, usize, usize, usize)) -> Case {
        let mut matrix = random.vector(n * width, Random::normal);
        let mut queries = random.vector(rows * width, Random::normal);
        let (mut bias, mut task) = (None, None);
        match self {
            Self::Outlier => {
                let outlier = random.below(width);
                matrix.iter_mut().skip(outlier).step_by(width).for_each(|value| *value *= 1e4);
            }
            Self::StudentT => {
                matrix = random.vector(n * width, Random::heavy);
                queries = random.vector(rows * width, Random::heavy);
            }
            Self::Offset => matrix.iter_mut().for_each(|value| *value += 1e5),
            // The score of most items is absorbed, so that few values and many ties remain.
            Self::HugeBias => {
                let size = random.magnitude(6, 30);
                bias = Some(random.vector(n, |random| size * (random.below(3) as f32 - 1.0)));
            }
            Self::TinyBias => bias = Some(random.vector(n, |random| 1e-30 * random.normal())),
            // The sum of both biases is small, but the score was rounded where they are large.
            Self::Cancelling => {
                let size = random.magnitude(4, 12);
                let signs = random.vector(n, |random| size * (random.below(2) as f32 - 0.5));
                task = Some((0..TASKS).flat_map(|_| signs.iter().map(|sign| -sign)).collect());
                bias = Some(signs);
            }
            Self::Subnormal => {
                let small = random.magnitude(-44, -38);
                matrix.iter_mut().for_each(|value| *value *= small);
                let small = random.magnitude(-44, 3);
                queries.iter_mut().for_each(|value| *value *= small);
            }
            // The least positive values, whose norms are subnormal too, with the largest queries.
            Self::LeastItems => {
                let least = f32::from_bits(1);
                matrix = random.vector(n * width, |random| least * (random.below(5) as f32 - 1.0).min(1.0));
                queries.fill(1e15);
            }
            Self::Mixed => {
                matrix.iter_mut().for_each(|value| *value *= random.magnitude(-30, 10));
                queries.iter_mut().for_each(|value| *value *= random.magnitude(-30, 10));
            }
            Self::FiveRows => {
                let distinct = matrix[..matrix.len().min(5 * width)].to_vec();
                let rows = distinct.len() / width;
                for row in matrix.chunks_mut(width) {
                    row.copy_from_slice(&distinct[random.below(rows) * width..][..width]);
                }
            }
            Self::Equal => matrix.fill(0.7),
            Self::OneValue => {
                matrix.fill(0.0);
                if n > 0 {
                    matrix[random.below(n * width)] = random.normal();
                }
            }
            Self::ZeroQueries => queries.fill(0.0),
            Self::AtTheLimit => {
                let most = matrix.iter().chain(&queries).fold(1e-30_f32, |most, value| most.max(value.abs()));
                let scale = |value: &mut f32| *value = (*value / most * 1e15).clamp(-1e15, 1e15);
                matrix.iter_mut().chain(&mut queries).for_each(scale);
            }
            // Some of the queries can't be quantised.
            Self::BeyondTheLimit => {
                for query in queries.chunks_mut(width).skip(random.below(2)).step_by(2) {
                    query.iter_mut().for_each(|value| *value *= 1e20);
                    query[0] = 1e17;
                }
            }
        }
        let task_bias = task.map(|values| (values, (0..rows).map(|row| row as i32 % 3 - 1).collect()));
        Case { n, width, rows, k, matrix, bias, queries, task_bias, ..Case::default() }
    }
}

/// What a call asks for besides.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Nothing,
    AllowNone,
    AllowHalf,
    DenyAll,
    ExcludeAll,
    ExcludeSome,
    Boosts,
    HugeBoosts,
    Tasks,
    CallBias,
    Everything,
}

const WISHES: [Wish; 11] = [
    Wish::Nothing,
    Wish::AllowNone,
    Wish::AllowHalf,
    Wish::DenyAll,
    Wish::ExcludeAll,
    Wish::ExcludeSome,
    Wish::Boosts,
    Wish::HugeBoosts,
    Wish::Tasks,
    Wish::CallBias,
    Wish::Everything,
];

impl Wish {
    fn add(self, random: &mut Random, case: &mut Case) {
        let (rows, n) = (case.rows, case.n);
        // In any order, with repeats.
        let some = |random: &mut Random, longest: usize| {
            let longest = if n == 0 { 0 } else { longest };
            let lengths: Vec<usize> = (0..rows).map(|_| random.below(longest + 1)).collect();
            let items: Vec<i32> = (0..lengths.iter().sum()).map(|_| random.below(n) as i32).collect();
            (offsets(&lengths), items)
        };
        // Of the size of the scores, so that boosted items end up among the others.
        let typical = if n == 0 { 1.0 } else { case.score(0, 0).abs() };
        match self {
            Self::Nothing => {}
            Self::AllowNone => case.allow = Some(vec![false; n]),
            Self::AllowHalf => case.allow = Some((0..n).map(|_| random.below(2) == 0).collect()),
            Self::DenyAll => case.deny = Some(vec![true; n]),
            Self::ExcludeAll => {
                let items = (0..rows).flat_map(|_| (0..n as i32).rev()).collect();
                case.exclude = Some((offsets(&vec![n; rows]), items));
            }
            Self::ExcludeSome => case.exclude = Some(some(random, 80)),
            Self::Boosts | Self::HugeBoosts => {
                let size =
                    if matches!(self, Self::Boosts) { typical } else { (1e7 * (typical + 1.0)).min(1e35) };
                let (offsets, items) = some(random, 60);
                let added = random.vector(items.len(), |random| size * random.uniform());
                (case.exclude, case.boosts) = (Some(some(random, 20)), Some((offsets, items, added)));
            }
            Self::Tasks => {
                let values = random.vector(TASKS * n, |random| typical * random.normal());
                let tasks = (0..rows).map(|_| random.below(TASKS + 1) as i32 - 1).collect();
                case.task_bias.get_or_insert((values, tasks));
            }
            Self::CallBias => {
                case.call_bias = Some(random.vector(n, |random| typical * random.normal()));
            }
            Self::Everything => {
                for wish in [Self::AllowHalf, Self::ExcludeSome, Self::Tasks, Self::CallBias, Self::Boosts] {
                    wish.add(random, case);
                }
                case.deny = Some((0..n).map(|item| item % 7 == 3).collect());
            }
        }
    }
}

fn try_all(random: &mut Random, sizes: &[usize], widths: &[usize], wishes: &[Wish]) {
    let mut turn = 0;
    for kind in KINDS {
        for &n in sizes {
            for &wish in wishes {
                turn += 1;
                let lengths = [1, 10, n, 1000, n + 1, n.saturating_sub(1), 0, 3];
                let (width, k) = (widths[turn % widths.len()], lengths[turn % lengths.len()]);
                let rows = 1 + turn % 9;
                let mut case = kind.case(random, (rows, n, width, k));
                wish.add(random, &mut case);
                case.check().unwrap_or_else(|why| {
                    panic!("{kind:?} {wish:?}, {rows} rows, {n} items, width {width}, k {k}: {why}")
                });
            }
        }
    }
}

#[test]
fn small_sizes() {
    let widths = [1, 2, 3, 6, 7, 8, 15, 33, 64, 101, 255, 300];
    try_all(&mut Random::new(1), &[0, 1, 63, 64, 65, 129], &widths, &WISHES);
}

/// More than a stretch of blocks, so that floors are looked at in between.
#[test]
fn several_stretches() {
    try_all(&mut Random::new(2), &[5000], &[2, 5, 16, 37, 6], &WISHES);
}

/// So much work that threads take turns at the items and share their floors.
#[test]
fn items_divided_among_threads() {
    let fast = *Isa::available().last().unwrap();
    let (rows, n, width) = (2, 50_001, 256);
    let mut random = Random::new(3);
    let kinds = [Kind::StudentT, Kind::HugeBias, Kind::Cancelling, Kind::FiveRows, Kind::BeyondTheLimit];
    for (turn, kind) in kinds.into_iter().enumerate() {
        for (place, wish) in [Wish::Boosts, Wish::Everything].into_iter().enumerate() {
            let k = [30, 1, 1000, 7, 1][(turn + 3 * place) % 5];
            let mut case = kind.case(&mut random, (rows, n, width, k));
            wish.add(&mut random, &mut case);
            case.check_index(&case.index(fast), fast, &case.reference())
                .unwrap_or_else(|why| panic!("{kind:?} {wish:?}, k {k}: {why}"));
        }
    }
}

/// The best items come last in the scan, with biases that cancel after they took the scores' digits: what a whole
/// stretch can reach at most has to allow for that rounding.
#[test]
fn biases_that_cancel_round_up() {
    let half = 1024;
    let matrix =
        (0..2 * half).map(|item| if item < half { 600.0 + item as f32 / 10.0 } else { 590.0 }).collect();
    let biases = |large: f32| (0..2 * half).map(|item| if item < half { 0.0 } else { large }).collect();
    let task_bias: Vec<f32> = [biases(1e10), vec![0.0; (TASKS - 1) * 2 * half]].concat();
    let case = Case {
        n: 2 * half,
        width: 1,
        rows: 2,
        k: 10,
        matrix,
        bias: Some(biases(-1e10)),
        queries: vec![1.0; 2],
        task_bias: Some((task_bias, vec![0, -1])),
        ..Case::default()
    };
    assert_eq!((case.score(0, 0), case.score(0, half)), (600.0, 1024.0));
    case.check().unwrap();
}

/// Norms of vectors of the least values are subnormal themselves, and rounded by up to a third.
#[test]
fn norms_of_the_least_values_round_up() {
    let (n, width, least) = (3000, 6, f32::from_bits(1));
    let matrix = (0..n * width).map(|at| if at % width > 0 || at / width > 2900 { least } else { 0.0 });
    let case = Case {
        n,
        width,
        rows: 1,
        k: 10,
        matrix: matrix.collect(),
        queries: vec![1e15; width],
        ..Case::default()
    };
    case.check().unwrap();
}
