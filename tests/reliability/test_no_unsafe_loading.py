"""Nothing in the package or its plugins can load code from a file: no pickle and no relatives."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN_MODULES = {
    *("pickle", "_pickle", "cPickle", "pickletools", "cloudpickle", "dill", "joblib", "marshal", "shelve"),
    *("skops", "jsonpickle", "hickle", "pandas.io.pickle", "sklearn.externals", "torch.serialization"),
}
FORBIDDEN_CALLS = {"torch.load", "torch.save", "torch.jit.load", "yaml.load", "eval", "exec", "compile"}
FORBIDDEN_METHODS = {"read_pickle", "to_pickle"}


def dotted(node):
    """``a.b.c`` of a chain of names, else None."""
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return None if inner is None else f"{inner}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else None


def findings(source):
    """Line and reason of each unsafe import or call."""
    tree = ast.parse(source)
    names, found = {}, []  # names: what a local name stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        else:
            continue
        for module in modules:
            bad = FORBIDDEN_MODULES | FORBIDDEN_CALLS
            if any(module == name or module.startswith(f"{name}.") for name in bad):
                found.append((node.lineno, module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_METHODS:
            found.append((node.lineno, node.attr))
        if isinstance(node, (ast.Attribute, ast.Name)) and (name := dotted(node)):
            head, _, rest = name.partition(".")
            full = f"{names.get(head, head)}{'.' if rest else ''}{rest}"
            called = name in ("eval", "exec", "compile") and isinstance(node, ast.Name)
            if full in FORBIDDEN_CALLS and ("." in full or called):
                found.append((node.lineno, full))
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                safe = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg == "allow_pickle" and not safe:
                    found.append((node.lineno, "allow_pickle"))
            imported = dotted(node.func) in ("__import__", "importlib.import_module") and node.args
            if imported and getattr(node.args[0], "value", None) in FORBIDDEN_MODULES:
                found.append((node.lineno, node.args[0].value))
    return found


def test_the_package_and_its_plugins_load_no_code():
    files = [file for folder in ("python", "plugins") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 10
    unsafe = {str(file.relative_to(ROOT)): found for file in files if (found := findings(file.read_text()))}
    assert unsafe == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, joblib as j",
        "from pickle import loads",
        "from sklearn.externals import joblib",
        "import torch\nx = torch.load('f', weights_only=True)",
        "import torch as t\nt.load('f')",
        "from torch import load",
        "from torch import load as read",
        "def inside():\n    import marshal",
        "import numpy as np\nnp.load('f', allow_pickle=True)",
        "import numpy as np\nflag = True\nnp.load('f', allow_pickle=flag)",
        "import pandas as pd\npd.read_pickle('f')",
        "reader = torch.load",
        "eval('1')",
        "__import__('pickle')",
        "import importlib\nimportlib.import_module('dill')",
    ],
)
def test_the_check_finds(source):
    assert findings(source)


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.compile('x')",
        "from safetensors.numpy import load\nload(b'')",
        "import numpy as np\nnp.load('f', allow_pickle=False)",
        "model.eval()",
        "'pickle'  # in a text",
    ],
)
def test_the_check_lets_pass(source):
    assert findings(source) == []
