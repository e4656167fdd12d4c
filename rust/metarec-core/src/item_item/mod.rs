//! The item-item member: a sparse table of which items go together, and what a history adds up to in it.

mod boosts;
mod neighbours;

pub use boosts::{Boosts, NeighbourTable};
pub use neighbours::{Neighbours, Table, neighbours};
