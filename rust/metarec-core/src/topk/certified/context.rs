//! What all groups of a call share.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::super::bound::BlockBound;
use super::super::kernel::{BLOCK, Scanner};
use super::super::path::Precision;
use super::super::plane::Plane;
use super::super::request::Request;
use super::super::segment::{Body, Segment};
use super::super::view::{Item, View};

/// Blocks between two looks at other threads' floors and at what is left to scan.
const STRETCH: usize = 16;

/// Rows from which it pays to look all items up in the masks of a call, rather than those that pass.
const MASKED_ROWS: usize = 8;

/// A call.
pub struct Context<'a> {
    /// The items.
    pub view: &'a View<'a>,
    /// The request.
    pub request: &'a Request<'a>,
    /// The precision that is scanned.
    pub precision: Precision,
    /// Its kernels.
    pub scanner: Scanner,
    /// Whether items have to be looked up in the masks of the call one by one.
    pub look_up: bool,
    /// A group gave up, so that others needn't try: whoever asks together has similar queries.
    pub gave_up: AtomicBool,
    parts: Vec<Part<'a>>,
    stretches: Vec<(usize, Range<usize>)>,
}

/// A segment in a call.
pub struct Part<'a> {
    /// The segment's items.
    pub body: &'a Body,
    /// The plane that is scanned.
    pub plane: &'a Plane,
    segment: &'a Segment,
    /// Admitted items, a word a block; the segment's own where absent.
    masks: Option<Vec<u64>>,
    /// B of each block: the segment's own, or of the call's bias.
    bias_tops: Cow<'a, [f32]>,
    /// From each block on, the most of X and of B.
    rest: Cow<'a, [(f32, f32)]>,
}

impl<'a> Context<'a> {
    /// Prepare a checked request; the index has the plane.
    pub fn new(view: &'a View<'a>, request: &'a Request<'a>, precision: Precision) -> Self {
        let filtered = request.allow.is_some() || request.deny.is_some();
        let masked = filtered && request.rows >= MASKED_ROWS;
        let part = |segment| Part::new(segment, request, precision, masked);
        let parts: Vec<_> = view.index().segments.iter().map(part).collect();
        let mut stretches = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let blocks = part.body.blocks();
            stretches.extend(
                (0..blocks).step_by(STRETCH).map(|first| (index, first..blocks.min(first + STRETCH))),
            );
        }
        let scanner = view.kernels().scanner(precision, view.index().levels);
        Self {
            view,
            request,
            precision,
            scanner,
            look_up: filtered && !masked,
            gave_up: AtomicBool::new(false),
            parts,
            stretches,
        }
    }

    /// The scanned plane of the first segment; the others have the same widths and offsets.
    pub fn plane(&self) -> &Plane {
        self.parts[0].plane
    }

    /// Users of a tile.
    pub fn tile(&self) -> usize {
        self.scanner.tile()
    }

    /// Stretches of blocks in all segments.
    pub fn stretches(&self) -> usize {
        self.stretches.len()
    }

    /// A stretch: its segment and blocks.
    pub fn stretch(&self, stretch: usize) -> (&Part<'a>, Range<usize>) {
        let (part, blocks) = &self.stretches[stretch];
        (&self.parts[*part], blocks.clone())
    }

    /// The query of a row.
    pub fn query(&self, row: usize) -> &'a [f32] {
        let width = self.view.width();
        &self.request.queries[row * width..][..width]
    }

    /// The bias of an item in this call.
    pub fn bias(&self, item: &Item<'_>, id: u32) -> f32 {
        self.request.bias.map_or_else(|| item.item_bias(), |bias| bias[id as usize] + 0.0)
    }
}

impl<'a> Part<'a> {
    fn new(segment: &'a Segment, request: &Request<'_>, precision: Precision, masked: bool) -> Self {
        let body = &*segment.body;
        let ids =
            |block: usize| body.order[block * BLOCK..].iter().take(BLOCK).map(|&row| body.id(row) as usize);
        let masks = masked.then(|| {
            let admitted = |block: usize| {
                ids(block)
                    .enumerate()
                    .fold(0, |mask, (place, id)| mask | u64::from(request.admits(id)) << place)
            };
            (0..body.blocks()).map(|block| admitted(block) & segment.mask(block)).collect()
        });
        let (bias_tops, rest) = match request.bias {
            None => (Cow::Borrowed(&body.item_bias_tops[..]), Cow::Borrowed(&body.rest[..])),
            Some(bias) => {
                let top = |block| ids(block).fold(f32::NEG_INFINITY, |top, id| top.max(bias[id]));
                let tops: Vec<f32> = (0..body.blocks()).map(top).collect();
                let rest = Body::rest(&body.norms, &tops);
                (Cow::Owned(tops), Cow::Owned(rest))
            }
        };
        let plane = body.plane(precision).expect("the path was chosen among the planes");
        Self { body, plane, segment, masks, bias_tops, rest }
    }

    /// Admitted items of a block.
    pub fn mask(&self, block: usize) -> u64 {
        self.masks.as_ref().map_or_else(|| self.segment.mask(block), |masks| masks[block])
    }

    /// What the bound knows of a block.
    pub fn bound(&self, block: usize) -> BlockBound {
        BlockBound { bias: self.bias_tops[block], ..self.body.bound(self.plane, block) }
    }

    /// The most of X and of B from a block on.
    pub fn rest(&self, block: usize) -> (f32, f32) {
        self.rest[block]
    }
}
