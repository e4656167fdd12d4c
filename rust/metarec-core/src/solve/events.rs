//! The events of a batch of users, checked.

use crate::{Error, Ragged, Result, finite};

/// The events of a batch of users.
#[derive(Clone, Copy)]
pub struct Events<'a> {
    /// Item rows.
    pub rows: Ragged<'a>,
    /// ω ≥ 0, one an event.
    pub weights: &'a [f32],
    /// y, one an event; 1 where absent.
    pub targets: Option<&'a [f32]>,
}

impl<'a> Events<'a> {
    /// Check lengths, finiteness and signs.
    pub fn new(
        operation: &'static str,
        rows: Ragged<'a>,
        weights: &'a [f32],
        targets: Option<&'a [f32]>,
    ) -> Result<Self> {
        for (argument, values) in [("weights", Some(weights)), ("targets", targets)] {
            let Some(values) = values else { continue };
            if values.len() != rows.items().len() {
                let (got, expected) =
                    (format!("{} values", values.len()), format!("{}, one an event", rows.items().len()));
                return Err(Error::Shape { operation, argument, got, expected });
            }
            finite::check(operation, argument, values, 1)?;
        }
        if let Some(position) = weights.iter().position(|&weight| weight < 0.0) {
            let got = format!("{} at position {position}", weights[position]);
            return Err(Error::Value {
                operation,
                argument: "weights",
                got,
                expected: "weights of at least 0".into(),
            });
        }
        Ok(Self { rows, weights, targets })
    }
}
