"""What is let in: requests to the routes that this page uses, under its own name, while there is room for files."""

import json
import logging
import re
import traceback
from collections.abc import Callable, Iterable

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..files.sweep import ROOM, NoRoomError


log = logging.getLogger(__name__)
# Everything else that gradio serves (recordings that stay, links that are stored, monitoring, run history, ...) is not.
_API = r"(?:/gradio_api)?"
ROUTES = {
    "GET": re.compile(
        rf"/|/favicon\.ico|/robots\.txt|/theme\.css|/config/?|/(?:assets|static|svelte)/.*|{_API}/(?:"
        r"info|openapi\.json|app_id|startup-events|theme\.css|login_check|user|config|upload_progress|queue/data|"
        r"queue/status|heartbeat/[\w-]+|(?:file=|file/|assets/|static/).*|call/(?:v2/)?[\w-]+/[\w-]+|mcp.*)/?"
    ),
    "POST": re.compile(rf"{_API}/(?:upload|queue/join|cancel|reset|(?:call|call/v2|run|api)/[\w-]+|mcp.*)/?"),
    "DELETE": re.compile(rf"{_API}/mcp.*"),
}
ROUTES["HEAD"] = ROUTES["OPTIONS"] = ROUTES["GET"]
UPLOAD, MCP = re.compile(rf"{_API}/upload/?"), re.compile(rf"{_API}/mcp.*")
_NAME = re.compile(r"(\[[0-9a-fA-F:]+\]|[\w.-]+)(?::\d{1,5})?")
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Gate:
    """ASGI middleware around the page.

    Args:
        app: What answers.
        names: Names of this computer under which it may be asked, beside the local ones and the address at which a
            request came in; "*" for any.
        folder: Says where files of visitors lie.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str] = (), folder: Callable[[], str] = str):
        self.app, self.folder = app, folder
        self.names = {name.lower() for name in (*LOCAL_NAMES, *names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope) or await self._no_room(scope)
        if refusal is not None:
            await refuse(send, *refusal)
            return
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message)["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except Exception as error:
            _note(error)
            if not begun:
                await refuse(send, 500, "The request failed on our side; please try again.")

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        route = ROUTES.get(scope["method"])
        if route is None or not route.fullmatch(own_path(scope)):
            return 404, "There is nothing at this address."
        headers = MutableHeaders(scope=scope)
        if not self._is_mine(headers.get("host", ""), scope):
            return 421, "This page does not answer under this name; whoever runs it can add one: --name NAME."
        if not self._is_mine(headers.get("x-forwarded-host", ""), scope):
            del headers["x-forwarded-host"]
        return None

    async def _no_room(self, scope: Scope) -> tuple[int, str] | None:
        if scope["method"] == "POST" and UPLOAD.fullmatch(own_path(scope)):
            try:
                await run_in_threadpool(ROOM.check, self.folder())  # it walks over all files
            except NoRoomError as error:
                return 507, str(error)
        return None

    def _is_mine(self, name: str, scope: Scope) -> bool:
        if not name or "*" in self.names:
            return True
        found = _NAME.fullmatch(name)
        own = scope.get("server") or ("",)
        return bool(found) and found[1].lower() in {*self.names, str(own[0]).lower(), f"[{own[0]}]".lower()}


def own_path(scope: Scope) -> str:
    """Return the path of a request below the root of the page."""
    return scope["path"].removeprefix(scope.get("root_path", "")) or "/"


def _note(error: Exception) -> None:
    """Note an error, unless it only says that the visitor has left; without its message, which may name a file."""
    if type(error).__name__ in ("ClientDisconnect", "EndOfStream", "ClosedResourceError", "BrokenResourceError"):
        return
    log.error("A request failed with %s:\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))


async def refuse(send: Send, status: int, sentence: str) -> None:
    """Answer with a sentence."""
    body = json.dumps({"error": sentence, "detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})


__all__ = ["LOCAL_NAMES", "MCP", "ROUTES", "UPLOAD", "Gate", "own_path", "refuse"]
