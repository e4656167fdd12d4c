//! Saving an index with its rows, and mapping it back into memory.
//!
//! ```text
//! magic u8[8] · version u32 · sections u32 · n u64 · d u64 · tasks u32 · levels u32 · limits f32[3] · crc u32
//! per section: kind u32 · crc u32 · offset u64 · bytes u64
//! sections, each at a multiple of 64 bytes
//! ```
//! Little-endian. The checksum of the header covers itself (as 0) and the table. On loading, the header and the
//! small sections are read and checked; rows and quantised copies are only mapped, and checked on request.
//! Nothing in a file can make the index read outside of it; a file that was changed on purpose, checksums
//! included, can make it rank wrongly.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytemuck::Pod;
use memmap2::Mmap;

use super::kernel::{BLOCK, Line, PANELS, map::map};
use super::plane::Plane;
use super::segment::{Biases, Body, Ids, Rows, Segment};
use super::store::Store;
use super::{ItemIndex, Options, Precision, View};
use crate::isa::Isa;
use crate::{Error, Result};

const MAGIC: [u8; 8] = *b"metarecX";
const VERSION: u32 = 1;
const ALIGNMENT: usize = 64;
const HEADER: usize = 56;
const ENTRY: usize = 24;
/// Sections of a file; a precision has three.
const MOST_SECTIONS: usize = 5 + 3 * 3;

const ROWS: u32 = 0;
const ORDER: u32 = 1;
const NORMS: u32 = 2;
const ITEM_BIAS: u32 = 3;
const TASK_BIAS: u32 = 4;

/// The kinds of a plane's lines, scales and errors.
fn plane_kinds(precision: Precision) -> [u32; 3] {
    let first = 16 * (1 + Precision::ALL.iter().position(|&other| other == precision).unwrap_or(0) as u32);
    [first, first + 1, first + 2]
}

impl View<'_> {
    /// Write the index and its rows to a file, which appears whole or not at all.
    pub fn save(&self, path: &FilePath) -> Result<()> {
        let rebuilt;
        let index = self.index();
        let [segment] = &index.segments[..] else {
            rebuilt = self.rebuilt()?;
            let (merged, rows) = &rebuilt;
            return merged.over(rows)?.save(path);
        };
        if segment.alive.is_some() {
            rebuilt = self.rebuilt()?;
            let (merged, rows) = &rebuilt;
            return merged.over(rows)?.save(path);
        }
        let body = &*segment.body;
        let bytes = bytemuck::cast_slice::<f32, u8>;
        let mut sections: Vec<(u32, &[u8])> = vec![
            (ROWS, bytes(self.rows_of(body))),
            (ORDER, bytemuck::cast_slice(&body.order)),
            (NORMS, bytes(&body.norms)),
        ];
        sections.extend(body.item_bias.as_ref().map(|bias| (ITEM_BIAS, bytes(bias))));
        sections.extend(body.task_bias.as_ref().map(|bias| (TASK_BIAS, bytes(bias))));
        for plane in body.planes.iter().filter(|plane| index.planes.contains(&plane.precision)) {
            let [lines, scales, errors] = plane_kinds(plane.precision);
            sections.push((lines, bytemuck::cast_slice(&plane.lines)));
            sections.push((scales, bytes(&plane.scales)));
            sections.push((errors, bytes(&plane.errors)));
        }
        write(path, &header(index, &sections), &sections)
            .map_err(|error| failed("save", path, &error.to_string()))
    }

    /// A new index of one segment over the rows as they are now, and those rows.
    fn rebuilt(&self) -> Result<(ItemIndex, Vec<f32>)> {
        let index = self.index();
        let items: Vec<_> = (0..index.n_items() as u32).map(|id| self.item(id)).collect();
        let rows: Vec<f32> = items.iter().flat_map(|item| item.values.iter().copied()).collect();
        let has_bias = index.segments.first().is_some_and(|first| first.body.item_bias.is_some());
        let item_bias: Vec<f32> = items.iter().map(|item| item.item_bias()).collect();
        let task_bias: Vec<f32> =
            (0..index.tasks).flat_map(|task| items.iter().map(move |item| item.task_bias(task))).collect();
        let biases = Biases {
            item: has_bias.then_some(&item_bias[..]),
            task: (index.tasks > 0).then_some((&task_bias[..], index.tasks)),
        };
        let options = Options { planes: Some(index.planes.clone()), isa: Some(index.isa) };
        let merged = ItemIndex::new(&rows, items.len(), index.width, biases, &options)?;
        Ok((merged, rows))
    }
}

impl ItemIndex {
    /// Map a saved index. `verify` reads the whole file and checks it; without, the rows and quantised copies
    /// are trusted.
    pub fn load(path: &FilePath, verify: bool, isa: Option<Isa>) -> Result<Self> {
        let isa = isa.map_or_else(Isa::current, Ok)?;
        let refuse = |reason: &str| failed("load", path, reason);
        let file = File::open(path).map_err(|error| refuse(&error.to_string()))?;
        let bytes = Arc::new(map(&file).map_err(|error| refuse(&error.to_string()))?);
        let table =
            Table::read(&bytes).ok_or_else(|| refuse("it is no index of this version, or it is damaged"))?;
        if !table.intact(&bytes, verify) {
            return Err(refuse("its content doesn't match its checksums"));
        }
        table.index(&bytes, isa).ok_or_else(|| refuse("its sections don't fit together"))
    }
}

fn failed(operation: &'static str, path: &FilePath, reason: &str) -> Error {
    Error::File { operation, path: path.display().to_string(), reason: reason.to_owned() }
}

fn header(index: &ItemIndex, sections: &[(u32, &[u8])]) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER + ENTRY * sections.len());
    header.extend(MAGIC);
    header.extend(VERSION.to_le_bytes());
    header.extend((sections.len() as u32).to_le_bytes());
    header.extend((index.n_items as u64).to_le_bytes());
    header.extend((index.width as u64).to_le_bytes());
    header.extend((index.tasks as u32).to_le_bytes());
    header.extend(index.levels.to_le_bytes());
    for limit in [index.item_limit, index.bias_limit, index.task_bias_limit] {
        header.extend(limit.to_le_bytes());
    }
    header.extend([0; 4]);
    let mut offset = (HEADER + ENTRY * sections.len()).next_multiple_of(ALIGNMENT);
    for (kind, bytes) in sections {
        header.extend(kind.to_le_bytes());
        header.extend(crc32fast::hash(bytes).to_le_bytes());
        header.extend((offset as u64).to_le_bytes());
        header.extend((bytes.len() as u64).to_le_bytes());
        offset = (offset + bytes.len()).next_multiple_of(ALIGNMENT);
    }
    let checksum = crc32fast::hash(&header);
    header[HEADER - 4..HEADER].copy_from_slice(&checksum.to_le_bytes());
    header
}

fn write(path: &FilePath, header: &[u8], sections: &[(u32, &[u8])]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(FilePath::new("."));
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?.to_string_lossy();
    // Of this save alone: other threads may be saving to the same place.
    static SAVES: AtomicU64 = AtomicU64::new(0);
    let save = SAVES.fetch_add(1, Ordering::Relaxed);
    let partial = folder.join(format!(".{name}.{}.{save}.partial", std::process::id()));
    let written = (|| {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&partial)?);
        file.write_all(header)?;
        let mut length = header.len();
        for (_, bytes) in sections {
            file.write_all(&[0; ALIGNMENT][..length.next_multiple_of(ALIGNMENT) - length])?;
            file.write_all(bytes)?;
            length = length.next_multiple_of(ALIGNMENT) + bytes.len();
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&partial, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written
}

/// A checked header.
struct Table {
    n: usize,
    width: usize,
    tasks: usize,
    levels: i32,
    limits: [f32; 3],
    sections: Vec<(u32, u32, Range<usize>)>,
}

impl Table {
    fn read(bytes: &[u8]) -> Option<Self> {
        if cfg!(target_endian = "big") || bytes.get(..8)? != MAGIC || integer(bytes, 8)? != VERSION {
            return None;
        }
        let count = integer(bytes, 12)? as usize;
        if count > MOST_SECTIONS {
            return None;
        }
        let mut header = bytes.get(..HEADER + ENTRY * count)?.to_vec();
        header[HEADER - 4..HEADER].fill(0);
        if integer(bytes, HEADER - 4)? != crc32fast::hash(&header) {
            return None;
        }
        let sections = (0..count)
            .map(|index| {
                let at = HEADER + ENTRY * index;
                let (offset, length) = (size(bytes, at + 8)?, size(bytes, at + 16)?);
                let range = offset..offset.checked_add(length)?;
                bytes.get(range.clone())?;
                Some((integer(bytes, at)?, integer(bytes, at + 4)?, range))
            })
            .collect::<Option<Vec<_>>>()?;
        let float = |at| integer(bytes, at).map(f32::from_bits);
        Some(Self {
            n: size(bytes, 16)?,
            width: size(bytes, 24)?,
            tasks: integer(bytes, 32)? as usize,
            levels: integer(bytes, 36)? as i32,
            limits: [float(40)?, float(44)?, float(48)?],
            sections,
        })
    }

    /// Whether the sections match their checksums; the large ones only if `all`.
    fn intact(&self, bytes: &[u8], all: bool) -> bool {
        let large =
            |kind: u32| kind == ROWS || Precision::ALL.iter().any(|&other| plane_kinds(other)[0] == kind);
        self.sections
            .iter()
            .filter(|(kind, ..)| all || !large(*kind))
            .all(|(_, checksum, range)| crc32fast::hash(&bytes[range.clone()]) == *checksum)
    }

    fn index(&self, map: &Arc<Mmap>, isa: Isa) -> Option<ItemIndex> {
        let values = self.n.checked_mul(self.width)?;
        let (blocks, tasks) = (self.n.div_ceil(BLOCK), self.n.checked_mul(self.tasks)?);
        if self.n > i32::MAX as usize || !(1..=127).contains(&self.levels) {
            return None;
        }
        let order: Store<u32> = self.section(map, ORDER, self.n)??;
        if order.iter().any(|&row| row as usize >= self.n) {
            return None;
        }
        let norms = self.section(map, NORMS, blocks)??;
        let mut planes = Vec::new();
        for precision in Precision::ALL {
            let [lines, scales, errors] = plane_kinds(precision);
            let width = Plane::lines_for(precision, self.width);
            let Some(lines) = self.section::<Line>(map, lines, blocks.checked_mul(PANELS * width)?) else {
                continue;
            };
            planes.push(Plane {
                precision,
                levels: self.levels,
                width,
                lines: lines?,
                scales: self.section(map, scales, blocks)??,
                errors: self.section(map, errors, blocks)??,
            });
        }
        let precisions = planes.iter().map(|plane| plane.precision).collect();
        let body = Body::assemble(
            Rows::Kept(self.section(map, ROWS, values)??),
            self.n,
            self.width,
            Ids::From(0),
            order,
            norms,
            planes,
            self.section(map, ITEM_BIAS, self.n).map_or(Some(None), |bias| bias.map(Some))?,
            self.section(map, TASK_BIAS, tasks).map_or(Some(None), |bias| bias.map(Some))?,
        );
        if body.task_bias.is_some() != (self.tasks > 0) {
            return None;
        }
        let [item_limit, bias_limit, task_bias_limit] = self.limits;
        Some(ItemIndex {
            segments: vec![Segment { body: Arc::new(body), alive: None }],
            n_items: self.n,
            width: self.width,
            tasks: self.tasks,
            planes: precisions,
            levels: self.levels,
            item_limit,
            bias_limit,
            task_bias_limit,
            isa,
            int4_gave_up: Arc::default(),
        })
    }

    /// The section of a kind, if the file has it; and then, its values, if there are so many.
    fn section<T: Pod>(&self, map: &Arc<Mmap>, kind: u32, count: usize) -> Option<Option<Store<T>>> {
        let (_, _, range) = self.sections.iter().find(|(other, ..)| *other == kind)?;
        Some(if Some(range.len()) == count.checked_mul(size_of::<T>()) {
            Store::mapped(map, range.clone())
        } else {
            None
        })
    }
}

fn integer(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn size(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}
