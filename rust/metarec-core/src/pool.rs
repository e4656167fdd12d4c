//! The crate's own thread pool, one per process.
//!
//! Rayon's global pool hangs in a forked child, because `fork` copies the pool but not its threads. Here a pool
//! belongs to a process id: a child finds no pool of its own and builds one. Pools are never dropped, since
//! dropping the parent's in the child would wait for threads that aren't there.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{Error, Result};

/// Number of threads, read when a process first needs its pool.
pub const THREADS_VARIABLE: &str = "METAREC_NUM_THREADS";

const MOST_THREADS: usize = 1024;

struct Owned {
    process: u32,
    pool: ThreadPool,
    next: OnceLock<Box<Owned>>,
}

static FIRST: OnceLock<Box<Owned>> = OnceLock::new();

/// Run `work` in this process's pool, so that rayon's parallel iterators inside use it.
///
/// Called from within any rayon pool, `work` runs there; tests choose a thread count by that.
pub fn run<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    if rayon::current_thread_index().is_some() {
        return Ok(work());
    }
    Ok(current()?.install(work))
}

/// Threads that [`run`] would use.
pub fn threads() -> Result<usize> {
    match rayon::current_thread_index() {
        Some(_) => Ok(rayon::current_num_threads()),
        None => Ok(current()?.current_num_threads()),
    }
}

/// This process's pool, built if it has none. A list of locks that are only held for the move of a finished
/// box: a fork at any other moment leaves nothing locked in the child.
fn current() -> Result<&'static ThreadPool> {
    let process = std::process::id();
    let mut slot = &FIRST;
    let mut built: Option<Box<Owned>> = None;
    loop {
        if let Some(owned) = slot.get() {
            if owned.process == process {
                return Ok(&owned.pool);
            }
            slot = &owned.next;
            continue;
        }
        let owned = match built.take() {
            Some(owned) => owned,
            None => Box::new(Owned { process, pool: build()?, next: OnceLock::new() }),
        };
        // Another thread of this process may have been first; then the loop finds its pool and ours is dropped.
        built = slot.set(owned).err();
    }
}

fn build() -> Result<ThreadPool> {
    let mut builder = ThreadPoolBuilder::new().thread_name(|index| format!("metarec-{index}"));
    if let Some(count) = requested(std::env::var(THREADS_VARIABLE).ok().as_deref())? {
        builder = builder.num_threads(count);
    } else if let Ok(count) = std::thread::available_parallelism() {
        // Not left to rayon, which would listen to RAYON_NUM_THREADS.
        builder = builder.num_threads(count.get());
    }
    builder.build().map_err(|error| Error::Threads { reason: error.to_string() })
}

fn requested(value: Option<&str>) -> Result<Option<usize>> {
    let Some(text) = value.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.parse::<usize>() {
        Ok(count) if (1..=MOST_THREADS).contains(&count) => Ok(Some(count)),
        _ => Err(Error::Value {
            operation: "thread pool",
            argument: THREADS_VARIABLE,
            got: format!("{text:?}"),
            expected: format!("a whole number from 1 to {MOST_THREADS}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_thread_count() {
        assert_eq!(requested(None), Ok(None));
        assert_eq!(requested(Some("")), Ok(None));
        assert_eq!(requested(Some(" 3 ")), Ok(Some(3)));
        for wrong in ["0", "-1", "two", "1.5", "9999999"] {
            assert!(requested(Some(wrong)).unwrap_err().to_string().contains(THREADS_VARIABLE), "{wrong}");
        }
    }

    #[test]
    fn runs_inside_the_pool_that_surrounds_it() {
        let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(pool.install(|| run(rayon::current_num_threads)), Ok(3));
        assert_eq!(run(rayon::current_num_threads), threads());
    }
}
