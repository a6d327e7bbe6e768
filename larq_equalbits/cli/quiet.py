"""Keeps the start-up and converter messages of TensorFlow's C++ libraries away from the user."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

# TensorFlow writes these before any of its log levels is in force, so that only the file descriptor stops them.
_LOUD = "LARQ_EQUALBITS_VERBOSE"


def be_verbose() -> None:
    """Lets everything through from now on, in this process and those that it starts."""
    os.environ[_LOUD] = "1"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallows what the block writes to the file descriptor of standard error; an exception lets it out again."""
    if os.environ.get(_LOUD):
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
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
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
