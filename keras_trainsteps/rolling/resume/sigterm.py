"""SIGTERM as a wish to stop after the running step."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

EXIT_STATUS = 128 + signal.SIGTERM


class Sigterm:
    """Whether SIGTERM came, and has not been followed yet."""

    def __init__(self) -> None:
        self.received = False

    def exit_if_received(self) -> None:
        """Ends the process as a shell reports it, by `SystemExit` with status 143."""
        if self.received:
            self.received = False
            raise SystemExit(EXIT_STATUS)


@contextlib.contextmanager
def sigterm_watched() -> Iterator[Sigterm]:
    """Remembers SIGTERM while the block runs; afterwards the handler of before is back.

    Signals can only be watched for from the main thread; elsewhere none is seen. One that
    came and was not followed, because an exception ended the block, is sent again.
    """
    sigterm = Sigterm()
    if threading.current_thread() is not threading.main_thread():
        yield sigterm
        return

    def remember(number: int, frame: object) -> None:
        sigterm.received = True

    before = signal.signal(signal.SIGTERM, remember)
    try:
        yield sigterm
    finally:
        # `None` stands for a handler that Python cannot put back.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
        if sigterm.received:
            os.kill(os.getpid(), signal.SIGTERM)
