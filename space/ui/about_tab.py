"""The tab that says what this is."""

import gradio as gr

from .text import ABOUT


def about_tab() -> None:
    """Fill the tab."""
    gr.Markdown(ABOUT, elem_id="about-text")


__all__ = ["about_tab"]
