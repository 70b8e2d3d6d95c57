"""No request may be larger, or made of more parts, than what people can hand in: gradio itself limits files alone."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..files.uploads import MOST_BYTES, MOST_FILES
from .gate import MCP, UPLOAD, own_path, refuse


MOST_UPLOAD = MOST_FILES * MOST_BYTES  # goes to disk; gradio's own limit holds for each file
# Agents hand over two photographs as `data:` URLs, a third larger than their files, and some words.
MOST_MCP = 2 * MOST_BYTES * 4 // 3 + 1_000_000
MOST_CALL = 1_000_000  # of everything else, where files are named
# Lists, objects and their members in JSON: Python keeps some hundred bytes for each, however short it is.
MOST_PARTS = 20_000
_BEGINS_PART = (b"[", b"{", b",")


class BodyLimit:
    """ASGI middleware that answers a request with too large a body with one sentence, before it is in memory.

    Args:
        app: What answers the others.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = own_path(scope)
        upload = UPLOAD.fullmatch(path)
        most = MOST_UPLOAD if upload else MOST_MCP if MCP.fullmatch(path) else MOST_CALL
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > most:
            await refuse(send, 413, _too_large(most))
            return
        received, parts, begun, refusal = 0, 0, False, ""

        async def counted() -> Message:
            nonlocal received, parts, refusal
            message = await receive()
            body = message.get("body", b"")
            received += len(body)
            parts += 0 if upload else sum(map(body.count, _BEGINS_PART))
            if received > most:
                refusal = _too_large(most)
            elif parts > MOST_PARTS:
                refusal = f"The request is made of too many parts; at most {MOST_PARTS:,} are taken."
            # Whoever reads on sees a visitor who has left.
            return {"type": "http.disconnect"} if refusal else message

        async def answer(message: Message) -> None:
            nonlocal begun
            if not refusal:
                begun = True
                await send(message)

        try:
            await self.app(scope, counted, answer)
        except Exception:
            if not refusal:
                raise
        if refusal and not begun:
            await refuse(send, 413, refusal)


def _too_large(most: int) -> str:
    return f"The request is too large; at most {most / 1e6:.0f} MB are taken."


__all__ = ["MOST_CALL", "MOST_MCP", "MOST_PARTS", "MOST_UPLOAD", "BodyLimit"]
