//! The one error type of the core.

/// What a call of the core can refuse, with the operation, what it got and what it wanted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Two arguments disagree in length or shape.
    #[error("{operation}: {argument} has {got}, expected {expected}")]
    Shape {
        /// The called operation.
        operation: &'static str,
        /// The offending argument.
        argument: &'static str,
        /// What was passed.
        got: String,
        /// What would have been right.
        expected: String,
    },
    /// A value is outside the range that the operation accepts.
    #[error("{operation}: {argument} is {got}, expected {expected}")]
    Value {
        /// The called operation.
        operation: &'static str,
        /// The offending argument.
        argument: &'static str,
        /// What was passed.
        got: String,
        /// What would have been right.
        expected: String,
    },
    /// An array holds NaN or infinity.
    #[error("{operation}: {argument} holds {value} at row {row}; every value must be finite")]
    NotFinite {
        /// The called operation.
        operation: &'static str,
        /// The offending argument.
        argument: &'static str,
        /// The first such row.
        row: usize,
        /// The value as text.
        value: f32,
    },
    /// A matrix that has to be positive definite is not.
    #[error("{operation}: the system of row {row} is not positive definite; raise {argument}")]
    NotPositiveDefinite {
        /// The called operation.
        operation: &'static str,
        /// The regularisation argument that would help.
        argument: &'static str,
        /// The first such row.
        row: usize,
    },
    /// A file can't be written, read or trusted.
    #[error("{operation}: {path}: {reason}")]
    File {
        /// The called operation.
        operation: &'static str,
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The operating system gave no threads.
    #[error("the thread pool can't be started ({reason}); lower METAREC_NUM_THREADS")]
    Threads {
        /// What the operating system said.
        reason: String,
    },
}

/// The core's result.
pub type Result<T> = std::result::Result<T, Error>;
