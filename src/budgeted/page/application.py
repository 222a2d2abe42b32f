"""The page's routes: who looks is known, what is asked is looked up in a thread, and what a form does is done once."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from budgeted.errors import BudgetError, LedgerError
from budgeted.idempotent_requests import AnswersByKey
from budgeted.page import forms
from budgeted.page.answers import html_page, main_of, own_path, problem_page, redirected, rendered, static_file
from budgeted.page.asking import Asked, Done, Drawn, HasEndedError, NotYoursError, Shown
from budgeted.page.guesses import Guesses
from budgeted.page.live_updates import MOST, Streams
from budgeted.page.rendering import render
from budgeted.page.security_headers import DRAWN, HEADERS
from budgeted.page.sessions import SECONDS, Session, Sessions
from budgeted.page.sources import Access, Keys, NotLetInError, PageSource
from budgeted.page.spend_by_hour import EVERY
from budgeted.page.spending import Spending
from budgeted.page.views import OWN, VIEWS, View

logger = logging.getLogger("budgeted")

T = TypeVar("T")

LOGIN, LOGOUT, EVENTS, STATIC = "/page/login", "/page/logout", "/page/events", "/page/static/"

THREADS = 8
"""How many pages are made at once."""

_NAVIGATION = [(path, view.heading) for path, view in VIEWS.items() if view.heading]


def page_routes(
    source: PageSource,
    access: Access,
    *,
    keys: Keys | None = None,
    clock: Callable[[], float] = time.time,
    timer: Callable[[], float] = time.monotonic,
) -> list[Route]:
    """The routes of the page, for an application of Starlette: ``/`` and what begins with ``/page/``.

    Args:
        source: whose budgets are shown.
        access: who may look, and who may change them.
        keys: of the gateway that shows it; None for a server.
        clock: unix seconds.
        timer: seconds that only go forwards.
    """
    page = _Page(source, access, keys, clock, timer)
    return [
        *(Route(path, page.view, methods=["GET", "POST"] if view.act else ["GET"]) for path, view in VIEWS.items()),
        Route(LOGIN, page.login, methods=["GET", "POST"]),
        Route(LOGOUT, page.logout, methods=["POST"]),
        Route(EVENTS, page.events, methods=["GET"]),
        Route(STATIC + "{name}", static_file, methods=["GET"]),
    ]


class _Page:
    def __init__(
        self,
        source: PageSource,
        access: Access,
        keys: Keys | None,
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        self._source, self._access, self._keys = source, access, keys
        self._sessions = Sessions(access, clock)
        self._guesses = Guesses(timer)
        self._streams = Streams()
        self._threads = anyio.CapacityLimiter(THREADS)
        self._answers = AnswersByKey()
        self._spending = Spending(source, timer)
        self._watching: asyncio.Task[None] | None = None

    async def view(self, request: Request) -> Response:
        """What is at one of the views' paths."""
        if (why := self._why_not(request)) is not None:
            return problem_page(403, "Not from here", why)
        session, is_new = self._session(request)
        if session is None:
            where = urlencode({"to": request.url.path + (f"?{request.url.query}" if request.url.query else "")})
            return redirected(f"{LOGIN}?{where}")
        self._keep_watching(request)
        view = VIEWS[request.url.path]
        if session.own and not view.own and request.method != "POST":
            return redirected(OWN)
        answer = await self._answer(request, view, session)
        if is_new:
            self._keep(request, answer, session)
        return answer

    async def login(self, request: Request) -> Response:
        """A token for a session."""
        if (why := self._why_not(request)) is not None:
            return problem_page(403, "Not from here", why)
        to = own_path(request.query_params.get("to", "/"))
        if request.method == "GET":
            return self._login_page(to)
        if forms.is_from_elsewhere(request):
            return problem_page(403, "Not from here", "this form was sent by a page of another site")
        address = request.client.host if request.client else ""
        try:
            form = await forms.read_form(request)
        except ValueError as error:
            return problem_page(400, "This form cannot be read", str(error))
        # Counted before it is looked at: of many at once, none is looked at beyond the most.
        if not self._guesses.may_guess(address):
            return self._login_page(to, "Too many tokens of your address were wrong: wait a minute.", 429)
        token = form.get("token", "").strip() or None
        try:
            session = await self._run(lambda: self._sessions.begin(token), of_all=False)
        except NotLetInError as error:
            return self._login_page(to, str(error), 401)
        if isinstance(session, Response):
            return session
        self._guesses.was_right(address, forget=session.role == "write")
        answer = redirected(to)
        self._keep(request, answer, session)
        return answer

    async def logout(self, request: Request) -> Response:
        """The end of a session."""
        session, _ = self._session(request)
        try:
            form = await forms.read_form(request)
        except ValueError as error:
            return problem_page(400, "This form cannot be read", str(error))
        if session is not None and not self._is_ours(request, session, form):
            return problem_page(403, "Not from here", "this form is none of this session's: load the page anew")
        if session is not None:
            self._sessions.end(session)
        answer = redirected(LOGIN)
        answer.delete_cookie(_cookie(request), path="/")
        return answer

    async def events(self, request: Request) -> Response:
        """A view, whenever it has changed."""
        session, is_new = self._session(request)
        target = urlsplit(request.query_params.get("at", "/"))
        view = VIEWS.get(target.path)
        if session is None or self._why_not(request) is not None or view is None or view.show is None:
            return Response(status_code=204)  # for which a browser asks no more
        if request.method == "HEAD":
            return Response(headers=dict(HEADERS), media_type="text/event-stream")  # there is nothing to wait for
        if session.key and await self._run(lambda: self._access.still(session.key), of_all=False) is not True:
            return Response(status_code=204)
        if self._streams.open >= MOST:
            return Response(status_code=503, headers={"retry-after": "10"})
        query = dict(parse_qsl(target.query, keep_blank_values=True))

        async def look() -> str | None:
            found = await self._run(lambda: self._shown(view, target.path, query, session, ""))
            return None if isinstance(found, (Response, Drawn)) else main_of(found[0])

        headers = {**HEADERS, "x-accel-buffering": "no"}
        events = self._streams.events(look, _ends(request))
        answer = StreamingResponse(events, headers=headers, media_type="text/event-stream")
        if is_new:  # a server without tokens was started anew, and has forgotten the session
            self._keep(request, answer, session)
        return answer

    # -- what is asked

    async def _answer(self, request: Request, view: View, session: Session) -> Response:
        if request.method == "POST":
            return await self._answer_form(request, view, session)
        if view.show is None:
            return redirected("/")
        path, query = request.url.path, dict(request.query_params)
        told = self._sessions.read("told", request.cookies.get(_cookie(request, "told"))) or b""
        of_all = not session.own
        show = functools.partial(self._shown, view, path, query, session, told.decode("utf-8", "replace"))
        found = await self._run(show, of_all=of_all)
        if isinstance(found, Response):
            return found
        if isinstance(found, Drawn):
            return Response(found.data, headers=dict(DRAWN), media_type=found.media_type)
        answer = html_page(*found)
        if told:
            answer.delete_cookie(_cookie(request, "told"), path="/")
        return answer

    async def _answer_form(self, request: Request, view: View, session: Session) -> Response:
        path, query = request.url.path, dict(request.query_params)
        try:
            form = await forms.read_form(request)
        except ValueError as error:
            return problem_page(400, "This form cannot be read", str(error))
        if not self._is_ours(request, session, form):
            return problem_page(
                403, "Not from here", "this form is none of this session's: load the page anew and try again"
            )
        if session.role != "write":
            return problem_page(403, "You may only look", "this session's token may only read")
        done = await self._run(lambda: self._done(view, path, query, form, session))
        if isinstance(done, Done):
            answer = redirected(done.where)
            self._set_cookie(request, answer, "told", self._sessions.signed("told", done.told.encode()), 60)
            return answer
        return done if isinstance(done, Response) else html_page(*done)

    async def _run(self, work: Callable[[], T], *, of_all: bool = True) -> T | Response:
        """Work in a thread; an answer in place of what goes wrong.

        Args:
            work: what is done.
            of_all: whether who asks may see everything, and so where the ledger is.
        """
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._threads)
        except NotLetInError:
            raise
        except HasEndedError:
            return redirected(LOGIN)
        except NotYoursError as error:
            return problem_page(403, "Not yours to see", str(error))
        except LedgerError as error:
            text = str(error) if of_all else "It is away or damaged: try again later."
            return problem_page(503, "The ledger is away", text)
        except (BudgetError, ValueError, TypeError, OverflowError) as error:
            return problem_page(422, "That cannot be done", str(error))

    @contextlib.contextmanager
    def _asked(
        self,
        view: View,
        path: str,
        query: Mapping[str, str],
        form: Mapping[str, str],
        session: Session,
        *,
        changes: bool = False,
    ) -> Iterator[Asked]:
        """What a view is asked, with its project's budgets open.

        Raises:
            HasEndedError: the session has, before its time.
            NotYoursError: it shows one user alone, and this is of somebody else.
        """
        if self._sessions.has_ended(session) or (session.key and not self._access.still(session.key)):
            raise HasEndedError
        if session.own:
            if not view.own or query.get("name", session.own) != session.own:
                msg = f"this session shows what is {session.own}'s alone"
                raise NotYoursError(msg)
            query = {**query, "name": session.own}
        projects = self._source.projects()
        project = self._project({**query, **form}, projects)
        with self._source.books(project, changes=changes) as books:
            yield Asked(
                path=path,
                project=project,
                projects=projects,
                books=books,
                spending=self._spending,
                role=session.role,
                keys=self._keys,
                own=session.own,
                query=query,
                form=form,
            )

    def _shown(
        self, view: View, path: str, query: Mapping[str, str], session: Session, told: str
    ) -> tuple[str, int] | Drawn:
        """A view as HTML, and its status; or a picture."""
        assert view.show is not None  # noqa: S101 - it was asked for
        with self._asked(view, path, query, {}, session) as asked:
            self._spending.watch(asked.project)
            shown = view.show(asked)
            return shown if isinstance(shown, Drawn) else self._rendered(shown, asked, session, told)

    def _done(
        self, view: View, path: str, query: Mapping[str, str], form: Mapping[str, str], session: Session
    ) -> Done | tuple[str, int]:
        """What a form has done, or the page with what it asks before."""
        assert view.act is not None  # noqa: S101 - it is routed so
        act = view.act
        with self._asked(view, path, query, form, session, changes=True) as asked:

            def work() -> Done:
                done = act(asked)
                if isinstance(done, Shown):
                    raise _Question(done)
                if done.audit is not None:
                    logger.warning(
                        "budgeted: by the page, %s, in %r: %s", self._who(session), asked.project, done.audit
                    )
                return done

            try:
                once = form.get("once")
                # A form that is sent twice, by a second click or a page that is loaded anew, is done once.
                key = session.nonce, path, asked.project, once or ""
                return cast("Done", self._answers.once(key, work, again=False)) if once else work()
            except _Question as question:
                return self._rendered(question.shown, asked, session, "")

    def _who(self, session: Session) -> str:
        """Who does something, for the log: sessions are told apart, and nothing in it opens one."""
        number = hashlib.sha256(session.nonce.encode()).hexdigest()[:8]
        return f"session {number} {'without a token' if self._access.open else 'with a token that may write'}"

    def _rendered(self, shown: Shown, asked: Asked, session: Session, told: str) -> tuple[str, int]:
        data = {
            **shown.data,
            "title": shown.title,
            "asked": asked,
            "may_write": session.role == "write",
            "is_open": self._access.open,
            "form_token": self._sessions.form_token(session),
            "told": told,
            "navigation": [(OWN, "Your budget")] if session.own else _NAVIGATION,
        }
        return render(shown.template, data), shown.status

    def _project(self, query: Mapping[str, str], projects: Sequence[str]) -> str:
        """The project that is asked for, or else the usual one, or the first."""
        if named := query.get("project"):
            return named
        return "default" if "default" in projects or not projects else projects[0]

    def _keep_watching(self, request: Request) -> None:
        """Have what is spent per hour be looked at while nobody looks at the page, for as long as the server runs."""
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._watch(_ends(request)))

    async def _watch(self, ends: Callable[[], bool]) -> None:
        while True:
            await asyncio.sleep(EVERY)
            if ends():
                return
            self._spending.look_again()

    # -- who asks

    def _login_page(self, to: str, problem: str = "", status: int = 200) -> Response:
        data = {"to": to, "problem": problem, "takes_keys": self._access.takes_keys}
        return rendered("login.html", "Log in", data, status)

    def _why_not(self, request: Request) -> str | None:
        return self._access.why_not(request.scope.get("server"), request.scope["headers"])

    def _session(self, request: Request) -> tuple[Session | None, bool]:
        """The session of who asks, and whether it begins with this."""
        found = self._sessions.of_cookie(request.cookies.get(_cookie(request)))
        if found is None and self._access.open:
            return self._sessions.begin(None), True
        return found, False

    def _is_ours(self, request: Request, session: Session, form: Mapping[str, str]) -> bool:
        return not forms.is_from_elsewhere(request) and self._sessions.is_of(session, form.get("form_token", ""))

    def _keep(self, request: Request, answer: Response, session: Session) -> None:
        self._set_cookie(request, answer, "session", self._sessions.cookie(session), SECONDS)

    def _set_cookie(self, request: Request, answer: Response, what: str, value: str, seconds: int) -> None:
        answer.set_cookie(
            _cookie(request, what),
            value,
            max_age=seconds,
            path="/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )


class _Question(Exception):  # noqa: N818 - it is no error
    """Nothing was done yet: something is asked before, each time anew."""

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self.shown = shown


def _ends(request: Request) -> Callable[[], bool]:
    """Whether the server ends that a request has come to."""
    ends: Callable[[], bool] = request.scope.get("state", {}).get("is_ending", bool)
    return ends


def _cookie(request: Request, what: str = "session") -> str:
    """The name of a cookie: with the port, which browsers do not tell servers apart by."""
    return f"budgeted_{what}_{request.url.port or 0}"
