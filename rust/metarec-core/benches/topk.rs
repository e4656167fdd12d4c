//! Top-K on one thread, on each instruction set and path: `cargo bench --bench topk`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use metarec_core::Ragged;
use metarec_core::isa::Isa;
use metarec_core::topk::{Biases, ItemIndex, Options, Path, Request};

const SEEN: usize = 60;

/// Roughly normal numbers from a fixed generator.
fn values(count: usize, mut state: u64) -> Vec<f32> {
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| uniform() + uniform() + uniform() - 1.5).collect()
}

fn topk(criterion: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (n, width, rows, k) in [
        (3_700, 64, 1024, 10),
        (50_000, 64, 256, 10),
        (50_000, 64, 256, 100),
        (50_000, 64, 1, 10),
        (100_000, 128, 1, 10),
        (20_000, 256, 64, 10),
    ] {
        let (matrix, queries) = (values(n * width, 1), values(rows * width, 2));
        let offsets: Vec<i64> = (0..=rows).map(|row| (row * SEEN) as i64).collect();
        let items: Vec<i32> = (0..rows * SEEN).map(|place| (place * 7_919 % n) as i32).collect();
        let seen = Ragged::new("bench", "seen", &offsets, &items, n).unwrap();
        let mut group = criterion.benchmark_group(format!("topk/{n}x{width}/rows={rows}/k={k}"));
        group.throughput(Throughput::Elements((n * width * rows) as u64));
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(1))
            .warm_up_time(Duration::from_millis(200));
        for isa in Isa::available() {
            if isa == Isa::SCALAR && rows * n > 4_000_000 {
                continue; // the reference is there to be read, not to be fast
            }
            let options = Options { planes: None, isa: Some(isa) };
            let index = ItemIndex::new(&matrix, n, width, Biases::default(), &options).unwrap();
            let view = index.over(&matrix).unwrap();
            let planes = index.planes().iter().map(|&precision| Path::Certified(precision));
            for path in std::iter::once(Path::Fp32).chain(planes) {
                let plain = Request { queries: &queries, rows, k, path: Some(path), ..Request::default() };
                let filtered = Request { exclude: Some(seen), ..plain };
                for (name, request) in [("plain", plain), ("seen", filtered)] {
                    group.bench_function(format!("{}/{}/{name}", isa.name(), path.name()), |bencher| {
                        bencher.iter(|| pool.install(|| view.topk(black_box(&request)).unwrap()));
                    });
                }
            }
        }
    }
}

criterion_group!(benches, topk);
criterion_main!(benches);
