//! Which instruction set the kernels use: found once per process, or forced by `METAREC_ISA`.
//!
//! | name | needs | what it adds |
//! | --- | --- | --- |
//! | `scalar` | nothing | the portable reference |
//! | `avx2` | AVX2, FMA | vectors of 256 bits |
//! | `avxvnni` | AVX-VNNI | dot products of bytes |
//! | `avx512` | AVX-512 F, BW, DQ, VL | vectors of 512 bits |
//! | `avx512vnni` | AVX-512 VNNI | dot products of bytes |
//! | `avx512bf16` | AVX-512 BF16 | dot products of bf16 |
//! | `neon` | Advanced SIMD | vectors of 128 bits; every AArch64 has them |
//! | `neon-dot` | FEAT_DotProd | dot products of bytes |

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
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "aarch64")]
    NeonDot,
}

impl Kind {
    /// All of this architecture, the best last.
    const ALL: &[Self] = &[
        Self::Scalar,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "x86_64")]
        Self::AvxVnni,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Vnni,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Bf16,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
        #[cfg(target_arch = "aarch64")]
        Self::NeonDot,
    ];

    /// Whether this machine and its operating system have everything that the kernels use.
    fn is_available(self) -> bool {
        #[cfg(target_arch = "aarch64")]
        use std::arch::is_aarch64_feature_detected as has;
        #[cfg(target_arch = "x86_64")]
        use std::arch::is_x86_feature_detected as has;
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => has!("avx2") && has!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Self::Avx2.is_available() && has!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && has!("avx512f")
                    && has!("avx512bw")
                    && has!("avx512dq")
                    && has!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => Self::Avx512.is_available() && has!("avx512vnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => Self::Avx512Vnni.is_available() && has!("avx512bf16"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => has!("neon"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => Self::Neon.is_available() && has!("dotprod"),
        }
    }
}

impl Isa {
    /// The portable reference.
    pub const SCALAR: Self = Self(Kind::Scalar);

    /// Every instruction set of this machine that has kernels, the best last.
    pub fn available() -> Vec<Self> {
        Kind::ALL.iter().filter(|kind| kind.is_available()).map(|&kind| Self(kind)).collect()
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
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni => "avx512vnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => "avx512bf16",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Kind::NeonDot => "neon-dot",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
    }

    /// Whether AVX2 and FMA are there and may be used: every kind of x86-64 but the reference has them.
    #[cfg(target_arch = "x86_64")]
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
