//! Weighted least squares of many small users against one fixed item table: the user step of implicit ALS,
//! the ridge head, and the dense kernels under both.

mod cholesky;
mod conjugate;
mod eigen;
mod factor_solver;
mod gram;
mod lanes;
mod row;

pub use eigen::symmetric_eigen;
pub use factor_solver::{Events, FactorSolver};
pub use gram::gram;
