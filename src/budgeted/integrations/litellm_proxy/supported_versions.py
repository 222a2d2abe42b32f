"""Whether the LiteLLM that is installed calls what the handler answers to: one that does not is refused at the start.

LiteLLM calls its hooks by the names of their parameters, and goes on where that raises: a parameter of another name
would let every call pass.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from importlib import metadata

from budgeted import providers
from budgeted.validation import shown

TRIED = "1.108 to 1.110"
"""The versions of LiteLLM that this was tried with."""

PATIENCE = 10.0
"""Seconds that another thread may take to import what is hooked."""

_HOOKS = {
    "async_pre_call_hook": ("user_api_key_dict", "cache", "data", "call_type"),
    "async_post_call_failure_hook": ("request_data", "original_exception", "user_api_key_dict", "traceback_str"),
    "async_log_success_event": ("kwargs", "response_obj", "start_time", "end_time"),
}
"""The hooks that the handler has, by the names of their parameters."""

_CALLED_BY = {
    "pre_call_hook": ("user_api_key_dict", "data", "call_type"),
    "post_call_failure_hook": ("request_data", "original_exception", "user_api_key_dict"),
}
"""What of the proxy's ``ProxyLogging`` calls them, and what it has to be given at the least."""


class UnsupportedLiteLLMError(RuntimeError):
    """This version of LiteLLM has other hooks than those that the handler knows: its calls could not be limited."""


def check() -> None:
    """Look whether LiteLLM's hooks have the names and parameters that the handler has.

    Raises:
        UnsupportedLiteLLMError: they have not, or LiteLLM's proxy is not installed.
    """
    try:
        from litellm.integrations.custom_logger import CustomLogger
        from litellm.proxy.utils import ProxyLogging
    except ImportError as error:
        raise _unsupported(f"its proxy cannot be imported ({error}); install litellm[proxy]") from error
    for name, wanted in _HOOKS.items():
        hook = getattr(CustomLogger, name, None)
        if hook is None:
            raise _unsupported(f"CustomLogger.{name} is not there")
        if _parameters(hook) != wanted:
            raise _unsupported(f"CustomLogger.{name} takes {shown(_parameters(hook))}, and not {wanted}")
        if not inspect.iscoroutinefunction(hook):
            raise _unsupported(f"CustomLogger.{name} is no coroutine function")
    for name, needed in _CALLED_BY.items():
        caller = getattr(ProxyLogging, name, None)
        if caller is None or not set(needed) <= set(_parameters(caller)):
            raise _unsupported(f"ProxyLogging.{name}, which calls the hooks, is not there or takes other parameters")


def check_metered() -> None:
    """Look whether LiteLLM's own functions are hooked, which send what the proxy was asked for.

    Raises:
        UnsupportedLiteLLMError: some are not there to be hooked.
    """
    patience = time.monotonic() + PATIENCE
    while (missing := _missing()) and time.monotonic() < patience:
        time.sleep(0.05)  # another thread may just be importing what is hooked
    if missing:
        raise _unsupported(f"its functions cannot be hooked: {missing}")


def _missing() -> str:
    """What of LiteLLM should be hooked and is not; "" if nothing."""
    packages = providers.instrumented().packages
    return next((one.state for one in packages if one.package == "litellm" and not one.metered), "")


def _parameters(function: Callable[..., object]) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(function).parameters if name != "self")


def _unsupported(why: str) -> UnsupportedLiteLLMError:
    try:
        version = metadata.version("litellm")
    except metadata.PackageNotFoundError:
        version = "?"
    return UnsupportedLiteLLMError(
        f"budgeted.integrations.litellm_proxy does not know LiteLLM {version}: {why}. Nothing would be limited, so the "
        f"proxy is not started. It was tried with LiteLLM {TRIED}: install one of these, or a newer budgeted"
    )
