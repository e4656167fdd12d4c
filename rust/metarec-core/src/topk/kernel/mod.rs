//! The inner loops, one file per instruction set, chosen here.
//!
//! Three kinds. [`Kernels::score`] computes exact scores: for each user and lane
//! `acc = 0; for k in 0..d { acc = fma(query[k], item[k], acc) }`, then adds the item's bias and, where given,
//! the user's extra bias. [`Kernels::chains`] does the same chains for a few single rows. [`Scanner::scan`]
//! computes approximate scores of quantised items and reports the lanes that reach a threshold.
//!
//! Exact scores and integer sums are the same bits on every instruction set; approximate floats stay within
//! the bound that [`super::bound`] proves. `scalar` is the readable reference and the oracle of the tests.
//! Another instruction set is another file and another arm of [`Kernels::of`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
pub mod map;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod pages;
mod scalar;
#[cfg(test)]
mod tests;

use bytemuck::{Pod, Zeroable};

use super::bound::MAX_WIDTH;
use super::path::Precision;
use crate::isa::{Isa, Kind};

/// Items side by side in a panel: one per lane.
pub const LANES: usize = 16;
/// Panels in a block.
pub const PANELS: usize = 4;
/// Items in a block.
pub const BLOCK: usize = LANES * PANELS;
/// Most users in one tile.
pub const USERS: usize = 6;
/// Most user × panel pairs in one call for exact scores; what 32 registers of 16 floats hold.
pub const PAIRS: usize = 24;
/// Rows that a chain call scores at a time.
pub const CHAINS: usize = 8;

/// One value for each item of a panel, aligned to a cache line.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

impl Lanes {
    /// Bit `l` says that lane `l` exceeds the floor.
    pub fn above(&self, floor: f32) -> u16 {
        self.0.iter().rev().fold(0, |bits, &value| bits << 1 | u16::from(value > floor))
    }
}

/// Four bytes for each item of a panel: one step of a quantised panel, and one cache line.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Line(pub [[u8; 4]; LANES]);

/// What one exact call writes. User `j` in panel `p` of a call with `P` panels stands at `j * P + p`.
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

/// What one exact call reads. `U` users and `P` panels are the kernel's own.
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

/// What one scan reads: a block of [`PANELS`] quantised panels and a tile of `U` users.
pub struct Quantised<'a> {
    /// The panels, one after another.
    pub lines: &'a [Line],
    /// `queries[w * U + j]` is word `w` of user `j`; see [`Scanner::words`].
    pub queries: &'a [i32],
    /// Where each user's sums start; integer scans only.
    pub starts: &'a [i32],
    /// Lanes whose sum is at least this are reported; the bits of an f32 for floating scans.
    pub thresholds: &'a [i32],
}

/// What one scan writes, by user of the tile.
pub struct Hits {
    /// Bit `i` says that item `i` of the block reaches the threshold.
    pub masks: [u64; USERS],
    /// The sums of the panels with such an item; the bits of an f32 for floating scans.
    pub sums: [[i32; BLOCK]; USERS],
}

impl Hits {
    /// Room for one call.
    pub fn new() -> Self {
        Self { masks: [0; USERS], sums: [[0; BLOCK]; USERS] }
    }
}

/// Fills the scores; bit `j` of the answer says that some score of user `j` exceeds their floor.
type ScorePanels = unsafe fn(&Block<'_>, &mut Scores) -> u32;
/// One chain of a query for each of `CHAINS` rows of equal width.
type ScoreRows = unsafe fn(&[f32], &[&[f32]; CHAINS]) -> [f32; CHAINS];
/// Fills a panel with the rows of its items.
type PackRows = unsafe fn(&[&[f32]; LANES], &mut [Lanes]);
/// Fills the hits; bit `j` of the answer says that user `j` has one.
type ScanBlock = unsafe fn(&Quantised<'_>, &mut Hits) -> u32;

/// How a scan wants its queries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Query {
    /// Signed bytes, four dimensions a word, of at most this magnitude.
    Bytes(i32),
    /// f32, one dimension a word.
    Floats,
    /// bf16, two dimensions a word.
    #[allow(dead_code, reason = "only some instruction sets want it")]
    Halves,
}

/// The scan of one precision.
#[derive(Clone, Copy)]
struct ScanTable {
    /// How it wants its queries.
    query: fn(levels: i32) -> Query,
    /// The function, by users of a tile.
    by_users: &'static [ScanBlock],
}

#[derive(Clone, Copy)]
struct Table {
    /// By users and by log2 of panels; only pairs with `users * panels <= PAIRS`.
    panels: [[Option<ScorePanels>; 3]; USERS + 1],
    rows: ScoreRows,
    pack: PackRows,
    int8: ScanTable,
    int4: ScanTable,
    bf16: ScanTable,
    /// Magnitude of quantised int8 items that suits the scan best.
    levels: i32,
    /// What the int8 scan takes off every stored item by itself; see [`Scanner::offset`].
    offset: i32,
    /// Admitted items for each of a list from which the certified scan beats the exact one: measured for
    /// `scalar` and `avx2`, elsewhere estimated from how many products the scan has for each of the other.
    share: usize,
    /// Admitted items from which it does; measured and estimated likewise.
    fewest: usize,
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
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni => &avx_vnni::TABLE,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => &avx512::TABLE,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni => &avx512::vnni::TABLE,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => &avx512::bf16::TABLE,
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => &neon::TABLE,
            #[cfg(target_arch = "aarch64")]
            Kind::NeonDot => &neon::dot::TABLE,
        })
    }

    /// How many panels an exact call for `users` should take: the most there is a kernel for, so that enough
    /// independent chains hide the latency of a fused multiply-add.
    pub fn panels_for(self, users: usize) -> usize {
        self.0.panels[users].iter().rposition(Option::is_some).map_or(1, |log2| 1 << log2)
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

    /// The chain of the query with each row, without any bias.
    pub fn chains(self, query: &[f32], rows: &[&[f32]; CHAINS]) -> [f32; CHAINS] {
        assert!(rows.iter().all(|row| row.len() == query.len()));
        // SAFETY: as above.
        unsafe { (self.0.rows)(query, rows) }
    }

    /// Pack one row for each lane of a panel.
    pub fn pack(self, rows: &[&[f32]; LANES], panel: &mut [Lanes]) {
        assert!(rows.iter().all(|row| row.len() == panel.len()));
        // SAFETY: as above.
        unsafe { (self.0.pack)(rows, panel) }
    }

    /// Magnitude up to which int8 items are quantised for these kernels.
    pub fn levels(self) -> i32 {
        self.0.levels
    }

    /// Admitted items for each of a list from which the certified scan pays.
    pub fn share(self) -> usize {
        self.0.share
    }

    /// Admitted items from which the certified scan pays.
    pub fn fewest(self) -> usize {
        self.0.fewest
    }

    /// The scan over items of a precision; `levels` is the magnitude of int8 items.
    pub fn scanner(self, precision: Precision, levels: i32) -> Scanner {
        let (table, offset) = match precision {
            Precision::Int8 => (&self.0.int8, self.0.offset),
            Precision::Int4 => (&self.0.int4, 0),
            Precision::Bf16 => (&self.0.bf16, 0),
        };
        Scanner { query: (table.query)(levels), offset, by_users: table.by_users }
    }
}

/// The scan over the items of one precision.
#[derive(Clone, Copy)]
pub struct Scanner {
    query: Query,
    offset: i32,
    by_users: &'static [ScanBlock],
}

impl Scanner {
    /// How it wants its queries.
    pub fn query(self) -> Query {
        self.query
    }

    /// What it takes off every stored integer by itself, so that `starts` have to take off that much less.
    pub fn offset(self) -> i32 {
        self.offset
    }

    /// Most users of a tile.
    pub fn tile(self) -> usize {
        self.by_users.len()
    }

    /// Query words for a panel of `lines` lines. A line of int4 items takes two words of bytes, one of bf16
    /// items two floats; the words follow the dimensions in any case.
    pub fn words(self, precision: Precision, lines: usize) -> usize {
        match (precision, self.query) {
            (Precision::Int4, _) | (Precision::Bf16, Query::Floats) => 2 * lines,
            _ => lines,
        }
    }

    /// Scan a block for `users` users; see [`Quantised`].
    pub fn scan(self, precision: Precision, users: usize, block: &Quantised<'_>, hits: &mut Hits) -> u32 {
        let lines = block.lines.len() / PANELS;
        assert!(block.lines.len() == PANELS * lines && lines <= MAX_WIDTH);
        assert!(block.queries.len() == users * self.words(precision, lines));
        assert!(block.starts.len() == users && block.thresholds.len() == users);
        // SAFETY: as for `score`.
        unsafe { (self.by_users[users - 1])(block, hits) }
    }
}

/// The exact kernels of an instruction set by users and panels; `wide` where 32 registers hold them all.
macro_rules! exact_table {
    ($panels:ident) => {
        [
            [None; 3],
            [Some($panels::<1, 1>), Some($panels::<1, 2>), Some($panels::<1, 4>)],
            [Some($panels::<2, 1>), Some($panels::<2, 2>), None],
            [Some($panels::<3, 1>), None, None],
            [Some($panels::<4, 1>), None, None],
            [Some($panels::<5, 1>), None, None],
            [Some($panels::<6, 1>), None, None],
        ]
    };
    (wide $panels:ident) => {
        [
            [None; 3],
            [Some($panels::<1, 1>), None, Some($panels::<1, 4>)],
            [Some($panels::<2, 1>), None, Some($panels::<2, 4>)],
            [Some($panels::<3, 1>), None, Some($panels::<3, 4>)],
            [Some($panels::<4, 1>), None, Some($panels::<4, 4>)],
            [Some($panels::<5, 1>), None, Some($panels::<5, 4>)],
            [Some($panels::<6, 1>), None, Some($panels::<6, 4>)],
        ]
    };
}
use exact_table;
