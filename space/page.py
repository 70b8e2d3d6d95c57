"""The page: four tabs, what they are made of, and which button does what."""

import gradio as gr

from .endpoints import add_endpoints
from .service.guard import GuardedBlocks
from .ui.about_tab import about_tab
from .ui.history_tab import history_tab
from .ui.identity_tab import identity_tab
from .ui.pair_tab import pair_tab
from .ui.parts import EXAMPLES
from .ui.text import INTRODUCTION, TITLE


def build() -> gr.Blocks:
    """Build the page."""
    gr.set_static_paths([EXAMPLES])  # served from where they lie; gradio would copy them among the visitors' files
    with GuardedBlocks(title=TITLE, analytics_enabled=False) as page:
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
    return page


__all__ = ["build"]
