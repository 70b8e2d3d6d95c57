"""The small pieces of HTML of answers and tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Figure:
    """A figure of an answer.

    Attributes:
        words: The figure in a few words.
        meaning: What it means, shown on hovering, on focus and on a tap.
    """

    words: str
    meaning: str

    def html(self) -> str:
        """Write it so that its meaning can be asked for by mouse, finger and keyboard."""
        meaning = escape(self.meaning)
        return (
            f'<span class="rm-figure" tabindex="0" role="note" data-meaning="{meaning}" '
            f'aria-label="{escape(self.words)}: {meaning}">{escape(self.words)}</span>'
        )


def answer_html(
    words: str, kind: str = "", verdict: str = "", figures: Sequence[Figure] = (), hints: Sequence[str] = ()
) -> str:
    """Write an answer; screen readers read it out when it changes.

    Args:
        words: Sentences.
        kind: "registered", "rough", "no match", "not done" or none: how it looks, and its sign.
        verdict: A few words ahead of the sentences.
        figures: Below them.
        hints: What to try, below those.
    """
    sign = {"registered": "✓", "rough": "≈", "no match": "✗", "not done": "!"}.get(kind, "")
    mark = f'<b aria-hidden="true">{sign}</b>' if sign else ""
    looks = f" rm-{kind.replace(' ', '-')}" if kind else ""
    parts = [f'<p class="rm-verdict">{mark}{escape(verdict or words)}</p>']
    if verdict and words:
        parts.append(f"<p>{escape(words)}</p>")
    if figures:
        parts.append(f'<p class="rm-figures">{" ".join(figure.html() for figure in figures)}</p>')
    if hints:
        parts.append(f"<p>What to try:</p><ul>{''.join(f'<li>{escape(hint)}</li>' for hint in hints)}</ul>")
    return f'<div class="rm-answer{looks}" role="status" aria-live="polite">{"".join(parts)}</div>'


def nothing_html(words: str) -> str:
    """Write a place where nothing is shown, and why."""
    return f'<div class="rm-nothing">{escape(words)}</div>'


def table_html(header: list[str], rows: list[list], caption: str) -> str:
    """Write a table with a heading for each column and row; a cell is text or a `Figure`."""
    head = "".join(f'<th scope="col">{_cell(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>' + "".join(f"<td>{_cell(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="rm-table"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell) -> str:
    return cell.html() if isinstance(cell, Figure) else escape(str(cell))


__all__ = ["Figure", "answer_html", "nothing_html", "table_html"]
