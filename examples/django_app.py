"""A chat with Django, in one file: gunicorn -w 2 django_app:wsgi, or uvicorn django_app:asgi."""

import os
from collections.abc import Iterator

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from openai import OpenAI

from budgeted import configure

configure(
    project_name="chat",
    max_budget=os.environ.get("BUDGETED_MAX_BUDGET", "$10/day"),
    default_user_limits="$1/day",
    ledger=os.environ.get("BUDGETED_LEDGER"),
)
client = OpenAI()
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["budgeted.integrations.django.BudgetMiddleware"],
    BUDGETED={"user": "x-user"},
)


def chat(request: HttpRequest) -> HttpResponse:
    return HttpResponse("".join(parts(request.GET["question"])))


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(parts(request.GET["question"]), content_type="text/plain")


def parts(question: str) -> Iterator[str]:
    messages = [{"role": "user", "content": question}]
    for chunk in client.chat.completions.create(
        model="gpt-5-mini", max_completion_tokens=300, messages=messages, stream=True
    ):
        yield chunk.choices[0].delta.content or ""


urlpatterns = [path("chat", chat), path("stream", stream)]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
