//! Scoring a few panels of items for a few users: one file per instruction set, chosen here.
//!
//! Every kernel computes, for each user and lane, `acc = 0; for k in 0..d { acc = fma(query[k], item[k], acc) }`,
//! then adds the item's bias and, where given, the user's extra bias. The result is bit-identical on all of
//! them; `scalar` is the readable reference and the oracle of the tests. Another instruction set is another
//! file and another arm of [`Kernels::of`].

#[cfg(target_arch = "x86_64")]
mod avx2;
pub mod pages;
mod scalar;

use super::panels::{LANES, Lanes};
use crate::isa::{Isa, Kind};

/// Most users in one tile.
pub const USERS: usize = 6;
/// Most user × panel pairs in one call; what a register file of 16 vectors of 8 floats holds.
pub const PAIRS: usize = 6;
/// Pairs that a chain call scores at a time.
pub const CHAINS: usize = 8;

/// What one call writes. User `j` in panel `p` of a call with `P` panels stands at `j * P + p`.
pub struct Scores {
    /// The scores.
    pub lanes: [Lanes; PAIRS],
    /// Bit `l` says that lane `l` exceeds the user's floor; only written for users with such a lane.
    pub above: [u16; PAIRS],
}

impl Scores {
    /// Room for one call.
    pub fn new() -> Self {
        Self { lanes: [Lanes([0.0; LANES]); PAIRS], above: [0; PAIRS] }
    }
}

/// What one call reads. `U` users and `P` panels are the kernel's own.
pub struct Block<'a> {
    /// `P` panels of `width` lanes.
    pub panels: &'a [Lanes],
    /// The items' bias, one for each of the `P` panels.
    pub bias: &'a [Lanes],
    /// `queries[k * U + j]` is dimension `k` of user `j`.
    pub queries: &'a [f32],
    /// `P * LANES` values to add for each user, or nothing.
    pub extra: Option<&'a [&'a [f32]; USERS]>,
    /// The score that each user's items have to exceed.
    pub floors: &'a [f32; USERS],
}

/// Fills the scores; bit `j` of the answer says that some score of user `j` exceeds their floor.
type ScorePanels = unsafe fn(&Block<'_>, &mut Scores) -> u32;
/// One chain each for `CHAINS` pairs of a query and an item (a panel and a lane in it), all of equal width.
type ScorePairs = unsafe fn(&[(&[f32], &[Lanes], usize); CHAINS]) -> [f32; CHAINS];

struct Table {
    /// By users and by log2 of panels; only pairs with `users * panels <= PAIRS`.
    panels: [[Option<ScorePanels>; 3]; USERS + 1],
    pairs: ScorePairs,
}

/// The kernels of one instruction set.
#[derive(Clone, Copy)]
pub struct Kernels(&'static Table);

impl Kernels {
    /// The kernels for `isa`.
    pub fn of(isa: Isa) -> Self {
        Self(match isa.kind() {
            Kind::Scalar => &scalar::TABLE,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => &avx2::TABLE,
        })
    }

    /// How many panels a call for `users` should take, so that enough independent chains hide the latency of
    /// a fused multiply-add.
    pub fn panels_for(users: usize) -> usize {
        match users {
            0 | 1 => 4,
            2 => 2,
            _ => 1,
        }
    }

    /// Score `panels` panels for `users` users; see [`Block`].
    pub fn score(self, users: usize, panels: usize, block: &Block<'_>, scores: &mut Scores) -> u32 {
        let width = block.panels.len() / panels;
        assert!(block.panels.len() == panels * width && block.queries.len() == users * width);
        assert!(block.bias.len() == panels);
        if let Some(extra) = block.extra {
            assert!(extra[..users].iter().all(|values| values.len() == panels * LANES));
        }
        let Some(kernel) = self.0.panels[users][panels.trailing_zeros() as usize] else {
            unreachable!("no kernel for {users} users and {panels} panels");
        };
        // SAFETY: a table is handed out only with an `Isa`, which exists only where the CPU has its
        // instructions; the lengths that the kernel relies on were checked above.
        unsafe { kernel(block, scores) }
    }

    /// The chain of each pair, without any bias.
    pub fn chains(self, pairs: &[(&[f32], &[Lanes], usize); CHAINS]) -> [f32; CHAINS] {
        let width = pairs[0].0.len();
        assert!(
            pairs.iter().all(|&(query, panel, lane)| {
                query.len() == width && panel.len() == width && lane < LANES
            })
        );
        // SAFETY: as above.
        unsafe { (self.0.pairs)(pairs) }
    }
}

/// The table of an instruction set from its two generic kernels.
macro_rules! table {
    ($panels:ident, $pairs:ident) => {
        pub(super) static TABLE: super::Table = super::Table {
            panels: [
                [None; 3],
                [Some($panels::<1, 1>), Some($panels::<1, 2>), Some($panels::<1, 4>)],
                [Some($panels::<2, 1>), Some($panels::<2, 2>), None],
                [Some($panels::<3, 1>), None, None],
                [Some($panels::<4, 1>), None, None],
                [Some($panels::<5, 1>), None, None],
                [Some($panels::<6, 1>), None, None],
            ],
            pairs: $pairs,
        };
    };
}
use table;
