"""What a build is asked for, and the split that it gives every person."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


class BuildError(ValueError):
    """Something in the input or the options is wrong; the message is one sentence for the user."""


@dataclass(kw_only=True)
class BuildOptions:
    """What goes into a build.

    Attributes:
        sources: Names of sources, or `plain:NAME=FOLDER` for photographs of one's own; `None` takes all that are found.
        publishable: Leave out what may not be passed on.
        rendered: Number of rendered eyes with labels.
        unlabeled: Number of rendered eyes whose labels are withheld, for semi-supervised training without a download.
        warped: Largest number of test photographs of each source, rendered eyes among them, that are made into warped
            pairs, one pair per category; 0 for none.
        visits: Number of rendered pairs of visits.
        modalities: Number of rendered pairs of two modalities, every two in turn; `None` for as many as `visits`.
        people: Number of rendered persons of the identity set.
        shots: Photographs of each of them.
        size: Side of the canvas in pixels.
        validation_fraction: Fraction of the persons of each source in the validation split.
        test_fraction: Fraction in the test split.
        seed: Of the splits, the pairs and the rendered eyes.
        every: Source name -> take only every n-th person.
        annotations: Folder of annotations that take the place of what the sources say; those made on a split of a
            former build, in pixels of its canvas, are among them.
        png: Store images without loss.
        measured: Number of rendered eyes on which the label maker is measured for the card; 0 for no measurement.
    """

    sources: list[str] | None = None
    publishable: bool = False
    rendered: int = 24
    unlabeled: int = 8
    warped: int = 12
    visits: int = 6
    modalities: int | None = None
    people: int = 4
    shots: int = 3
    size: int = 768
    validation_fraction: float = 0.1
    test_fraction: float = 0.15
    seed: int = 0
    every: dict[str, int] = field(default_factory=dict)
    annotations: Path | None = None
    png: bool = False
    measured: int = 8

    @property
    def quality(self) -> int | None:
        """Quality of the JPEG bytes; `None` for PNG."""
        return None if self.png else 95

    def __post_init__(self):
        if self.modalities is None:
            self.modalities = self.visits

    def check(self) -> None:
        """Reject options that contradict each other.

        Raises:
            BuildError: They do.
        """
        for name in ("validation_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise BuildError(f"The {name.replace('_', ' ')} must lie between 0 and 1, got {getattr(self, name):g}.")
        if self.validation_fraction + self.test_fraction > 1:
            raise BuildError(
                "The fractions of validation and test must not exceed 1 together, got "
                f"{self.validation_fraction:g} + {self.test_fraction:g}."
            )
        if self.size < 64:
            raise BuildError(f"The canvas must have at least 64 pixels a side, got {self.size}.")

    def split(self, source: str, names: Sequence[str]) -> dict[str, str]:
        """Give every person of a source a split.

        A person's place in the draw depends on the seed, the source and the name alone: it is the same on every machine
        and whatever other sources are built. The test split is drawn first; where there are three persons or more, a
        fraction above 0 gets at least one.
        """

        def draw(name: str) -> str:
            return hashlib.sha256(f"{self.seed}/{source}/{name}".encode()).hexdigest()

        def count(fraction: float) -> int:
            return max(round(fraction * len(names)), int(fraction > 0 and len(names) > 2))

        tests = count(self.test_fraction)
        validations = min(count(self.validation_fraction), len(names) - tests)
        splits = ["test"] * tests + ["validation"] * validations + ["train"] * (len(names) - tests - validations)
        return dict(zip(sorted(names, key=draw), splits, strict=True))


__all__ = ["BuildError", "BuildOptions"]
