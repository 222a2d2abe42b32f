"""Where completion calls are intercepted: one small module per SDK, hooked when the SDK is imported.

Under them is a net at the HTTP clients, for what no SDK's hook has metered.

What happens to a call then is in :mod:`budgeted.metering`; what requests and answers look like, in
:mod:`budgeted.wire`.
"""

from __future__ import annotations

from budgeted.providers import (
    aiobotocore,
    anthropic,
    bedrock,
    claude_agent_sdk,
    cohere,
    dspy,
    google_genai,
    google_interactions,
    groq,
    http_clients,
    litellm,
    litellm_refused_functions,
    mistral,
    monkeypatching,
    ollama,
    openai,
    openai_compatible_sdks,
    process_context_propagation,
    thread_context_propagation,
    unmetered_programs,
    what_is_metered,
)
from budgeted.providers.what_is_metered import Instrumented

HOOKS = tuple(
    hook
    for module in (
        *(openai, anthropic, bedrock, aiobotocore, claude_agent_sdk, cohere, dspy),
        *(google_genai, google_interactions, groq),
        *(litellm, litellm_refused_functions, mistral, ollama, openai_compatible_sdks),
        *(thread_context_propagation, process_context_propagation, unmetered_programs, http_clients),
    )
    for hook in module.HOOKS
)


def instrument() -> None:
    """Hook every supported SDK, now or as soon as it is imported. Repeating it does nothing."""
    monkeypatching.install(HOOKS)


def instrumented(*, ahead: bool = False) -> Instrumented:
    """What is hooked here, what could not be, and what nothing meters. Nothing is imported for that.

    Args:
        ahead: also tell what will be missing, from the source of what is not imported yet; that takes a second or two.
    """
    return what_is_metered.instrumented(HOOKS, ahead=ahead)


def uninstrument() -> None:
    """Take the hooks out. Calls in flight are settled; later ones are not metered."""
    monkeypatching.remove(HOOKS)
