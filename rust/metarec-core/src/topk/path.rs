//! The ways to the same answer: the plain fp32 scan, or a certified scan of a quantised copy.

use std::sync::OnceLock;

use crate::{Error, Result};

/// Name of the environment variable that forces a path.
pub const PATH_VARIABLE: &str = "METAREC_TOPK_PATH";

/// What a quantised copy of the items is stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Two bytes a value.
    Bf16,
    /// One byte a value, one scale a block.
    Int8,
    /// Half a byte a value, one scale a block.
    Int4,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bf16, Self::Int8, Self::Int4];

    /// Dimensions that four bytes hold.
    pub fn per_word(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::Int8 => 4,
            Self::Int4 => 8,
        }
    }
}

/// How a call scans the items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Every score in fp32.
    Fp32,
    /// Approximate scores of a quantised copy, and fp32 for what might belong to a list.
    Certified(Precision),
}

impl Path {
    /// The path of that name.
    pub fn named(argument: &'static str, name: &str) -> Result<Self> {
        match name {
            "fp32" => Ok(Self::Fp32),
            "bf16" => Ok(Self::Certified(Precision::Bf16)),
            "int8" => Ok(Self::Certified(Precision::Int8)),
            "int4" => Ok(Self::Certified(Precision::Int4)),
            _ => Err(Error::Value {
                operation: "topk",
                argument,
                got: format!("{name:?}"),
                expected: "fp32, bf16, int8 or int4".into(),
            }),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Certified(Precision::Bf16) => "bf16",
            Self::Certified(Precision::Int8) => "int8",
            Self::Certified(Precision::Int4) => "int4",
        }
    }

    /// What [`PATH_VARIABLE`] forces for this process, if it is set.
    pub fn forced() -> Result<Option<Self>> {
        static FORCED: OnceLock<Result<Option<Path>>> = OnceLock::new();
        FORCED
            .get_or_init(|| {
                let value = std::env::var(PATH_VARIABLE).unwrap_or_default();
                let name = value.trim().to_ascii_lowercase();
                if name.is_empty() { Ok(None) } else { Self::named(PATH_VARIABLE, &name).map(Some) }
            })
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for path in [Path::Fp32].into_iter().chain(Precision::ALL.map(Path::Certified)) {
            assert_eq!(Path::named("path", path.name()), Ok(path));
        }
        assert!(Path::named("path", "int2").unwrap_err().to_string().contains("fp32, bf16, int8 or int4"));
    }
}
