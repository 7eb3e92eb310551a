"""The one exception for what a user can put right, and the end that Ctrl-C makes."""

import contextlib
import sys
from collections.abc import Iterator

#: Exit code of a command that Ctrl-C ended, as shells have it.
INTERRUPTED = 130


class UserError(Exception):
    """A mistake in the input: its message is one sentence that names the cause and the cure."""


@contextlib.contextmanager
def one_line_on_ctrl_c() -> Iterator[None]:
    """End with one line and exit code 130 on Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
