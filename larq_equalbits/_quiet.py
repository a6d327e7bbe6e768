"""Keeps the start-up and converter messages of TensorFlow's C++ libraries away from the user."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator

# TensorFlow writes some messages before any of its log levels is in force, so only the file descriptor stops them.
_LOUD, _LEVEL = "LARQ_EQUALBITS_VERBOSE", "TF_CPP_MIN_LOG_LEVEL"


def lower_voices() -> None:
    """Raises the level from which TensorFlow's C++ logs, where the user has not set it and it has not loaded.

    What fails raises; what is logged as an error besides is about TensorFlow's choice of its own kernels.
    """
    if not os.environ.get(_LOUD) and "tensorflow" not in sys.modules:
        os.environ.setdefault(_LEVEL, "3")


def lower_logger() -> None:
    """Raises the level of TensorFlow's Python logger, which begins at INFO in notebooks, and prints where files go."""
    if not os.environ.get(_LOUD):
        logger = logging.getLogger("tensorflow")
        logger.setLevel(max(logger.level, logging.WARNING))


def be_verbose() -> None:
    """Lets everything through from now on, in this process and those that it starts."""
    os.environ[_LOUD] = "1"
    os.environ[_LEVEL] = "0"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallows what the block writes to the file descriptor of standard error; an exception lets it out again."""
    if os.environ.get(_LOUD):
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:
        # A program without a standard error has nothing to keep quiet.
        yield
        return
    with tempfile.TemporaryFile() as swallowed:
        os.dup2(swallowed.fileno(), 2)
        try:
            yield
        except (OSError, ValueError, ImportError, RuntimeError):
            # Our own errors say all there is to say.
            raise
        except BaseException:
            swallowed.seek(0)
            os.write(saved, swallowed.read())
            raise
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Shows a spinner with `what` on a terminal while the block runs, and keeps the block quiet."""
    from rich.console import Console

    from larq_equalbits._text import cells

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            # A way to the terminal of its own, which stays when the block's is taken away.
            terminal = stack.enter_context(os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace"))
            if terminal.isatty():
                stack.enter_context(Console(file=terminal).status(*cells(what)))
        stack.enter_context(quiet())
        yield
