"""Pictures of a result to look at, one view at a time, with zoom and full screen; `page.js` moves them.

gradio's own ImageSlider cannot do this: no key moves its line, it says nothing to screen readers, and its zoom and
place do not hold for the other views.
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from ..files.results import address
from ..service.pictures import SECONDS_A_FRAME
from .html import nothing_html


WIPE, TURN, STILL = "wipe", "turn", "still"


@dataclass(frozen=True)
class View:
    """One way to look at a result.

    Attributes:
        title: A word or two.
        words: What is to be seen, in a sentence.
        pictures: Files with what each shows, in words; two for `WIPE`, the lower one first.
        kind: `WIPE`: a line that can be moved parts two pictures; `TURN`: they are shown in turn; `STILL`: one picture.
        field: Views with the same one show the same place: they share zoom and place.
    """

    title: str
    words: str
    pictures: list[tuple[Path, str]]
    kind: str = STILL
    field: str = "fixed"


def viewer_html(views: list[View], nothing: str) -> str:
    """Write the views with their buttons.

    Args:
        views: The first one is shown first.
        nothing: What to say when there are none.
    """
    if not views:
        return nothing_html(nothing)
    tabs = "".join(f'<button type="button" role="tab">{escape(view.title)}</button>' for view in views)
    drawn = "".join(map(_view_html, views))
    return f"""<rm-viewer data-seconds="{SECONDS_A_FRAME}"><div class="rm-tabs" role="tablist">{tabs}</div>
<div class="rm-stage" tabindex="0" role="group"
aria-label="Picture: + and - zoom, arrows move the line or the picture, f fills the screen">{drawn}</div>
<div class="rm-tools">
<label class="rm-for-wipe"><span>Line</span>
<input class="rm-cut" type="range" min="0" max="100" value="50" aria-label="Place of the line, per cent of the width">
</label>
<label class="rm-for-turn"><input class="rm-still" type="checkbox"> Hold</label>
<label class="rm-for-turn"><span>Picture</span>
<input class="rm-frame" type="range" min="0" max="1" step="1" value="0" aria-label="Which picture"></label>
<span class="rm-buttons"><button type="button" data-zoom="1.5" aria-label="Zoom in" title="Zoom in">+</button>
<button type="button" data-zoom="0.6667" aria-label="Zoom out" title="Zoom out">−</button>
<button type="button" data-zoom="0" title="The whole picture">Whole</button>
<button type="button" data-full title="Fill the screen, or no longer">Full screen</button>
<a class="rm-save" title="Save this picture">Save</a></span></div>
<p class="rm-words"></p></rm-viewer>"""


def _view_html(view: View) -> str:
    with Image.open(view.pictures[0][0]) as picture:
        ratio = picture.width / picture.height
    images = "".join(
        f'<img src="{escape(address(path))}" alt="{escape(words)}" draggable="false">' for path, words in view.pictures
    )
    more = {WIPE: '<span class="rm-line"></span>', TURN: '<output class="rm-seen" aria-live="off"></output>', STILL: ""}
    return (
        f'<div class="rm-view" hidden data-kind="{view.kind}" data-field="{escape(view.field)}" '
        f'data-name="{escape(view.pictures[0][0].name)}" data-words="{escape(view.words)}" '
        f'style="--ratio: {ratio:.4f}">'
        f"{images}{more[view.kind]}</div>"
    )


__all__ = ["STILL", "TURN", "WIPE", "View", "viewer_html"]
