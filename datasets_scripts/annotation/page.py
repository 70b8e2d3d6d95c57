"""The annotation page: photograph, keypoints and buttons, and what each of them does to the session."""

import html
import itertools
import os
from pathlib import Path


os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio as gr

from ..format.annotations import AnnotationError
from .session import DONE, DRAFT, OPEN, Session


CANVAS = Path(__file__).with_name("canvas")
SAVED = {DONE: "Saved, done", DRAFT: "Saved as draft", OPEN: "No changes"}
MARKS = {DONE: "✓", DRAFT: "✎", OPEN: "·"}
KEYS = """
| | mouse | key |
| --- | --- | --- |
| **add** a keypoint | click | `A`, in the middle of the view |
| **move** it | drag | arrows, with Shift ten times as far |
| **select** another | click on it | `.` and `,`, none: `Esc` |
| **delete** it | | `Delete` or `D` |
| **type** | | `1` bifurcation, `2` crossing, `T` the other |
| take a change back | | `U` or `Ctrl`+`Z` |
| **zoom** | wheel, two fingers | `+`, `-`, whole photograph: `0` |
| **pan** | drag beside the keypoints | arrows, when none is selected |
| green channel with more contrast, hide keypoints | | `C`, `H` |
| next (done), back, save (done) | | `N`, `B`, `S` |

Every change is saved at once as a draft. **Next** and **Save** call the photograph done; **Back** and the list leave it
as it is. Bifurcations are cyan circles, crossings yellow diamonds.
"""
STYLE = """
footer { display: none !important; }
.gradio-container { max-width: 1500px !important; }
.gradio-container .main.app { padding: 10px 16px !important; }
.gradio-container .contain > .column { gap: 10px; }
#annotate-head, #annotate-canvas { min-height: 0; }
#annotate-head .html-container, #annotate-canvas .html-container { padding: 0 !important; min-height: 0 !important; }
#annotate-head h1 { font-size: 20px; margin: 0 14px 0 0; display: inline-block; }
#annotate-head p { margin: 0; display: inline-block; }
#annotate-moves { flex-wrap: nowrap; }
#annotate-moves button { min-width: 0; }
@media (max-width: 500px) {
  .gradio-container .main.app { padding: 6px 8px !important; }
}
"""


def build_page(session: Session) -> gr.Blocks:
    """Lay out the page of a session; start it with `launch`."""
    serials = itertools.count(1)
    total = len(session.pictures)

    def show(number: int) -> dict:
        shown = session.open(number)
        path = shown.pop("file")
        return {**shown, "url": f"gradio_api/file={path}" if path else "", "state": SAVED[shown["state"]]}

    def report(shown: dict, text: str, error: bool = False) -> dict:
        # The serial number makes every report another one: the page only hears of what differs.
        name, changes = (shown or {}).get("name", ""), (shown or {}).get("changes", 0)
        return {"serial": next(serials), "name": name, "changes": changes, "text": text, "error": error}

    def head() -> str:
        done, drafts = session.states.count(DONE), session.states.count(DRAFT)
        rest = f", {drafts} draft{'s' if drafts > 1 else ''}" if drafts else ""
        return (
            f"<h1>{html.escape(session.pictures[session.current].name)}</h1>"
            f"<p>{session.current + 1} of {total} · {done} done{rest} · {html.escape(session.annotator)}</p>"
        )

    def choices() -> gr.Dropdown:
        listed = [
            (f"{MARKS[state]} {picture.name}", number)
            for number, (picture, state) in enumerate(zip(session.pictures, session.states))
        ]
        return gr.Dropdown(choices=listed, value=session.current)

    def start():
        return show(session.current), head(), choices()

    def keep(shown):
        """Write a change as a draft."""
        before = list(session.states)
        try:
            answer = report(shown, SAVED[session.save(shown, complete=False)])
        except AnnotationError as error:
            answer = report(shown, f"Not saved: {error}", error=True)
        # The list is left alone, as it may be open, unless a mark in it is another now.
        return gr.HTML(report=answer), head(), gr.skip() if session.states == before else choices()

    def finish(shown):
        """Write the photograph as done and stay."""
        try:
            text = SAVED[session.save(shown, complete=True)]
            return gr.HTML(report=report(shown, text)), head(), choices()
        except AnnotationError as error:
            return gr.HTML(report=report(shown, f"Not saved: {error}", error=True)), head(), choices()

    def go(shown, step: int, complete: bool):
        return leave(shown, shown["number"] + step if shown else session.current, complete)

    def leave(shown, target: int, complete: bool):
        """Write the photograph, then open another; what cannot be written is not left."""
        try:
            text = SAVED[session.save(shown, complete)]
        except AnnotationError as error:
            return gr.HTML(report=report(shown, f"Not saved: {error}", error=True)), head(), choices()
        if not 0 <= target < total:
            text += "; this is the " + ("last" if target > 0 else "first") + " photograph"
            return gr.HTML(report=report(shown, text)), head(), choices()
        value = show(target)
        return gr.HTML(value=value, report=report(value, value["state"])), head(), choices()

    with gr.Blocks(title="Keypoints of retinal photographs", analytics_enabled=False) as page:
        header = gr.HTML(elem_id="annotate-head")
        canvas = gr.HTML(
            value=None,
            html_template=(CANVAS / "canvas.html").read_text(encoding="utf-8"),
            css_template=(CANVAS / "canvas.css").read_text(encoding="utf-8"),
            js_on_load=(CANVAS / "canvas.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            elem_id="annotate-canvas",
            report=None,
        )
        with gr.Row(elem_id="annotate-moves"):
            back = gr.Button("Back", elem_id="annotate-back")
            save = gr.Button("Save", elem_id="annotate-save")
            forward = gr.Button("Next", variant="primary", elem_id="annotate-next")
        picker = gr.Dropdown(label=f"Photographs ({total})", choices=[], elem_id="annotate-picker", filterable=True)
        with gr.Accordion("Mouse and keys", open=False, elem_id="annotate-help"):
            gr.Markdown(KEYS, elem_id="annotate-keys")

        # One at a time: writes and the person's place must not overtake each other.
        common = {"show_progress": "hidden", "concurrency_id": "session", "concurrency_limit": 1}
        common["api_visibility"] = "private"
        everything = [canvas, header, picker]
        page.load(start, None, everything, **common)
        canvas.edited(keep, canvas, everything, trigger_mode="always_last", **common)
        save.click(finish, canvas, everything, **common)
        forward.click(lambda shown: go(shown, 1, complete=True), canvas, everything, **common)
        back.click(lambda shown: go(shown, -1, complete=False), canvas, everything, **common)
        picker.input(
            lambda shown, number: leave(shown, int(number), complete=False), [canvas, picker], everything, **common
        )
    return page


def launch(page: gr.Blocks, session: Session, port: int | None, **options):
    """Serve the page to this computer alone, without asking the network for fonts."""
    return page.queue().launch(
        server_name="127.0.0.1",
        server_port=port,
        allowed_paths=[session.ready],
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=STYLE,
        share=False,
        ssr_mode=False,
        **options,
    )


__all__ = ["build_page", "launch"]
