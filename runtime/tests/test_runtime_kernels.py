"""The C++ of the runtime by itself: its kernels on this processor and on emulated ARM ones, and under sanitizers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FLAGS = ("-std=c++17", "-ffp-contract=off", "-pthread", f"-I{ROOT / 'src'}")
ARM = "aarch64-linux-gnu-g++"


def build(program, source, *flags, compiler="g++"):
    """Compiles one file of the tests with the library's sources, the delegate only where there is a host."""
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    sources = sorted((ROOT / "src").glob("*.cc"))
    if source != "host.cc":
        sources.remove(ROOT / "src" / "delegate.cc")
    subprocess.run([compiler, *FLAGS, *flags, HERE / source, *sources, "-ldl", "-o", program], check=True)
    return program


def run(*command, **environment):
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=environment or None
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_kernel_counts_as_single_bits_do(tmp_path):
    from larq_equalbits_runtime import kernels

    printed = run(build(tmp_path / "kernels", "kernels.cc", "-O2"), 300)
    assert [line.split(":")[0] for line in printed.splitlines()] == kernels().split(",")


@pytest.fixture(scope="module")
def arm_program(tmp_path_factory):
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("needs qemu-aarch64 (Debian: qemu-user)")
    return build(tmp_path_factory.mktemp("arm") / "kernels", "kernels.cc", "-O3", "-static", compiler=ARM)


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a72", "cortex-a76"])
def test_each_kernel_counts_on_arm(arm_program, cpu):
    assert run("qemu-aarch64", "-cpu", cpu, arm_program, 150).startswith("neon: 150 cases")


@pytest.mark.slow
def test_an_arm_processor_without_neon_counts_in_plain_cpp(tmp_path):
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("needs qemu-aarch64 (Debian: qemu-user)")
    # What the kernel of such a processor tells of its abilities.
    none = tmp_path / "none.cc"
    none.write_text('extern "C" unsigned long __wrap_getauxval(unsigned long) { return 0; }\n')
    flags = ("-O2", "-static", "-Wl,--wrap=getauxval", none)
    program = build(tmp_path / "kernels", "kernels.cc", *flags, compiler=ARM)
    printed = run("qemu-aarch64", "-cpu", "cortex-a53", program, 50)
    assert [line.split(":")[0] for line in printed.splitlines()] == ["plain"]


@pytest.mark.slow
def test_kernels_stay_inside_their_memory(tmp_path):
    program = build(
        tmp_path / "kernels",
        "kernels.cc",
        "-O1",
        "-g",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover",
    )
    run(program, 300)


@pytest.mark.slow
def test_threads_share_nothing_by_accident(tmp_path):
    run(build(tmp_path / "kernels", "kernels.cc", "-O1", "-g", "-fsanitize=thread"), 100)


def test_a_layer_takes_no_more_instructions_than_lce():
    for program in ("qemu-aarch64", ARM):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    print(run(sys.executable, ROOT / "benchmarks" / "instructions.py"))


@pytest.mark.slow
def test_nothing_in_a_file_makes_it_leave_its_tensors(tmp_path):
    program = build(
        tmp_path / "host", "host.cc", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover"
    )
    ran, refused = (int(part.split()[0]) for part in run(program, "mutate", 10_000).split(","))
    assert ran > 2_000
    assert refused > 2_000


@pytest.mark.slow
def test_interpreters_on_threads_share_delegates(tmp_path):
    run(build(tmp_path / "host", "host.cc", "-O1", "-g", "-fsanitize=thread"), "threads", 400)
