//! Weighted least squares of many small users against one fixed item table: the user step of implicit ALS,
//! the ridge head, and the dense kernels under both.

mod aligned;
mod cholesky;
mod conjugate;
mod eigen;
mod events;
mod factor_solver;
mod gram;
mod lane_cholesky;
mod lanes;
mod row;
mod schedule;
mod side_by_side;
#[cfg(test)]
mod textbook;
mod turn;
mod user_block;

pub use eigen::symmetric_eigen;
pub use events::Events;
pub use factor_solver::FactorSolver;
pub use gram::gram;
