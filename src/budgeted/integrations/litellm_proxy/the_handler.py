"""The one handler of a process: made when LiteLLM's proxy reads its config, which else does not start."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from budgeted import api
from budgeted.integrations.litellm_proxy import supported_versions
from budgeted.manager.stated_settings import stated
from budgeted.payers.scope import by_default

if TYPE_CHECKING:
    from budgeted.integrations.litellm_proxy.hooks import Handler

_lock = threading.Lock()
_made: list[Handler] = []


def the_handler() -> Handler:
    """The handler, which pays by the default manager: as the settings file and ``BUDGETED_*`` variables state it.

    Raises:
        UnsupportedLiteLLMError: this version of LiteLLM has other hooks than those that the handler knows.
        ValueError, TypeError: a setting makes no sense; the text quotes it.
        LedgerError: the ledger cannot be opened.
    """
    with _lock:
        if not _made:
            supported_versions.check()
            from budgeted.integrations.litellm_proxy.hooks import Handler

            if by_default or stated().says_anything:
                api.get_manager()
            else:
                api.configure()  # of which nothing is said: in this host's ledger, and not in memory
            supported_versions.check_metered()
            _made.append(Handler())
        return _made[0]
