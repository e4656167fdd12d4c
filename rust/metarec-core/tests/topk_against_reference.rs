//! Top-K on every instruction set and thread count, against a plain loop over all items.

mod plain;

use metarec_core::isa::Isa;
use metarec_core::topk::Request;
use plain::{Case, TASKS, offsets, paths, pool};
use proptest::prelude::*;

/// Few distinct values make many ties; the others exercise rounding and signs.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![(-2_i8..=2).prop_map(f32::from), -10.0_f32..10.0, Just(-0.0), Just(1e-40), Just(-1e-30)]
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
        case.check().map_err(TestCaseError::fail)?;
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
