//! Every kernel of every instruction set of this machine against the reference. Small enough for an emulator.

use super::super::plane::half;
use super::*;

const WIDTHS: [usize; 16] = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 70];
const LINES: [usize; 10] = [1, 2, 3, 4, 5, 7, 8, 15, 16, 18];

/// Numbers from a fixed generator (Marsaglia, Xorshift RNGs, 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    fn below(&mut self, end: i32) -> i32 {
        (self.next() % end as u32) as i32
    }

    /// Of any sign, mostly of moderate magnitude.
    fn float(&mut self) -> f32 {
        let value = self.next() as i32 as f32 / (1 << 29) as f32;
        match self.below(16) {
            0 => value * 1e-30,
            1 => value * 1e10,
            2 => 0.0_f32.copysign(value),
            _ => value,
        }
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    fn lanes(&mut self, count: usize) -> Vec<Lanes> {
        (0..count).map(|_| Lanes(std::array::from_fn(|_| self.float()))).collect()
    }
}

/// Each instruction set but the reference.
fn others() -> Vec<(Isa, Kernels)> {
    Isa::available()
        .into_iter()
        .filter(|&isa| isa != Isa::SCALAR)
        .map(|isa| (isa, Kernels::of(isa)))
        .collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn exact_scores_are_the_same_bits() {
    let (reference, mut random) = (Kernels::of(Isa::SCALAR), Random(1));
    for (isa, kernels) in others() {
        for users in 1..=USERS {
            let sizes = [1, 2, 4].into_iter().zip(&kernels.0.panels[users]);
            for panels in sizes.filter_map(|(panels, kernel)| kernel.map(|_| panels)) {
                for (round, width) in WIDTHS.into_iter().chain([0]).enumerate() {
                    let items = random.lanes(panels * width);
                    let bias = random.lanes(panels);
                    let queries = random.floats(users * width);
                    let more: Vec<_> = (0..USERS).map(|_| random.floats(panels * LANES)).collect();
                    let extra = |part: std::ops::Range<usize>| -> [&[f32]; USERS] {
                        std::array::from_fn(|j| &more[j][part.clone()])
                    };
                    let extras = (round % 2 == 0).then(|| extra(0..panels * LANES));
                    // From a floor that everything exceeds to one that nothing does.
                    let floors = std::array::from_fn(|j| {
                        [f32::NEG_INFINITY, -1.0, 0.0, 1.0, f32::INFINITY][(round + j) % 5]
                    });
                    let block = Block {
                        panels: &items,
                        bias: &bias,
                        queries: &queries,
                        extra: extras.as_ref(),
                        floors: &floors,
                    };
                    let mut found = Scores::new();
                    let hits = kernels.score(users, panels, &block, &mut found);
                    let mut expected_hits = 0;
                    for panel in 0..panels {
                        let lanes = panel * LANES..(panel + 1) * LANES;
                        let extras = extras.map(|_| extra(lanes.clone()));
                        let block = Block {
                            panels: &items[panel * width..][..width],
                            bias: &bias[panel..=panel],
                            extra: extras.as_ref(),
                            ..block
                        };
                        let mut expected = Scores::new();
                        let panel_hits = reference.score(users, 1, &block, &mut expected);
                        expected_hits |= panel_hits;
                        for j in 0..users {
                            let at = format!("{}: {users} users, {width} wide, panel {panel}", isa.name());
                            let pair = j * panels + panel;
                            assert_eq!(bits(&found.lanes[pair].0), bits(&expected.lanes[j].0), "{at}");
                            if hits >> j & 1 != 0 {
                                assert_eq!(found.above[pair], expected.above[j], "{at}");
                            }
                        }
                    }
                    assert_eq!(hits, expected_hits, "{}: {users} users, {width} wide", isa.name());
                }
            }
        }
    }
}

#[test]
fn chains_and_packed_rows_are_the_same_bits() {
    let (reference, mut random) = (Kernels::of(Isa::SCALAR), Random(2));
    for width in 0..=70 {
        let query = random.floats(width);
        let rows: Vec<_> = (0..LANES.max(CHAINS)).map(|_| random.floats(width)).collect();
        let chained: [&[f32]; CHAINS] = std::array::from_fn(|row| &rows[row][..]);
        let packed: [&[f32]; LANES] = std::array::from_fn(|row| &rows[row][..]);
        let chains = reference.chains(&query, &chained);
        for (isa, kernels) in others() {
            let found = kernels.chains(&query, &chained);
            assert_eq!(bits(&found), bits(&chains), "{}: {width} wide", isa.name());
            let mut panel = vec![Lanes([f32::NAN; LANES]); width];
            kernels.pack(&packed, &mut panel);
            for (k, lanes) in panel.iter().enumerate() {
                assert_eq!(bits(&lanes.0), bits(&packed.map(|row| row[k])), "{}: {width} wide", isa.name());
            }
        }
    }
}

/// How the inputs of an integer scan are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fill {
    Random,
    /// The largest sums: what doesn't saturate or overflow here never does.
    Highest,
    Lowest,
    /// Extremes of random sign.
    Extreme,
}

#[test]
fn integer_sums_are_equal() {
    let mut random = Random(3);
    for (isa, kernels) in others() {
        for (precision, levels) in [(Precision::Int8, 63), (Precision::Int8, 127), (Precision::Int4, 7)] {
            let scanner = kernels.scanner(precision, levels);
            for users in 1..=scanner.tile() {
                for lines in LINES {
                    for fill in [Fill::Random, Fill::Highest, Fill::Lowest, Fill::Extreme] {
                        let items = items(&mut random, precision, levels, lines, fill);
                        let queries =
                            queries(&mut random, scanner, scanner.words(precision, lines) * users, fill);
                        let at = format!(
                            "{} {precision:?} {levels}, {users} users, {lines} lines, {fill:?}",
                            isa.name()
                        );
                        check_integers(&mut random, scanner, precision, users, &items, &queries, &at);
                    }
                }
            }
        }
    }
}

/// What a plane of integers can hold.
fn items(random: &mut Random, precision: Precision, levels: i32, lines: usize, fill: Fill) -> Vec<Line> {
    let mut integer = |most: i32| match fill {
        Fill::Random => random.below(most + 1),
        Fill::Highest | Fill::Lowest => most,
        Fill::Extreme => most * random.below(2),
    };
    let mut byte = || match precision {
        Precision::Int4 => (integer(15) | integer(15) << 4) as u8,
        _ => integer(2 * levels) as u8,
    };
    (0..PANELS * lines).map(|_| Line(std::array::from_fn(|_| std::array::from_fn(|_| byte())))).collect()
}

/// Query bytes as large as a scanner lets them be.
fn queries(random: &mut Random, scanner: Scanner, words: usize, fill: Fill) -> Vec<i32> {
    let Query::Bytes(most) = scanner.query() else { panic!("an integer scan reads bytes") };
    let mut byte = || match fill {
        Fill::Random => random.below(2 * most + 1) - most,
        Fill::Highest => most,
        Fill::Lowest => -most,
        Fill::Extreme => most * (2 * random.below(2) - 1),
    };
    (0..words).map(|_| i32::from_le_bytes(std::array::from_fn(|_| byte() as u8))).collect()
}

fn check_integers(
    random: &mut Random,
    scanner: Scanner,
    precision: Precision,
    users: usize,
    lines: &[Line],
    queries: &[i32],
    at: &str,
) {
    let starts: Vec<i32> = (0..users).map(|_| random.below(2_000_001) - 1_000_000).collect();
    let mut expected = vec![[0; BLOCK]; users];
    // The reference has smaller tiles: one user after another.
    let reference = Kernels::of(Isa::SCALAR).scanner(precision, 127);
    let mut shifted = vec![0; users];
    for j in 0..users {
        let queries: Vec<i32> = queries.iter().skip(j).step_by(users).copied().collect();
        let bytes: i32 =
            queries.iter().flat_map(|word| word.to_le_bytes()).map(|byte| i32::from(byte as i8)).sum();
        shifted[j] = starts[j] + scanner.offset() * bytes;
        let block = Quantised { lines, queries: &queries, starts: &starts[j..=j], thresholds: &[-(1 << 30)] };
        let mut hits = Hits::new();
        reference.scan(precision, 1, &block, &mut hits);
        expected[j] = hits.sums[0];
    }
    // Below all sums, at one of them, just above it, and above all.
    for round in 0..4 {
        let thresholds: Vec<i32> = (0..users)
            .map(|j| {
                let some = expected[j][random.below(BLOCK as i32) as usize];
                [expected[j].iter().min().unwrap() - 1, some, some + 1, expected[j].iter().max().unwrap() + 1]
                    [(round + j) % 4]
            })
            .collect();
        let block = Quantised { lines, queries, starts: &shifted, thresholds: &thresholds };
        let mut hits = Hits { masks: [u64::MAX; USERS], sums: [[i32::MIN; BLOCK]; USERS] };
        let any = scanner.scan(precision, users, &block, &mut hits);
        for j in 0..users {
            let reached = |item: usize| u64::from(expected[j][item] >= thresholds[j]) << item;
            let mask = (0..BLOCK).fold(0, |mask, item| mask | reached(item));
            assert_eq!((hits.masks[j], any >> j & 1), (mask, u32::from(mask != 0)), "{at}");
            for panel in (0..PANELS).filter(|panel| mask >> (panel * LANES) & 0xffff != 0) {
                let lanes = panel * LANES..(panel + 1) * LANES;
                assert_eq!(hits.sums[j][lanes.clone()], expected[j][lanes], "{at}");
            }
        }
    }
}

#[test]
fn floating_sums_are_within_the_bound() {
    let mut random = Random(4);
    // Moderate values, the largest that are quantised, and such as become subnormal when multiplied.
    let magnitudes: [fn(&mut Random) -> f32; 3] = [
        Random::float,
        |random| 1e15_f32.copysign(random.float()),
        |random| f32::from_bits((56 + random.below(16) as u32) << 23 | random.next() & 0x807f_ffff),
    ];
    for (isa, kernels) in others() {
        let scanner = kernels.scanner(Precision::Bf16, 127);
        for users in 1..=scanner.tile() {
            for lines in LINES {
                for (kind, magnitude) in magnitudes.into_iter().enumerate() {
                    let width = 2 * lines;
                    let rows: Vec<Vec<f32>> = (0..BLOCK + users)
                        .map(|_| (0..width).map(|_| f32::from_bits(half(magnitude(&mut random)))).collect())
                        .collect();
                    let (items, queries) = rows.split_at(BLOCK);
                    let at = format!("{}: {users} users, {lines} lines, magnitude {kind}", isa.name());
                    check_floats(scanner, items, queries, &at);
                }
            }
        }
    }
}

fn check_floats(scanner: Scanner, items: &[Vec<f32>], queries: &[Vec<f32>], at: &str) {
    let (users, width) = (queries.len(), queries[0].len());
    let pair = |values: &[f32]| values[0].to_bits() >> 16 | values[1].to_bits();
    let lines: Vec<Line> =
        items.chunks(LANES).flat_map(|items| items_of_panel(items, width).into_iter()).collect();
    let words: Vec<i32> = match scanner.query() {
        Query::Floats => {
            (0..width * users).map(|place| queries[place % users][place / users].to_bits() as i32).collect()
        }
        Query::Halves => (0..width / 2 * users)
            .map(|place| pair(&queries[place % users][place / users * 2..]) as i32)
            .collect(),
        Query::Bytes(_) => panic!("a floating scan reads floats"),
    };
    // What bound.rs grants the sum: γ of twice the width, and what may be flushed to zero.
    let gamma = super::super::bound::chain_error(2 * width);
    let exact = |j: usize, item: usize| {
        let products = queries[j].iter().zip(&items[item]).map(|(&q, &x)| f64::from(q) * f64::from(x));
        let (sum, size) =
            products.fold((0.0, 0.0), |(sum, size), product| (sum + product, size + product.abs()));
        (sum, gamma * size + width as f64 * 2.0_f64.powi(-125))
    };
    for round in 0..3 {
        let thresholds: Vec<f32> = (0..users)
            .map(|j| [f32::MIN, exact(j, (7 * j + round) % BLOCK).0 as f32, f32::MAX][(round + j) % 3])
            .collect();
        let block = Quantised {
            lines: &lines,
            queries: &words,
            starts: &vec![0; users],
            thresholds: &thresholds.iter().map(|value| value.to_bits() as i32).collect::<Vec<_>>(),
        };
        let mut hits = Hits::new();
        let any = scanner.scan(Precision::Bf16, users, &block, &mut hits);
        for (j, threshold) in thresholds.iter().enumerate() {
            let mask = hits.masks[j];
            assert_eq!(any >> j & 1, u32::from(mask != 0), "{at}");
            for item in 0..BLOCK {
                let (sum, error) = exact(j, item);
                if mask >> (item / LANES * LANES) & 0xffff == 0 {
                    assert!(sum - error <= f64::from(*threshold), "{at}: item {item} is missing");
                    continue;
                }
                let found = f32::from_bits(hits.sums[j][item] as u32);
                assert!((f64::from(found) - sum).abs() <= error, "{at}: {found} for {sum}, item {item}");
                assert_eq!(mask >> item & 1 != 0, found >= *threshold, "{at}: item {item}");
            }
        }
    }
}

/// The lines of a panel of bf16 values.
fn items_of_panel(items: &[Vec<f32>], width: usize) -> Vec<Line> {
    (0..width / 2)
        .map(|line| {
            Line(std::array::from_fn(|lane| {
                let values = &items[lane][2 * line..][..2];
                (values[0].to_bits() >> 16 | values[1].to_bits()).to_le_bytes()
            }))
        })
        .collect()
}
