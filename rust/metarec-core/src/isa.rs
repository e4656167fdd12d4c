//! Which instruction set the kernels use: found once per process, or forced by `METAREC_ISA`.

use std::sync::OnceLock;

use crate::{Error, Result};

/// Name of the environment variable that forces an instruction set.
pub const ISA_VARIABLE: &str = "METAREC_ISA";

/// An instruction set that this machine has. A value exists only where its instructions do, which is what
/// makes calling its kernels sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Isa {
    /// The portable reference.
    pub const SCALAR: Self = Self(Kind::Scalar);

    /// Every instruction set of this machine that has kernels, the best last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "other architectures add nothing")]
        let mut found = vec![Self::SCALAR];
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            found.push(Self(Kind::Avx2));
        }
        found
    }

    /// The instruction set of this process: the best available one, or what `METAREC_ISA` names.
    pub fn current() -> Result<Self> {
        static CURRENT: OnceLock<Result<Isa>> = OnceLock::new();
        CURRENT.get_or_init(|| Self::choose(std::env::var(ISA_VARIABLE).ok().as_deref())).clone()
    }

    /// The name that `METAREC_ISA` takes.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
    }

    /// Whether AVX2 and FMA are there.
    pub(crate) fn avx2(self) -> bool {
        self.0 != Kind::Scalar
    }

    fn choose(requested: Option<&str>) -> Result<Self> {
        let available = Self::available();
        let name = requested.unwrap_or("").trim().to_ascii_lowercase();
        if name.is_empty() {
            return Ok(*available.last().unwrap_or(&Self::SCALAR));
        }
        available.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| {
            let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
            Error::Value {
                operation: "instruction set",
                argument: ISA_VARIABLE,
                got: format!("{name:?}"),
                expected: format!("one that this machine has: {}", names.join(", ")),
            }
        })
    }
}

/// Compile a function for AVX2 with FMA beside the portable build, and choose by what the machine has.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $kind:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $kind),*) $(-> $ret)? {
            #[inline(always)]
            fn portable($($arg: $kind),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $kind),*) $(-> $ret)? {
                    portable($($arg),*)
                }
                if $crate::isa::Isa::current().is_ok_and(|isa| isa.avx2()) {
                    // SAFETY: an `Isa` exists only where the machine has its instructions.
                    return unsafe { avx2($($arg),*) };
                }
            }
            portable($($arg),*)
        }
    };
}
pub(crate) use vectorised;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_forces_what_the_machine_has_and_nothing_else() {
        assert_eq!(Isa::choose(Some("scalar")), Ok(Isa::SCALAR));
        assert_eq!(Isa::choose(None).ok(), Isa::available().last().copied());
        let message = Isa::choose(Some("mmx")).unwrap_err().to_string();
        assert!(message.contains("METAREC_ISA") && message.contains("scalar"), "{message}");
    }
}
