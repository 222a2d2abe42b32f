"""A chat with Starlette, sync: gunicorn -k uvicorn_worker.UvicornWorker -w 2 starlette_app:app."""

import os
from collections.abc import Iterator

from openai import OpenAI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from budgeted import configure
from budgeted.integrations.asgi import BudgetMiddleware

configure(
    project_name="chat",
    max_budget=os.environ.get("BUDGETED_MAX_BUDGET", "$10/day"),
    default_user_limits="$1/day",
    ledger=os.environ.get("BUDGETED_LEDGER"),
)
client = OpenAI()


def chat(request: Request) -> PlainTextResponse:
    return PlainTextResponse("".join(parts(request.query_params["question"])))


def stream(request: Request) -> StreamingResponse:
    return StreamingResponse(parts(request.query_params["question"]), media_type="text/plain")


def parts(question: str) -> Iterator[str]:  # Starlette takes each from a thread, now of this one and then of that
    messages = [{"role": "user", "content": question}]
    for chunk in client.chat.completions.create(
        model="gpt-5-mini", max_completion_tokens=300, messages=messages, stream=True
    ):
        yield chunk.choices[0].delta.content or ""


app = Starlette(
    routes=[Route("/chat", chat), Route("/stream", stream)],
    middleware=[Middleware(BudgetMiddleware, user="x-user")],
)
