"""A chat with Flask: gunicorn -k gthread -w 2 --threads 8 --preload flask_app:app."""

import os
from collections.abc import Iterator

from flask import Flask, Response, request
from openai import OpenAI

from budgeted import configure
from budgeted.integrations.flask import init_app

configure(
    project_name="chat",
    max_budget=os.environ.get("BUDGETED_MAX_BUDGET", "$10/day"),
    default_user_limits="$1/day",
    ledger=os.environ.get("BUDGETED_LEDGER"),
)
client = OpenAI()
app = Flask(__name__)
init_app(app, user="x-user")


@app.get("/chat")
def chat() -> str:
    return "".join(parts(request.args["question"]))


@app.get("/stream")
def stream() -> Response:
    return Response(parts(request.args["question"]), mimetype="text/plain")


def parts(question: str) -> Iterator[str]:
    messages = [{"role": "user", "content": question}]
    for chunk in client.chat.completions.create(
        model="gpt-5-mini", max_completion_tokens=300, messages=messages, stream=True
    ):
        yield chunk.choices[0].delta.content or ""
