//! Closed-form user heads.

pub mod natpar;
