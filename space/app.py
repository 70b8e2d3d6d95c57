"""Start the page: `python -m space.app`, or on Hugging Face Spaces this file by itself.

Nothing is asked of the network: models and examples travel with the code.
"""

import os
import warnings
from typing import Annotated


os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr
import typer
from starlette.middleware import Middleware

from space.files.body_limit import BodyLimit
from space.files.uploads import MOST_BYTES, take
from space.page import build
from space.service.handlers import register_pair
from space.service.models import load_all, model_names
from space.service.work import Choices
from space.ui.parts import EXAMPLES, STYLE


QUEUE = 40  # visitors that may wait; one more is asked to come back later


def warm_up() -> None:
    """Load every model, and register an example: from then on the page can say how long a pair takes."""
    load_all()
    pair = (take(str(EXAMPLES / f"{name}.jpg")) for name in ("visit_2", "visit_1"))
    for _ in register_pair(*pair, model_names()[0], Choices()):
        pass


def launch(page: gr.Blocks, host: str | None = None, port: int | None = None, **options):
    """Serve the page with the limits that this project promises.

    Args:
        page: From `build`.
        host: Address to listen at; gradio's own choice when None.
        port: The same.
        **options: For gradio's `launch`.
    """
    # /reestimate needs a session, which agents do not have; README.md says so.
    warnings.filterwarnings("ignore", message="This MCP server includes a tool that has a gr.State input")
    return page.queue(max_size=QUEUE, default_concurrency_limit=4).launch(
        server_name=host,
        server_port=port,
        max_file_size=MOST_BYTES,
        allowed_paths=[],
        app_kwargs={"middleware": [Middleware(BodyLimit)]},
        show_error=False,
        ssr_mode=False,
        run_history=False,
        mcp_server=_has_mcp(),
        theme=gr.themes.Default(primary_hue="blue"),
        css_paths=STYLE,
        footer_links=["api", "settings"],
        **options,
    )


def _has_mcp() -> bool:
    try:
        import mcp  # noqa: F401
    except ImportError:
        return False
    return True


app = typer.Typer(add_completion=False)


@app.command()
def main(
    host: Annotated[str | None, typer.Option(help="Address to listen at.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen at; 7860 or the next free one.")] = None,
) -> None:
    """Serve the page."""
    warm_up()
    launch(build(), host, port)


if __name__ == "__main__":
    app()
