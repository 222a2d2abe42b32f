"""LiteLLM's proxy on exact budgets: its config names ``budgeted.integrations.litellm_proxy.handler``.

```yaml
litellm_settings:
  callbacks: budgeted.integrations.litellm_proxy.handler
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from budgeted.integrations.litellm_proxy.hooks import Handler

    handler: Handler


def __getattr__(name: str) -> object:
    """Make the handler when it is asked for: importing this module opens no ledger."""
    if name == "handler":
        from budgeted.integrations.litellm_proxy.the_handler import the_handler

        return the_handler()
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
