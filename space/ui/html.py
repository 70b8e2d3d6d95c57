"""The small pieces of HTML around pictures, answers and tables.

What moves can be stopped, what is wiped away can be moved by the keyboard, and every picture has words.
"""

from html import escape
from pathlib import Path

from ..files.results import address
from ..service.pictures import SECONDS_A_FRAME


def wipe_html(pictures: tuple[Path, Path] | None, nothing: str) -> str:
    """Two pictures on each other; a slider says how much of the upper one is seen.

    Args:
        pictures: The fixed photograph and the aligned one.
        nothing: What to say when there are none.
    """
    if pictures is None:
        return nothing_html(nothing)
    below, above = map(address, pictures)
    return f"""<div class="rm-wipe" style="--cut: 50%">
<div class="rm-stage"><img src="{below}" alt="The fixed photograph">
<img class="rm-above" src="{above}" alt="The moving photograph, aligned, over the left part of the fixed one"></div>
<label>Left of the line: moving photograph, aligned. Right of it: fixed photograph.
<input type="range" min="0" max="100" value="50" aria-label="Place of the line, per cent of the width"
oninput="this.closest('.rm-wipe').style.setProperty('--cut', this.value + '%')"></label></div>"""


def frames_html(pictures: list[Path] | tuple[Path, ...] | None, words: list[str], nothing: str) -> str:
    """Pictures shown in turn; they can be stopped and gone through by hand.

    Args:
        pictures: Of one size.
        words: What each shows.
        nothing: What to say when there are none.
    """
    if not pictures:
        return nothing_html(nothing)
    count = len(pictures)
    images = "".join(
        f'<img src="{address(path)}" alt="{escape(text)}" style="animation-name: rm-turn-{count}; '
        f"animation-duration: {count * SECONDS_A_FRAME}s; animation-delay: {number * SECONDS_A_FRAME}s"
        f'"{" class=rm-chosen" if number == 0 else ""}>'
        for number, (path, text) in enumerate(zip(pictures, words))
    )
    choose = (
        "const box = this.closest('.rm-frames'); box.classList.add('rm-still'); "
        "box.querySelector('input[type=checkbox]').checked = true; box.querySelectorAll('img').forEach("
        "(image, number) => image.classList.toggle('rm-chosen', number == this.value))"
    )
    return f"""<style>@keyframes rm-turn-{count} {{
from {{ opacity: 1 }} {100 / count:.4f}% {{ opacity: 0 }} to {{ opacity: 0 }} }}</style>
<div class="rm-frames"><div class="rm-stage">{images}</div>
<label><input type="checkbox" onchange="this.closest('.rm-frames').classList.toggle('rm-still', this.checked)">
Stop</label>
<label>Show one, by hand: <input type="range" min="0" max="{count - 1}" step="1" value="0"
aria-label="Which picture, 1 to {count}" oninput="{choose}"></label></div>"""


def answer_html(words: str, kind: str = "") -> str:
    """Write the answer in words, with a sign for its kind: "registered", "no match", "not done" or none.

    Screen readers read it out when it changes.
    """
    sign = {"registered": "✓", "no match": "✗", "not done": "!"}.get(kind, "")
    mark = f'<b aria-hidden="true">{sign}</b>' if sign else ""
    looks = f" rm-{kind.replace(' ', '-')}" if kind else ""
    return f'<div class="rm-answer{looks}" role="status" aria-live="polite">{mark}{escape(words)}</div>'


def nothing_html(words: str) -> str:
    """Write a place where nothing is shown, and why."""
    return f'<div class="rm-nothing">{escape(words)}</div>'


def table_html(header: list[str], rows: list[list], caption: str) -> str:
    """Write a table with a heading for each column and row."""
    head = "".join(f'<th scope="col">{escape(str(cell))}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{escape(str(row[0]))}</th>'
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="rm-table"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


__all__ = ["answer_html", "frames_html", "nothing_html", "table_html", "wipe_html"]
