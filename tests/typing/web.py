"""Middleware as applications write it, for type checkers: nothing here runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated
from wsgiref.types import StartResponse, WSGIEnvironment

from fastapi import Depends, FastAPI
from flask import Flask
from litestar import Litestar
from litestar.middleware import DefineMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware

from budgeted.integrations import wsgi
from budgeted.integrations.asgi import BudgetMiddleware, Scope
from budgeted.integrations.fastapi import answer_refusals, payer
from budgeted.integrations.flask import init_app


def wsgi_application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return []


async def user_of(scope: Scope) -> str | None:
    return str(scope["path"])


app = FastAPI()
app.add_middleware(BudgetMiddleware, user="x-user", cap=0.50)
answer_refusals(app, status=503, headers=True)
starlette = Starlette(middleware=[Middleware(BudgetMiddleware, user=user_of)])
around = BudgetMiddleware(starlette, user="x-user")
again = BudgetMiddleware(around, user=user_of, headers=True)
application = wsgi.BudgetMiddleware(wsgi.BudgetMiddleware(wsgi_application, user="x-user"), user="x-user")
flask = Flask(__name__)
init_app(flask, user="x-user", status=503)
litestar = BudgetMiddleware(Litestar(), user="x-user")
defined = DefineMiddleware(BudgetMiddleware, user="x-user")


@app.get("/")
def endpoint(user: Annotated[str, Depends(payer("x-user"))]) -> str:
    return user
