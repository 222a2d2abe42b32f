"""A chat with Litestar: hypercorn -w 2 litestar_app:app."""

import os
from collections.abc import AsyncIterator

from litestar import Litestar, get
from litestar.middleware import DefineMiddleware
from litestar.response import Stream
from openai import AsyncOpenAI

from budgeted import configure
from budgeted.integrations.asgi import BudgetMiddleware

configure(
    project_name="chat",
    max_budget=os.environ.get("BUDGETED_MAX_BUDGET", "$10/day"),
    default_user_limits="$1/day",
    ledger=os.environ.get("BUDGETED_LEDGER"),
)
client = AsyncOpenAI()


@get("/chat")
async def chat(question: str) -> str:
    return "".join([part async for part in parts(question)])


@get("/stream")
async def stream(question: str) -> Stream:
    return Stream(parts(question), media_type="text/plain")


async def parts(question: str) -> AsyncIterator[str]:
    messages = [{"role": "user", "content": question}]
    chunks = await client.chat.completions.create(
        model="gpt-5-mini", max_completion_tokens=300, messages=messages, stream=True
    )
    async for chunk in chunks:
        yield chunk.choices[0].delta.content or ""


app = Litestar([chat, stream], middleware=[DefineMiddleware(BudgetMiddleware, user="x-user")])
