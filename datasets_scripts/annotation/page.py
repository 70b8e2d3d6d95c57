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


class Handlers:
    """What the events of the page do to a session; each answers with the canvas, the header and the list."""

    def __init__(self, session: Session):
        self.session = session
        self._serials = itertools.count(1)

    def start(self):
        """Show the photograph to go on with."""
        return self._show(self.session.current), self._header(), self._choices()

    def keep(self, shown: dict):
        """Write a change as a draft."""
        before = list(self.session.states)
        report = self._save(shown, complete=False)
        # The list is left alone, as it may be open, unless a mark in it is another now.
        choices = gr.skip() if self.session.states == before else self._choices()
        return gr.HTML(report=report), self._header(), choices

    def finish(self, shown: dict):
        """Write the photograph as done and stay."""
        return gr.HTML(report=self._save(shown, complete=True)), self._header(), self._choices()

    def step(self, shown: dict, step: int, complete: bool):
        """Write the photograph, then open the next one (`step` 1) or the one before (-1)."""
        return self.leave(shown, shown["number"] + step if shown else self.session.current, complete)

    def leave(self, shown: dict, target: int, complete: bool):
        """Write the photograph, then open another; what cannot be written is not left."""
        report = self._save(shown, complete)
        answer = gr.HTML(report=report)
        if not report["error"] and 0 <= target < len(self.session.pictures):
            value = self._show(target)
            answer = gr.HTML(value=value, report=self._report(value, value["state"]))
        elif not report["error"]:
            end = "last" if target > 0 else "first"
            answer = gr.HTML(report={**report, "text": f"{report['text']}; this is the {end} photograph"})
        return answer, self._header(), self._choices()

    def _save(self, shown: dict, complete: bool) -> dict:
        """Write what the page shows, and report it."""
        try:
            return self._report(shown, SAVED[self.session.save(shown, complete)])
        except AnnotationError as error:
            return self._report(shown, f"Not saved: {error}", error=True)

    def _show(self, number: int) -> dict:
        shown = self.session.open(number)
        path = shown.pop("file")
        return {**shown, "url": f"gradio_api/file={path}" if path else "", "state": SAVED[shown["state"]]}

    def _report(self, shown: dict, text: str, error: bool = False) -> dict:
        # The serial number makes every report another one: the page only hears of what differs.
        name, changes = (shown or {}).get("name", ""), (shown or {}).get("changes", 0)
        return {"serial": next(self._serials), "name": name, "changes": changes, "text": text, "error": error}

    def _header(self) -> str:
        session = self.session
        done, drafts = session.states.count(DONE), session.states.count(DRAFT)
        rest = f", {drafts} draft{'s' if drafts > 1 else ''}" if drafts else ""
        place = f"{session.current + 1} of {len(session.pictures)}"
        return (
            f"<h1>{html.escape(session.pictures[session.current].name)}</h1>"
            f"<p>{place} · {done} done{rest} · {html.escape(session.annotator)}</p>"
        )

    def _choices(self) -> gr.Dropdown:
        listed = [
            (f"{MARKS[state]} {picture.name}", number)
            for number, (picture, state) in enumerate(zip(self.session.pictures, self.session.states))
        ]
        return gr.Dropdown(choices=listed, value=self.session.current)


def build_page(session: Session) -> gr.Blocks:
    """Lay out the page of a session; start it with `launch`."""
    handlers = Handlers(session)
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
        picker = gr.Dropdown(
            label=f"Photographs ({len(session.pictures)})", choices=[], elem_id="annotate-picker", filterable=True
        )
        with gr.Accordion("Mouse and keys", open=False, elem_id="annotate-help"):
            gr.Markdown(KEYS, elem_id="annotate-keys")

        # One at a time: writes and the person's place must not overtake each other.
        common = {"show_progress": "hidden", "concurrency_id": "session", "concurrency_limit": 1}
        common["api_visibility"] = "private"
        everything = [canvas, header, picker]
        page.load(handlers.start, None, everything, **common)
        canvas.edited(handlers.keep, canvas, everything, trigger_mode="always_last", **common)
        save.click(handlers.finish, canvas, everything, **common)
        forward.click(lambda shown: handlers.step(shown, 1, complete=True), canvas, everything, **common)
        back.click(lambda shown: handlers.step(shown, -1, complete=False), canvas, everything, **common)
        picker.input(
            lambda shown, number: handlers.leave(shown, int(number), complete=False),
            [canvas, picker],
            everything,
            **common,
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
