"""What a forked child does and says."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable


def forked(child: Callable[[], object]) -> str:
    """Run something in a forked child, which must end well; returns its answer as text."""
    receiving, sending = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(sending, str(child()).encode())
        except BaseException:  # noqa: BLE001 - whatever it is, it must not go on as a second test run
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0
    return answer
