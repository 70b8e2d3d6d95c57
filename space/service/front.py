"""The head of the page as browsers and shared links see it: gradio's own names gradio, and comes after its scripts."""

import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


_META = re.compile(rb'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>\s*')
_FIRST = b'<meta charset="utf-8" />'
_SCRIPTS = b"<script>"


def put_head(page: bytes, head: str) -> bytes:
    """Put our head into a page in place of what it says about itself for shared links."""
    above, scripts, below = page.partition(_SCRIPTS)
    above = _META.sub(b"", above)
    return above.replace(_FIRST, _FIRST + head.encode(), 1) + scripts + below


class Front:
    """ASGI middleware that puts a head into the page.

    Args:
        app: What answers.
        head: HTML.
    """

    def __init__(self, app: ASGIApp, head: str):
        self.app, self.head = app, head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or scope["method"] != "GET" or path not in ("", "/"):
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        parts: list[bytes] = []

        async def answer(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            parts.append(message.get("body", b""))
            if message.get("more_body") or start is None:
                return
            body = b"".join(parts)
            headers = MutableHeaders(scope=start)
            if headers.get("content-type", "").startswith("text/html"):
                body = put_head(body, self.head)
                headers["content-length"] = str(len(body))
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, answer)


__all__ = ["Front", "put_head"]
