"""Places that a person sets in both photographs where nothing is found without; `page.js` takes the clicks."""

import json

from ..service.ranges import NumberError


# As a step of JavaScript before an event: its last input becomes what was clicked.
WITH_POINTS = "(...given) => [...given.slice(0, -1), window.rmPoints()]"
LEAST_POINTS, MOST_POINTS = 3, 100


def points_html(moving: str, fixed: str) -> str:
    """Write the two photographs to click on.

    Args:
        moving: The element that shows the moving photograph.
        fixed: The element that shows the fixed one.
    """
    sides = "".join(
        f'<div class="rm-side" tabindex="0" role="application" data-of="{place}" aria-label="Places in the {which} '
        'photograph: arrows move the cross, Enter sets a place"><div class="rm-sheet">'
        f'<img alt="The {which} photograph, to set places in" hidden></div></div>'
        for which, place in (("moving", moving), ("fixed", fixed))
    )
    buttons = "".join(
        f'<button type="button" data-does="{does}" title="{title}">{words}</button>'
        for does, words, title in (
            ("larger", "+", "Enlarge both; scroll to move"),
            ("smaller", "−", "Make both smaller"),
            ("undo", "Undo", "Take back the last place"),
            ("clear", "Clear", "Take back all places"),
        )
    )
    return (
        "<rm-points><p>Click on the same place in both photographs, three times or more: where vessels part or cross, "
        "far from one another.</p>"
        f'<div class="rm-sides">{sides}</div><div class="rm-tools"><output aria-live="polite"></output>'
        f'<span class="rm-buttons">{buttons}</span></div></rm-points>'
    )


def read_points(text: str | None) -> list[list[float]] | None:
    """Read what was clicked: rows x, y (moving), x, y (fixed) in pixels; None for nothing.

    Raises:
        NumberError: There are too few or too many, or it is something else.
    """
    if not text:
        return None
    try:
        rows = json.loads(text)
        points = [[float(value) for value in row] for row in rows]
    except (ValueError, TypeError):
        raise NumberError("The places set by hand have to be rows of four numbers.") from None
    if not LEAST_POINTS <= len(points) <= MOST_POINTS or any(len(row) != 4 for row in points):
        raise NumberError(
            f"From {LEAST_POINTS} to {MOST_POINTS} places have to be set in both photographs, got {len(points)}."
        )
    return points


__all__ = ["WITH_POINTS", "points_html", "read_points"]
