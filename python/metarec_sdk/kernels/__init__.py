"""Operations on many small per-task matrices: Triton kernels on a GPU, grouped matrix products on a CPU.

Every operation takes rows that each belong to one of T tasks and a `plan.TaskPlan` that sorts them; it lives
in the module of its name, for example ``from metarec_sdk.kernels.linear_adapter import linear_adapter``. This
package imports nothing by itself; its modules need torch, and triton only once a tensor on a GPU arrives.
`Stability: provisional`.
"""
