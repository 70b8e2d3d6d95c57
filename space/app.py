"""Start the page: `python -m space.app`, or on Hugging Face Spaces this file by itself.

Nothing is asked of the network: models and examples travel with the code.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated


os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from space.files.sweep import Sweeper, all_runs, run_folder, sweep


if not os.environ.get("GRADIO_TEMP_DIR"):
    os.environ["GRADIO_TEMP_DIR"] = run_folder()

import gradio as gr
import typer
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from retinamatch.memory import use_one_arena
from space.files.uploads import MOST_BYTES, take
from space.page import build
from space.service.body_limit import BodyLimit
from space.service.ending import end_on_signals
from space.service.front import Front
from space.service.gate import Gate
from space.service.gradio_limits import limit_gradio
from space.service.handlers import register_pair
from space.service.models import load_all, model_names
from space.service.session import LIFETIME
from space.service.work import Choices
from space.ui.head import head, theme
from space.ui.parts import EXAMPLES, STYLE


QUEUE = 40  # visitors that may wait; one more is asked to come back later
SESSIONS = 400  # visitors of whom something is kept in memory; the one who has been away longest goes first
SWEEP = 300.0  # seconds between two rounds of deleting


def warm_up() -> None:
    """Load every model, and register an example: from then on the page can say how long a pair takes."""
    load_all()
    pair = (take(str(EXAMPLES / f"{name}.jpg")) for name in ("visit_2", "visit_1"))
    for _ in register_pair(*pair, model_names()[0], Choices()):
        pass


def launch(
    page: gr.Blocks,
    host: str | None = None,
    port: int | None = None,
    lifetime: float = LIFETIME,
    every: float = SWEEP,
    names: Sequence[str] = (),
    **options,
):
    """Serve the page with the limits that this project promises.

    Args:
        page: From `build`.
        host: Address to listen at; gradio's own choice when None.
        port: The same.
        lifetime: Seconds after which uploads and results are deleted.
        every: Seconds between two rounds of deleting.
        names: Under which the page may be asked, beside the address of this computer.
        **options: For gradio's `launch`.
    """
    # /reestimate needs a session, which agents do not have; README.md says so.
    warnings.filterwarnings("ignore", message="This MCP server includes a tool that has a gr.State input")
    limit_gradio()
    around = [Middleware(Gate, names, get_upload_folder), Middleware(BodyLimit), Middleware(Front, head())]
    Sweeper(all_runs(get_upload_folder()), lifetime, every).start()
    return page.queue(max_size=QUEUE, default_concurrency_limit=4).launch(
        server_name=host,
        server_port=port,
        max_file_size=MOST_BYTES,
        allowed_paths=[],
        app_kwargs={"middleware": around},
        state_session_capacity=SESSIONS,
        show_error=False,
        ssr_mode=False,
        run_history=False,
        mcp_server=_has_mcp(),
        theme=theme(),
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
    name: Annotated[
        list[str] | None, typer.Option(help="Name under which the page may be asked, again for more; * for any.")
    ] = None,
) -> None:
    """Serve the page."""
    names = [*(name or []), *filter(None, os.environ.get("SPACE_HOST", "").split(",")), *([host] if host else [])]
    ended = end_on_signals()
    use_one_arena()
    try:
        warm_up()
        launch(build(), host, port, names=names, prevent_thread_lock=True)
        ended.wait()
    except KeyboardInterrupt:
        pass
    finally:
        gr.close_all(verbose=False)
        sweep(Path(get_upload_folder()), 0)


if __name__ == "__main__":
    app()
