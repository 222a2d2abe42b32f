"""Running a command in this one's place: it gets the signals, and its end is told as a shell would."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Final

from budgeted.system import current as system

FORWARDED: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGBREAK")
    if hasattr(signal, name)
)

_OF_TERMINAL: Final = frozenset(("SIGINT", "SIGQUIT", "SIGWINCH"))
"""What a terminal sends to all its programs: one that came from there has reached the command already."""


class ChildProcess:
    """A command that runs, for which this process waits.

    Args:
        command: with its arguments.
        environment: that it gets.

    Attributes:
        pid: of its process.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._early: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        # First, so that none in between ends this process and leaves the command to itself.
        self._before = {number: signal.signal(number, self._forward) for number in FORWARDED}
        try:
            # With what was opened for it: a shell's <(...), a socket of systemd's. What is opened here stays here.
            self._process = subprocess.Popen(list(command), env=dict(environment), close_fds=False)  # noqa: S603
        except BaseException:
            self.give_back_signals()
            raise
        self.pid = self._process.pid
        for number in self._early:
            self._forward(number, None)

    def _forward(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as handlers are called
        if self._process is None:
            self._early.append(number)
        elif signal.Signals(number).name not in _OF_TERMINAL or not system.is_in_foreground():
            self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end.

        Returns:
            The exit code: 128 and the signal's number if one has ended it.
        """
        assert self._process is not None  # noqa: S101 - it was started
        code = self._process.wait()
        return 128 - code if code < 0 else code

    def give_back_signals(self) -> None:
        """Have signals do what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
