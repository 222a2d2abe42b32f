"""A chat with FastAPI, whose users pay: uvicorn fastapi_app:app --workers 2."""

import os
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
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
app = FastAPI()
app.add_middleware(BudgetMiddleware, user="x-user", headers=True)


@app.get("/chat")
async def chat(question: str) -> str | None:
    messages = [{"role": "user", "content": question}]
    answer = await client.chat.completions.create(model="gpt-5-mini", max_completion_tokens=300, messages=messages)
    return answer.choices[0].message.content


@app.get("/stream")
async def stream(question: str) -> StreamingResponse:
    return StreamingResponse(parts(question), media_type="text/plain")


async def parts(question: str) -> AsyncIterator[str]:
    messages = [{"role": "user", "content": question}]
    chunks = await client.chat.completions.create(
        model="gpt-5-mini", max_completion_tokens=300, messages=messages, stream=True
    )
    async for chunk in chunks:
        yield chunk.choices[0].delta.content or ""
