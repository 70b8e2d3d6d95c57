"""The page: four tabs, what they are made of, and which button does what."""

import gradio as gr

from .endpoints import add_endpoints
from .files.results import WRITTEN, FileSet
from .service.session import LIFETIME
from .ui.about_tab import about_tab
from .ui.history_tab import history_tab
from .ui.identity_tab import identity_tab
from .ui.pair_tab import pair_tab
from .ui.text import INTRODUCTION, TITLE


SWEEP = 600  # seconds between two rounds of deleting


def build(lifetime: float = LIFETIME, sweep: float = SWEEP) -> gr.Blocks:
    """Build the page.

    Args:
        lifetime: Seconds after which uploads and results are deleted.
        sweep: Seconds between two rounds of deleting.
    """
    with gr.Blocks(title=TITLE, delete_cache=(sweep, lifetime), analytics_enabled=False) as page:
        key = gr.State(None)  # of the pair that is remembered for this visitor; stays on the server
        gr.Markdown(INTRODUCTION, elem_id="introduction")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Match a pair", id="pair"):
                pair_tab(page, key)
            with gr.Tab("A history", id="history"):
                history_tab()
            with gr.Tab("Same eye?", id="identity"):
                identity_tab()
            with gr.Tab("About", id="about"):
                about_tab()
        add_endpoints(key)
    _watch_files(page)
    return page


def _watch_files(page: gr.Blocks) -> None:
    """Let gradio's deleting see our results as well, and survive files that come while it is at work."""
    page.upload_file_set = FileSet(page.upload_file_set)
    page.temp_file_sets = [page.upload_file_set, WRITTEN]
    for block in page.blocks.values():
        if hasattr(block, "temp_files"):
            block.temp_files = FileSet(block.temp_files)
            page.temp_file_sets.append(block.temp_files)


__all__ = ["build"]
