//! What this machine can do at most: multiply-adds in registers, and reading memory as one stream.
//!
//! `cargo run --release --example ceilings` prints JSON: Gop/s (a multiply-add counts as two operations) of
//! each instruction that the processor has, and GB/s (10⁹ bytes) of reading 256 MB, on 1 and on 2 threads, each
//! the best of several runs. `benches/topk.py` puts its times beside these.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

const THREADS: [usize; 2] = [1, 2];
/// About a millisecond each, so that some are left alone on a busy machine.
const RUNS: usize = 100;
/// Bytes that are read over and over, far more than any cache here: 256 MB.
const READ: usize = 256_000_000;
/// Parts of them; each run reads the next one.
const PARTS: usize = 16;

/// One instruction mix: its name, the operations of one turn of its loop, and the loop.
struct Mix {
    name: &'static str,
    operations: f64,
    turn: fn(usize),
}

#[cfg(target_arch = "x86_64")]
mod mixes {
    use std::arch::asm;

    use super::Mix;

    /// A loop of `turns` over instructions written out, so that the compiler neither moves nor merges them.
    /// Registers 12 to 15 are operands, the first twelve accumulate: enough to hide any latency. They are zeroed
    /// first: subnormal numbers or NaN may be slow.
    macro_rules! mix {
        ($function:ident, $register:literal, $zero:literal, $features:literal, [$($line:expr),+ $(,)?]) => {
            #[doc = concat!("Needs ", $features, ", which `available` checks.")]
            fn $function(turns: usize) {
                let mut left = turns.max(1);
                // SAFETY: `available` offers this only where its instructions are there; it touches no memory,
                // and every register that it writes is declared.
                unsafe {
                    asm!(
                        mix!(zero $zero $register 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
                        "2:",
                        $($line,)+
                        "dec {left}",
                        "jnz 2b",
                        left = inout(reg) left,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                        out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                        out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                        out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                        options(nomem, nostack),
                    );
                }
                let _ = left;
            }
        };
        (zero $zero:literal $register:literal $($number:literal)+) => {
            concat!($($zero, " ", $register, $number, ",", $register, $number, ",", $register, $number, "\n",)+)
        };
    }

    /// Twelve times one instruction, each into a register of its own.
    macro_rules! twelve {
        ($function:ident, $register:literal, $zero:literal, $features:literal, $instruction:literal) => {
            mix!($function, $register, $zero, $features, [twelve!($instruction $register 0 1 2 3 4 5 6 7 8 9 10 11)]);
        };
        ($instruction:literal $register:literal $($number:literal)+) => {
            concat!($($instruction, " ", $register, $number, ",", $register, "12,", $register, "13\n",)+)
        };
    }

    /// Without VNNI: bytes in pairs to 16 bits, twice; their sum in pairs to 32; then the sum. So three
    /// multiply instructions do 64 products, the most that is known for values that fit. Six times, over six
    /// registers in between.
    macro_rules! widened {
        ($($sum:literal $first:literal $second:literal)+) => {
            concat!($(
                "vpmaddubsw ymm", $first, ",ymm12,ymm13\n",
                "vpmaddubsw ymm", $second, ",ymm12,ymm14\n",
                "vpaddw ymm", $first, ",ymm", $first, ",ymm", $second, "\n",
                "vpmaddwd ymm", $first, ",ymm", $first, ",ymm15\n",
                "vpaddd ymm", $sum, ",ymm", $sum, ",ymm", $first, "\n",
            )+)
        };
    }

    twelve!(fma_avx2, "ymm", "vpxor", "AVX2 and FMA", "vfmadd231ps");
    mix!(int8_avx2, "ymm", "vpxor", "AVX2", [widened!(0 6 7 1 8 9 2 10 11 3 6 7 4 8 9 5 10 11)]);
    twelve!(fma_avx512, "zmm", "vpxord", "AVX-512F", "vfmadd231ps");
    twelve!(int8_vnni, "zmm", "vpxord", "AVX-512 VNNI", "vpdpbusd");
    twelve!(bf16_avx512, "zmm", "vpxord", "AVX-512 BF16", "vdpbf16ps");

    pub fn available() -> Vec<Mix> {
        let mut found = Vec::new();
        let mut offer = |there: bool, name, operations: usize, turn| {
            if there {
                found.push(Mix { name, operations: operations as f64, turn });
            }
        };
        let (avx2, avx512) = (is_x86_feature_detected!("avx2"), is_x86_feature_detected!("avx512f"));
        offer(avx2 && is_x86_feature_detected!("fma"), "fma avx2", 12 * 8 * 2, fma_avx2 as fn(usize));
        offer(avx2, "int8 avx2", 6 * 64 * 2, int8_avx2);
        offer(avx512, "fma avx512", 12 * 16 * 2, fma_avx512);
        offer(avx512 && is_x86_feature_detected!("avx512vnni"), "int8 avx512", 12 * 64 * 2, int8_vnni);
        offer(avx512 && is_x86_feature_detected!("avx512bf16"), "bf16 avx512", 12 * 32 * 2, bf16_avx512);
        found
    }

    /// The OR of the words, read as `STREAMS` streams at once with prefetches across page ends.
    ///
    /// # Safety
    /// AVX2 is there.
    #[target_feature(enable = "avx2")]
    pub unsafe fn read<const STREAMS: usize>(words: &[u64]) -> u64 {
        super::read_streams::<STREAMS>(words, |word| {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(word.wrapping_add(128).cast());
        })
    }
}

/// The OR of all words but a remainder, `STREAMS` streams in turns, a cache line of each at a time.
#[inline(always)]
fn read_streams<const STREAMS: usize>(words: &[u64], prefetch: impl Fn(*const u64)) -> u64 {
    const LINE: usize = 8;
    let length = words.len() / STREAMS / LINE * LINE;
    let streams: [&[u64]; STREAMS] = std::array::from_fn(|stream| &words[stream * length..][..length]);
    let mut seen = [[0_u64; LINE]; STREAMS];
    for at in (0..length).step_by(LINE) {
        for (stream, seen) in streams.iter().zip(&mut seen) {
            let line = &stream[at..at + LINE];
            prefetch(line.as_ptr());
            for (sum, word) in seen.iter_mut().zip(line) {
                *sum |= word;
            }
        }
    }
    seen.iter().flatten().fold(0, |sum, word| sum | word)
}

fn read(words: &[u64], streams: usize) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 is there.
        return unsafe { if streams == 1 { mixes::read::<1>(words) } else { mixes::read::<4>(words) } };
    }
    if streams == 1 { read_streams::<1>(words, |_| ()) } else { read_streams::<4>(words, |_| ()) }
}

/// Seconds until all threads have done `work`, which gets the thread's and the run's number; of the best run.
fn fastest(threads: usize, work: impl Fn(usize, usize) + Sync) -> f64 {
    let timed_run = |run| {
        let start = Barrier::new(threads);
        let timed = |thread| {
            start.wait();
            let begun = Instant::now();
            work(thread, run);
            begun.elapsed().as_secs_f64()
        };
        std::thread::scope(|scope| {
            let timed = &timed;
            let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || timed(thread))).collect();
            let own = timed(0);
            others.into_iter().map(|other| other.join().expect("a timed loop can't fail")).fold(own, f64::max)
        })
    };
    (0..RUNS).map(timed_run).fold(f64::INFINITY, f64::min)
}

fn list(values: [f64; 2]) -> String {
    format!("[{:.2}, {:.2}]", values[0], values[1])
}

fn main() {
    let mut lines = Vec::new();
    #[cfg(target_arch = "x86_64")]
    for mix in mixes::available() {
        let turns = 300_000;
        let rates = THREADS.map(|threads| {
            mix.operations * turns as f64 * threads as f64 / fastest(threads, |_, _| (mix.turn)(turns)) / 1e9
        });
        lines.push(format!("  \"{}\": {}", mix.name, list(rates)));
    }
    let words = vec![1_u64; READ / 8];
    let rates = THREADS.map(|threads| {
        let part = words.len() / PARTS / threads;
        [1, 4].map(|streams| {
            let seconds = fastest(threads, |thread, run| {
                let start = (run % PARTS * threads + thread) * part;
                black_box(read(black_box(&words[start..][..part]), streams));
            });
            (part * threads * 8) as f64 / seconds / 1e9
        })
    });
    lines.push(format!("  \"read\": {}", list(rates.map(|[one, four]| one.max(four)))));
    println!("{{\n{}\n}}", lines.join(",\n"));
}
