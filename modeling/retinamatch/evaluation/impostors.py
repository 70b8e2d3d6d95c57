"""How often the decision errs, at size: pairs of different eyes, mirror images, and pairs of one eye, all counted.

    retinamatch evaluate impostors FOLDERS... [--pairs 400] [--processes 2] [--genuine FOLDER] [--json FILE]

Pairs of different eyes are drawn at random, and every photograph is also paired with the mirror image of itself, the
hardest impostor: the same vessels, but the wrong way around. Both are judged as they are and with what two photographs
can have in common that is not retina. Genuine pairs show what the decision costs.

The work is done in units: a few photographs, all pairs between them, one condition. So the keypoints of a photograph
are found once for many pairs and are not kept for long; and what is done is on disk: the same command goes on where it
was stopped.
"""

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..estimation import EstimationSettings
from ..extractor import AUTO, DEFAULT_MODEL
from ..files import write_text
from ..keypoint_set import Keypoints
from ..photograph_views import PhotographViews
from ..photographs import IMAGE_SUFFIXES, read_photograph
from ..processes import results_of
from ..registrar import FAST, Photographs, Registrar, check_effort
from .conditions import CONDITIONS, SHARED_BY_BOTH, AnnotatedPair, Condition, choose_conditions, find_keypoints_under
from .fire import FirePair, read_fire
from .identity import read_people


FIGURES = ("agreeing", "share", "excess", "alike", "correlation")
# What is recorded beside them.
MORE = ("cells", "displacement", "departure", "alike_in_hue", "foreign")
_ROW = {"kind", "condition", "moving", "fixed", "accepted", *FIGURES, *MORE}
# Photographs of a unit: 1,128 pairs, some minutes, keypoints of half a gigabyte.
TOGETHER = 48
# A model, the precision of its network, what runs it, and the effort, as for `Registrar`.
_Network = tuple[str, str, str, str]
# Changes of a single photograph: the moving side of the condition of a pair.
IMPOSTOR_CONDITIONS: dict[str, Condition] = {
    "plain": CONDITIONS["clean"],
    "both degraded 3": CONDITIONS["degraded 3"],
    **SHARED_BY_BOTH,
}
DEFAULT_CONDITIONS = ["plain", "both degraded 3", "white surround", "stamp", "watermark", "tiles"]
GENUINE_CONDITIONS = ("clean", "degraded 4", "degraded 5")


@dataclass(frozen=True)
class Eye:
    """A photograph and the eye that it shows, known by any word."""

    photograph: Path
    eye: str

    @property
    def name(self) -> str:
        """Folder and name of the file."""
        return f"{self.photograph.parent.name}/{self.photograph.name}"


def list_eyes(folders: Sequence[str | Path], every: int = 1) -> list[Eye]:
    """List photographs: in a folder each one shows another eye, in a folder of folders each folder shows one eye.

    Args:
        folders: Photographs or folders of them.
        every: Take every n-th photograph of a folder.

    Raises:
        ValueError: A folder is missing, or holds photographs neither itself nor in its folders.
    """
    eyes = []
    for folder in map(Path, folders):
        if not folder.exists():
            raise ValueError(f"There is no {folder}; photographs or folders of them are wanted.")
        single = _pictures(folder) if folder.is_dir() else [folder]
        if single:
            eyes += [Eye(path, str(path)) for path in single[::every]]
            continue
        eyes += [Eye(path, eye) for eye, paths in read_people(folder).items() for path in paths[::every]]
    return eyes


def judge_impostors(
    eyes: Sequence[Eye],
    model: str = DEFAULT_MODEL,
    pairs: int = 400,
    genuine: Sequence[str | Path] = (),
    conditions: Sequence[str] = DEFAULT_CONDITIONS,
    seed: int = 0,
    processes: int = 1,
    record: Path | None = None,
    progress: bool = False,
    dtype: str = AUTO,
    effort: str = FAST,
    engine: str = AUTO,
) -> list[dict]:
    """Register pairs of different eyes, mirror images and genuine pairs.

    Args:
        eyes: The photographs.
        model: As for `Registrar`.
        pairs: Least number of pairs of different eyes for each condition; all there are when they are fewer.
        genuine: Folders in FIRE's layout, whose pairs are judged under `GENUINE_CONDITIONS`, or with a folder per
            person, whose pairs of one eye are judged as they are.
        conditions: Names of `IMPOSTOR_CONDITIONS`.
        seed: Of the draw.
        processes: How many processes share the work.
        record: File that is written whenever a unit is done, and read at first to go on from there.
        progress: Show a progress bar.
        dtype: As for `Registrar`.
        effort: As for `Registrar`; with other views, a pair that is refused takes some seconds.
        engine: As for `Registrar`.

    Returns:
        A dict per pair: `kind` ("different", "mirrored" or "genuine"), `condition`, `moving`, `fixed`, `accepted`, and
        its `FIGURES` and `MORE`, None where no transform was found.

    Raises:
        ValueError: Fewer than two eyes; a condition is not known; the record is that of another command; see also
            `read_fire` and `read_people`.
        PhotographError: A photograph cannot be read.
    """
    if len({one.eye for one in eyes}) < 2:
        raise ValueError(f"Impostors need photographs of at least two eyes, got {len({one.eye for one in eyes})}.")
    chosen = choose_conditions(IMPOSTOR_CONDITIONS, conditions)
    network = model, dtype, engine, check_effort(effort)
    units: dict[str, Callable[[], list[dict]]] = {}
    for folder in genuine:
        units.update(_genuine_units(Path(folder), network))
    for number, (members, together, first) in enumerate(_draw(eyes, pairs, seed)):
        for condition in chosen:
            units[f"{condition}, {number}"] = functools.partial(
                _judge_strangers, network, condition, tuple(members), tuple(together), first
            )
    command = {
        "model": model,
        "dtype": dtype,
        "effort": effort,
        "engine": engine,
        "seed": seed,
        "version": version("retinamatch"),
        **asdict(EstimationSettings()),
    }
    command["photographs"] = hashlib.sha256("\n".join(str(one.photograph) for one in eyes).encode()).hexdigest()
    command = json.loads(json.dumps(command))
    done = _read_record(record, command)
    rows = {name: done[name] for name in units if name in done}
    left = {name: work for name, work in units.items() if name not in done}
    accepted = sum(row["accepted"] for unit in rows.values() for row in unit if row["kind"] != "genuine")
    with tqdm(total=len(units), initial=len(rows), unit="unit", disable=not progress) as bar:
        for name, judged in results_of(left, processes):
            rows[name] = done[name] = judged
            if record is not None:
                write_text(record, json.dumps({"command": command, "units": done}) + "\n")
            bar.update()
            accepted += sum(row["accepted"] for row in judged if row["kind"] != "genuine")
            bar.set_postfix(accepted=accepted)
    return [row for name in units for row in rows[name]]


def summarize_impostors(rows: Sequence[dict]) -> list[dict]:
    """Count the pairs of `judge_impostors` by kind and condition, and all impostors together.

    When none of n pairs is accepted, the rate of acceptance is below 3 / n with a confidence of 95 per cent: the rule
    of three, for pairs drawn independently.

    Returns:
        A dict ready for JSON for each group: `kind`, `condition`, the numbers of `pairs` and `accepted`, `rate_below`
        (None for genuine pairs and where one is accepted), and `figures`: the greatest, of genuine pairs the least.
    """
    groups: dict[tuple[str, str], list[dict]] = {}
    for kind in ("different", "mirrored", "genuine"):
        for row in rows:
            if row["kind"] == kind:
                groups.setdefault((kind, row["condition"]), []).append(row)
    strangers = [row for row in rows if row["kind"] != "genuine"]
    if len({row["condition"] for row in strangers}) > 1:
        groups["impostors", "all"] = strangers
    return [_summary(kind, condition, members) for (kind, condition), members in groups.items()]


def _summary(kind: str, condition: str, rows: Sequence[dict]) -> dict:
    accepted, extreme = sum(row["accepted"] for row in rows), min if kind == "genuine" else max
    known = {name: [row[name] for row in rows if row[name] is not None] for name in FIGURES}
    return {
        "kind": kind,
        "condition": condition,
        "pairs": len(rows),
        "accepted": accepted,
        "rate_below": None if accepted or kind == "genuine" else 3 / len(rows),
        "figures": {name: extreme(values) for name, values in known.items() if values},
    }


def impostors_table(groups: Sequence[dict]) -> str:
    """Write what `summarize_impostors` gives as Markdown."""
    lines = [
        "| pairs | condition | number | accepted | rate below | " + " | ".join(FIGURES) + " |",
        "| --- |" + " --- |" * (4 + len(FIGURES)),
    ]
    for group in groups:
        bound = "-" if group["rate_below"] is None else f"{group['rate_below']:.2g}"
        figures = [f"{group['figures'][name]:.3g}" if name in group["figures"] else "-" for name in FIGURES]
        counts = f"{group['pairs']:,}", f"{group['accepted']:,}"
        cells = [group["kind"], group["condition"], *counts, bound, *figures]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _draw(eyes: Sequence[Eye], pairs: int, seed: int) -> Iterator[tuple[list[Eye], list[tuple[int, int]], bool]]:
    """Put the photographs into groups again and again, until their pairs are enough.

    Yields:
        The photographs of a group, the pairs of different eyes in it that were in no group before, and whether its
        photographs are grouped for the first time.
    """
    rng, rounds = np.random.default_rng(seed), 0
    seen: set[frozenset[int]] = set()
    alike = Counter(one.eye for one in eyes).values()
    wanted = min(pairs, (len(eyes) ** 2 - sum(number**2 for number in alike)) // 2)
    while len(seen) < wanted or not rounds:
        order = rng.permutation(len(eyes)).tolist()
        for start in range(0, len(order), TOGETHER):
            members = order[start : start + TOGETHER]
            new = [
                (i, j)
                for (i, first), (j, second) in combinations(enumerate(members), 2)
                if eyes[first].eye != eyes[second].eye and frozenset((first, second)) not in seen
            ]
            new = new if len(seen) < wanted else []
            seen |= {frozenset((members[i], members[j])) for i, j in new}
            if new or not rounds:
                yield [eyes[k] for k in members], new, not rounds
        rounds += 1


def _judge_strangers(
    network: _Network, condition: str, members: Sequence[Eye], pairs: Sequence[tuple[int, int]], mirrored: bool
) -> list[dict]:
    """Judge pairs of some photographs under a condition, and each photograph with its mirror image."""
    registrar, change = _registrar(*network), IMPOSTOR_CONDITIONS[condition]
    keypoints, rows = [], []
    # What is looked at in many views is kept until the last pair that it moves in: pairs go on in that order.
    seen: dict[int, PhotographViews] = {}
    for number, one in enumerate(members):
        photo = _changed(read_photograph(one.photograph), one.name, change)
        keypoints += registrar.keypoints([photo])
        if registrar.effort != FAST:
            seen[number] = registrar.views(photo, keypoints[-1])
        if mirrored:
            mirror = np.ascontiguousarray(read_photograph(one.photograph)[:, ::-1])
            mirror = _changed(mirror, f"{one.name} mirrored", change)
            sides, pictures = (registrar.keypoints([mirror])[0], keypoints[-1]), (mirror, photo)
            rows.append(_judge("mirrored", condition, one.name, one.name, registrar, sides, pictures))
    for i, j in pairs:
        for done in [number for number in seen if number < i]:
            del seen[done]
        names, sides = (members[i].name, members[j].name), (keypoints[i], keypoints[j])
        views = (seen[i], seen[j]) if seen else None
        rows.append(_judge("different", condition, *names, registrar, sides, views))
    return rows


def _changed(photo: np.ndarray, name: str, change: Condition) -> np.ndarray:
    nowhere = np.zeros((0, 2))
    return change(AnnotatedPair(name, photo, photo, nowhere, nowhere)).moving


def _genuine_units(folder: Path, network: _Network) -> dict[str, Callable[[], list[dict]]]:
    if (folder / "Ground Truth").is_dir():
        return {
            f"{folder}, {pair.name}": functools.partial(_judge_visits, network, folder.name, pair)
            for pair in read_fire(folder)
        }
    return {
        f"{folder}, {person}": functools.partial(_judge_person, network, folder.name, tuple(paths))
        for person, paths in read_people(folder).items()
    }


def _judge_visits(network: _Network, folder: str, pair: FirePair) -> list[dict]:
    """Judge a pair of FIRE as it is and degraded."""
    registrar, chosen = _registrar(*network), choose_conditions(CONDITIONS, GENUINE_CONDITIONS)
    return [
        _judge("genuine", f"{folder}, {condition}", pair.name, pair.name, registrar, sides, (drawn.moving, drawn.fixed))
        for condition, drawn, _, *sides in find_keypoints_under(AnnotatedPair.read(pair), chosen, {"": registrar})
    ]


def _judge_person(network: _Network, folder: str, paths: Sequence[Path]) -> list[dict]:
    """Judge all pairs of photographs of one eye."""
    registrar = _registrar(*network)
    photographs = [read_photograph(path) for path in paths]
    keypoints = [registrar.keypoints([photograph])[0] for photograph in photographs]
    names = [Eye(path, "").name for path in paths]
    return [
        _judge("genuine", folder, pair[0], pair[1], registrar, sides, pictures)
        for pair, sides, pictures in zip(*(combinations(each, 2) for each in (names, keypoints, photographs)))
    ]


def _judge(
    kind: str,
    condition: str,
    moving: str,
    fixed: str,
    registrar: Registrar,
    keypoints: Sequence[Keypoints],
    photographs: Photographs | None,
) -> dict:
    registration = registrar.register_keypoints(keypoints[0], keypoints[1], photographs=photographs)
    row = {"kind": kind, "condition": condition, "moving": moving, "fixed": fixed, "accepted": registration.registered}
    evidence = registration.evidence
    figures = {name: evidence[name] for name in (*FIGURES, *MORE) if evidence.get(name) is not None}
    if "alike" in figures:
        figures["alike"] = max(figures["alike"], evidence["alike_reversed"])
        figures["correlation"] = abs(figures["correlation"])
    return row | dict.fromkeys((*FIGURES, *MORE)) | {name: round(float(value), 4) for name, value in figures.items()}


@functools.lru_cache(maxsize=1)
def _registrar(model: str, dtype: str, engine: str, effort: str) -> Registrar:
    # The class of the transform takes no part in the decision, and this one is found fastest.
    return Registrar(model, transform="quadratic", dtype=dtype, engine=engine, effort=effort)


def _read_record(record: Path | None, command: dict) -> dict[str, list[dict]]:
    if record is None or not record.is_file():
        return {}
    try:
        written = json.loads(record.read_text(encoding="utf-8"))
        same, units = written["command"] == command, written["units"]
        same = same and all(_ROW <= row.keys() for judged in units.values() for row in judged)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        same, units = False, {}
    if not same:
        raise ValueError(f"{record} was not written by this command; name another file, or delete it to begin anew.")
    return units


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


__all__ = [
    "DEFAULT_CONDITIONS",
    "GENUINE_CONDITIONS",
    "IMPOSTOR_CONDITIONS",
    "Eye",
    "impostors_table",
    "judge_impostors",
    "list_eyes",
    "summarize_impostors",
]
