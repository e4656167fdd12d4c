"""The Triton kernels, held to their references in the interpreter and to resources by compiling."""

import json
import platform

import pytest

pytest.importorskip("triton")
LARGEST_SHARED = {"80": 163 * 1024, "90": 227 * 1024, "100": 227 * 1024}


def test_interpreted_kernels_agree_with_their_references(run_script):
    errors = json.loads(run_script("interpret_kernels.py").splitlines()[-1])
    assert len(errors) > 40
    for case, error in errors.items():
        assert error < (1e-12 if "float64" in case else 1e-6), case


def test_interpreted_kernels_of_heads_and_lists_agree_with_their_references(run_script):
    errors = json.loads(run_script("interpret_heads.py").splitlines()[-1])
    assert len(errors) > 30
    for case, error in errors.items():
        bound = 0 if "topk" in case else 1e-12 if "float64" in case else 1e-6
        assert error <= bound, case


def test_changed_kernels_of_heads_and_lists_are_found_out(run_script):
    errors = json.loads(run_script("interpret_heads.py", "mutants").splitlines()[-1])
    assert len(errors) > 20
    assert all(error > 1e-2 for error in errors.values()), errors


def test_interpreted_kernels_of_the_inner_loop_agree_with_autograd_through_the_steps(run_script):
    errors = json.loads(run_script("interpret_inner.py").splitlines()[-1])
    assert len(errors) > 60
    for case, error in errors.items():
        assert error < (1e-12 if "float64" in case else 1e-5), case


def test_changed_kernels_of_the_inner_loop_are_found_out(run_script):
    errors = json.loads(run_script("interpret_inner.py", "mutants").splitlines()[-1])
    assert len(errors) > 2
    assert all(error > 1e-2 for error in errors.values()), errors


def test_changed_kernels_are_found_out(run_script):
    errors = json.loads(run_script("interpret_kernels.py", "mutants").splitlines()[-1])
    assert len(errors) > 5
    assert all(error > 1e-2 for error in errors.values()), errors


def check_resources(capability, output):
    found = json.loads(output.splitlines()[-1])
    assert found
    for name, used in found.items():
        assert used["spilled"] == 0, (name, used)
        assert used["shared"] <= LARGEST_SHARED[capability], (name, used)
        if "float32" not in name and "task_kernel" not in name:
            assert used["matrix"] > 0, (name, used)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the disassembler comes with x86 builds of triton")
class TestCompiledAhead:
    def test_for_sm_90(self, run_script):
        check_resources("90", run_script("compile_kernels.py", "90"))

    def test_heads_and_lists_for_sm_90(self, run_script):
        check_resources("90", run_script("compile_heads.py", "90"))

    def test_the_inner_loop_for_sm_90(self, run_script):
        check_resources("90", run_script("compile_inner.py", "90"))

    @pytest.mark.slow
    @pytest.mark.parametrize("capability", ["80", "90", "100"])
    @pytest.mark.parametrize("script", ["compile_kernels.py", "compile_heads.py", "compile_inner.py"])
    def test_every_size(self, run_script, script, capability):
        check_resources(capability, run_script(script, "--all", capability, timeout=1800))
