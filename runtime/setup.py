"""Compiles src/*.cc into the plain shared library that LiteRT loads; everything else is in pyproject.toml."""

import os
import platform
import shlex
import shutil
import struct
import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

NAME = "larq_equalbits_runtime.liblarq_equalbits_runtime"
SOURCES = sorted(str(path) for path in Path("src").glob("*.cc"))
FLAGS = [
    *("-std=c++17", "-O3", "-fPIC", "-shared", "-ffp-contract=off", "-fvisibility=hidden"),
    *("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"),
    *("-pthread", "-s", "-static-libstdc++", "-static-libgcc"),
]
INSTALL = "install one (sudo apt install g++), or a wheel of larq-equalbits-runtime for this machine"


def compiler() -> list[str]:
    """The command line in CXX, or else g++ or clang.

    Raises:
        SystemExit: where there is none, with a line that says what to install.
    """
    chosen = shlex.split(os.environ.get("CXX", ""))
    if chosen:
        if shutil.which(chosen[0]) is None:
            raise SystemExit(f"CXX must name a C++ compiler, but there is no {chosen[0]!r}: {INSTALL}.")
        return chosen
    found = next((name for name in ("g++", "clang++", "c++") if shutil.which(name)), None)
    if found is None:
        raise SystemExit(
            f"larq-equalbits-runtime needs a C++ compiler, and found no g++ and no clang: {INSTALL}."
        )
    return [found]


class BuildLibrary(build_ext):
    """Makes a library that has nothing of Python in it, so one serves every version."""

    def get_ext_filename(self, fullname: str) -> str:
        """The library's path below the folder of packages."""
        return fullname.replace(".", os.sep) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """Compiles all sources in one call."""
        if platform.system() != "Linux" or struct.calcsize("P") != 8:
            raise SystemExit(
                "larq-equalbits-runtime needs a 64-bit Linux on x86-64 or ARM, but this is "
                f"{platform.system()} with {8 * struct.calcsize('P')}-bit programs."
            )
        if not ext.sources:
            raise SystemExit("larq-equalbits-runtime must be built where src/ is, but there are no src/*.cc.")
        library = self.get_ext_fullpath(ext.name)
        os.makedirs(os.path.dirname(library), exist_ok=True)
        chosen = compiler()
        # The linker that comes with zig knows no such option, and its C++ library hides its names anyway.
        hidden = [] if "ziglang" in chosen else ["-Wl,--exclude-libs,ALL"]
        command = [*chosen, *FLAGS, *hidden, *ext.sources, "-ldl", "-o", library]
        if subprocess.run(command).returncode:
            raise SystemExit(f"larq-equalbits-runtime did not compile: {shlex.join(command)}")


class Wheel(bdist_wheel):
    """Names the wheel for any Python 3 on this platform."""

    def get_tag(self) -> tuple[str, str, str]:
        """Any Python 3, no binary interface of Python, this platform."""
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension(NAME, SOURCES)],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": Wheel},
)
