"""Compiles the kernels for GPUs that aren't there and prints their resources as JSON; a script, not a test.

    python compile_kernels.py 80 90 100

The launchers are run on CPU tensors with a recorder in the kernel's place, so that what is compiled is what a
launch on a GPU would compile: the same constants, and arguments specialised as Triton's launcher does it.
"""

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ["TRITON_CACHE_DIR"] = tempfile.mkdtemp()
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from metarec_sdk.kernels import (
    adapter_add,
    adapter_gradients,
    gradient_kernels,
    launch,
    linear_adapter,
    plan,
    task_matmul,
)

sys.path.insert(0, str(Path(__file__).parents[3] / "benches"))
import _atomic_gradients

BINARIES = Path(triton.__file__).parent / "backends/nvidia/bin"
TYPES = {
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.float32: "*fp32",
    torch.int32: "*i32",
    torch.int64: "*i64",
}
LAUNCHES: dict[str, tuple] = {}
launch.runs_kernel = lambda x: True
torch.set_num_threads(1)


class Recorder:
    """Stands for a kernel: notes with what it is launched."""

    def __init__(self, kernel, label: list[str]) -> None:
        self.kernel, self.label = kernel, label

    def __getitem__(self, grid):
        def record(*positional, **named):
            names = "num_warps", "num_stages", "enable_fp_fusion", "maxnreg"
            options = {name: named.pop(name) for name in names if name in named}
            values = dict(zip(self.kernel.arg_names, positional)) | named
            LAUNCHES[f"{self.kernel.__name__} {self.label[0]}"] = self.kernel, values, options

        return record


def source(kernel, values) -> ASTSource:
    """The kernel with its arguments specialised: None and 1 are constants, multiples of 16 known as such."""
    signature, constants, attributes = {}, {}, {}
    constant = {parameter.name for parameter in kernel.params if parameter.is_constexpr}
    for place, name in enumerate(kernel.arg_names):
        value = values[name]
        if name in constant or value is None or (isinstance(value, int) and value == 1):
            signature[name], constants[name] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            signature[name], attributes[(place,)] = TYPES[value.dtype], [["tt.divisibility", 16]]
        elif isinstance(value, float):
            signature[name] = "fp32"
        else:
            signature[name] = "i32"
            if value % 16 == 0:
                attributes[(place,)] = [["tt.divisibility", 16]]
    return ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)


def resources(kernel, values, options, capability: int) -> dict[str, int]:
    """Registers, bytes spilled and of shared memory, and matrix instructions of the compiled kernel."""
    target = GPUTarget("cuda", capability, 32)
    compiled = triton.compile(source(kernel, values), target=target, options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(compiled.asm["cubin"])
        usage = subprocess.run(
            [BINARIES / "cuobjdump", "-res-usage", file.name], capture_output=True, text=True, check=True
        )
        code = subprocess.run([BINARIES / "nvdisasm", file.name], capture_output=True, text=True, check=True)
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", usage.stdout + usage.stderr).groups()
    return {
        "registers": int(registers),
        "spilled": int(stack) + len(re.findall(r"\b(?:LDL|STL)\b", code.stdout)),
        "shared": compiled.metadata.shared,
        "matrix": len(re.findall(r"\b(?:HMMA|HGMMA|UTCHMMA|UTCQMMA|QMMA)\b", code.stdout)),
    }


def layer(dtype: torch.dtype, d: int, r: int, rows: int, label: list[str]) -> None:
    """Forward and backward of a layer of one size."""
    label[0] = f"{str(dtype)[6:]} d={d} r={r} rows={rows}"
    tasks = torch.zeros(64, dtype=torch.int64)
    made = plan.plan_tasks(tasks, 16, lists=True, block_rows=rows)
    shapes = (64, d), (d, d), (d,), (16, r, d), (16, d, r)
    x, weight, bias, a, b = (torch.zeros(s, dtype=dtype, requires_grad=True) for s in shapes)
    y = linear_adapter.linear_adapter(x, weight, a, b, made, bias=bias, scale=2.0)
    label[0] += " backward"
    torch.autograd.grad(y.sum(), (x, a, b))
    label[0] = label[0].replace("backward", "step")
    ds, dy = torch.zeros(64, r, dtype=dtype), torch.zeros(64, d, dtype=dtype)
    adapter_gradients.adapter_step_(a, b, ds, x.detach(), dy, ds, made, rate=0.1, decay=0.01)
    label[0] = label[0].replace("step", "atomics")
    _atomic_gradients.atomic_gradients(ds, x.detach(), dy, ds, made)


def main() -> None:
    label = [""]
    for module in (linear_adapter, adapter_add, task_matmul, _atomic_gradients):
        module.kernel = functools.partial(Recorder, module.kernel(), label)
    recorders = tuple(Recorder(kernel, label) for kernel in gradient_kernels.kernels())
    gradient_kernels.kernels = lambda: recorders
    report(functools.partial(layers, label))


def report(note_launches: Callable[[bool], None]) -> None:
    """Compile for the capabilities that the command line names what is launched there.

    note_launches is told whether every size is wanted.
    """
    results = {}
    for capability in (int(argument) for argument in sys.argv[1:] if argument.isdigit()):
        LAUNCHES.clear()
        launch.capability = lambda major=capability // 10: major
        note_launches("--all" in sys.argv)
        for name, launched in LAUNCHES.items():
            results[f"sm_{capability} {name}"] = resources(*launched, capability)
    print(json.dumps(results))


def layers(label: list[str], every_size: bool) -> None:
    """Layers of the sizes that are shipped."""
    layer(torch.bfloat16, 128, 16, 64, label)
    layer(torch.bfloat16, 256, 64, 64, label)
    layer(torch.bfloat16, 1024, 16, 32, label)
    layer(torch.float32, 128, 16, 32, label)
    if every_size:
        layer(torch.bfloat16, 64, 8, 16, label)
        layer(torch.float16, 128, 64, 64, label)
        layer(torch.float32, 64, 64, 64, label)
        layer(torch.float32, 128, 64, 64, label)
        layer(torch.float32, 512, 16, 64, label)


if __name__ == "__main__":
    main()
