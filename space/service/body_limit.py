"""No request may be larger than what people can hand in: gradio itself limits files, and nothing else."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..files.uploads import MOST_BYTES
from .gate import refuse


UPLOAD = "/upload"  # gradio's own limit holds for each file there
MOST_FILES = 20  # of one upload: a long history
# Two photographs as `data:` URLs, a third larger than their files, and some words.
MOST_CALL = 2 * MOST_BYTES * 4 // 3 + 1_000_000


class BodyLimit:
    """ASGI middleware that answers a request with too large a body with one sentence, before it is in memory.

    Args:
        app: What answers the others.
        most_call: Largest body in bytes.
        most_upload: Largest body of an upload, which goes to disk.
    """

    def __init__(self, app: ASGIApp, most_call: int = MOST_CALL, most_upload: int = MOST_FILES * MOST_BYTES):
        self.app, self.most_call, self.most_upload = app, most_call, most_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self.most_upload if scope["path"].endswith(UPLOAD) else self.most_call
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > most:
            await refuse(send, 413, _sentence(most))
            return
        received, begun, refused = 0, False, False

        async def counted() -> Message:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                # Whoever reads on sees a visitor who has left.
                refused = True
                return {"type": "http.disconnect"}
            return message

        async def answer(message: Message) -> None:
            nonlocal begun
            if not refused:
                begun = True
                await send(message)

        try:
            await self.app(scope, counted, answer)
        except Exception:
            if not refused:
                raise
        if refused and not begun:
            await refuse(send, 413, _sentence(most))


def _sentence(most: int) -> str:
    return f"The request is too large; at most {most / 1e6:.0f} MB are taken."


__all__ = ["MOST_CALL", "BodyLimit"]
