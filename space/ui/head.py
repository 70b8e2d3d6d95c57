"""What the page is like as a whole: colors that can be read, its script, and what a shared link shows."""

import os
from html import escape

import gradio as gr

from ..files.uploads import MOST_BYTES, MOST_FILES
from .parts import EXAMPLES, SPACE
from .text import TITLE


SCRIPT = SPACE / "page.js"
DESCRIPTION = (
    "Two photographs of one retina, brought onto each other to the pixel, or the honest answer that there is no "
    "reliable match. Not a medical device."
)


def theme() -> gr.themes.Base:
    """Make the colors: every text has a contrast of 4.5 at least."""
    quiet, quiet_dark, strong = "#4b5563", "#c9ced8", "#1d4ed8"
    return gr.themes.Default(primary_hue="blue").set(
        body_text_color_subdued=quiet,
        body_text_color_subdued_dark=quiet_dark,
        block_label_text_color=quiet,
        block_label_text_color_dark=quiet_dark,
        block_info_text_color=quiet,
        block_info_text_color_dark=quiet_dark,
        block_title_text_color=quiet,
        block_title_text_color_dark=quiet_dark,
        color_accent=strong,
        button_primary_background_fill=strong,
        button_primary_background_fill_dark=strong,
        button_primary_background_fill_hover="#1e40af",
        button_primary_background_fill_hover_dark="#1e40af",
        link_text_color=strong,
        link_text_color_dark="#9cc2ff",
    )


def head() -> str:
    """Write what goes into the head of the page."""
    host = os.environ.get("SPACE_HOST", "").split(",")[0]
    picture = f"{f'https://{host}/' if host else ''}gradio_api/file={EXAMPLES / 'visit_1.jpg'}"
    shared = {"title": TITLE, "description": DESCRIPTION, "image": picture}
    metas = '<meta property="og:type" content="website"><meta name="twitter:card" content="summary_large_image">'
    for name, words in shared.items():
        metas += f'<meta property="og:{name}" content="{escape(words)}">'
        metas += f'<meta name="twitter:{name}" content="{escape(words)}">'
    metas += f'<meta name="description" content="{escape(DESCRIPTION)}">'
    script = SCRIPT.read_text(encoding="utf-8")
    limits = f"window.rmMostBytes = {MOST_BYTES}; window.rmMostFiles = {MOST_FILES};"
    return f"{metas}<script>{limits}</script><script>{script}</script>"


__all__ = ["DESCRIPTION", "head", "theme"]
