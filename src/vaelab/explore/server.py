"""The server of a page: on this machine alone, or behind a token where it is shared; it asks nothing of any network."""

import json
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from vaelab import UsageError
from vaelab.explore.answers import Answers
from vaelab.explore.listening import LOOPBACK
from vaelab.explore.pictures import MOST_UPLOAD, refuse_large

HERE = Path(__file__).parent
ASSETS = {  # they hold nothing of any run
    "report.css": HERE.parent / "report" / "page.css",
    "page.css": HERE / "page.css",
    "page.js": HERE / "page.js",
    "parts.js": HERE / "parts.js",
    "units.js": HERE / "units.js",
}
QUESTIONS = ("state", "line", "units", "show", "plane", "every", "way", "neighbours", "datum")
MOST_QUESTION = 1 << 20  # bytes
GRACE = 1  # seconds that answers have to end in after Ctrl-C
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
TYPES = {"png": "image/png", "gif": "image/gif", "npz": "application/octet-stream"}


def serve(answers: Answers, listening: socket.socket, token: str | None) -> None:
    """Answers until Ctrl-C."""
    settings = uvicorn.Config(
        application(answers, token),
        log_level="error",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=GRACE,
    )
    uvicorn.Server(settings).run(sockets=[listening])


def application(answers: Answers, token: str | None) -> Starlette:
    """The page, its assets and its questions; with a token all but the assets ask for it."""
    turn = Lock()  # several at once would only wait for the same cores

    def guarded(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            given = request.headers.get("x-token") or request.query_params.get("token", "")
            if token is not None and not secrets.compare_digest(given.encode(), token.encode()):
                return _refusal("this page is shared by its whole address, which ends in ?token=...", 403)
            if _is_from_elsewhere(request):
                return _refusal("another page has asked, which this one does not answer", 403)
            try:
                return _with_headers(await answer(request))
            except UsageError as error:
                return _refusal(str(error), 400)
            except (LookupError, OverflowError, RecursionError, TypeError, ValueError):
                return _refusal("the page has asked for nothing that there is: load it again", 400)

        return checked

    async def page(_: Request) -> Response:
        return FileResponse(HERE / "page.html")

    async def asset(request: Request) -> Response:
        return _with_headers(FileResponse(ASSETS[request.url.path[1:]]))

    async def question(request: Request) -> Response:
        ask = getattr(answers, request.url.path[1:])
        asked = _question(await _body(request, MOST_QUESTION))
        return JSONResponse(await run_in_threadpool(_in_turn, turn, ask, asked))

    async def take(request: Request) -> Response:
        name = request.query_params.get("name", "the picture")[:200]
        content = await _body(request, MOST_UPLOAD)
        refuse_large(name, len(content))
        return JSONResponse(await run_in_threadpool(_in_turn, turn, answers.take, name, content))

    async def save(request: Request) -> Response:
        asked = _question(await _body(request, MOST_QUESTION))
        content, name = await run_in_threadpool(_in_turn, turn, answers.save, asked)
        return Response(content, media_type=TYPES[name.rpartition(".")[2]])

    routes = [
        Route("/", guarded(page)),
        *(Route(f"/{name}", asset) for name in ASSETS),
        *(Route(f"/{name}", guarded(question), methods=["POST"]) for name in QUESTIONS),
        Route("/take", guarded(take), methods=["POST"]),
        Route("/save", guarded(save), methods=["POST"]),
    ]
    own = [Middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK))] if token is None else []
    return Starlette(routes=routes, middleware=own)


def _is_from_elsewhere(request: Request) -> bool:
    """Whether a browser says that a page of another origin sends this: it may not read the answer, but could ask."""
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")


def _in_turn(turn: Lock, call: Callable[..., Any], *given: Any) -> Any:
    with turn:
        return call(*given)


async def _body(request: Request, most: int) -> bytes:
    """What was sent, or its beginning with one byte more than is taken; the rest is read and let go."""
    content = bytearray()
    async for part in request.stream():  # to the end, for a browser that is still sending hears no answer
        content += part[: most + 1 - len(content)]
    return bytes(content)


def _question(content: bytes) -> Mapping[str, Any]:
    if len(content) > MOST_QUESTION:
        raise ValueError
    asked = json.loads(content or b"{}")
    if not isinstance(asked, dict):
        raise TypeError
    return asked


def _with_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response


def _refusal(line: str, status: int) -> Response:
    return _with_headers(JSONResponse({"error": line}, status))
