"""The card of a data set, and the figure in it; every number is taken from the record of the build."""

from pathlib import Path

import cv2

from ..keypoint_types import TYPE_NAMES
from ..sources import SOURCES
from .contact_sheet import contact_sheet
from .parquet import read_rows, table_files, tables
from .rows import decode
from .schema import COLUMNS, CONFIGURATIONS, SPLITS


FIGURE = "figures/labels.jpg"
DRAWN = 6  # photographs in the figure
SPDX = {"Apache-2.0": "apache-2.0", "CC-BY-4.0": "cc-by-4.0"}  # licence -> what the Hub calls it
ABOUT = {
    "keypoints": "photographs with the bifurcations and crossings of their vessels",
    "unlabelled": "photographs without labels, for semi-supervised and self-supervised training",
    "pairs": "two photographs of one retina, corresponding points, and the mapping between them",
    "identity": "photographs of persons, for verification",
    "identity_pairs": "which two photographs of `identity` are compared, and whether they show one eye",
}
RENDERED = (
    "Rendered by this project: vessel trees grown on a sphere, painted and photographed through a model of a fundus "
    "camera. No person is shown."
)


def write_card(folder: Path, record: dict) -> None:
    """Write `README.md` and its figure into a build.

    Args:
        folder: Root of the build.
        record: What `build` returns.
    """
    _draw_figure(folder)
    (folder / "README.md").write_text("\n".join(_front_matter(folder, record) + _text(folder, record)) + "\n")


def _draw_figure(folder: Path) -> None:
    """Draw labelled photographs, of every source some, from the splits that nobody trains on where there are any."""
    chosen: dict[str, list] = {}
    for split in ("test", "validation", "train"):
        if table_files(folder, "keypoints", split):
            for row in read_rows(folder, "keypoints", split):
                same = chosen.setdefault(row["source"], [])
                if len(same) < DRAWN:
                    same.append(row)
    if not chosen:
        return
    rounds = [found[k] for k in range(DRAWN) for found in chosen.values() if k < len(found)]
    sheet = contact_sheet([decode(row) for row in rounds[:DRAWN]], columns=3, side=480)
    (folder / FIGURE).parent.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / FIGURE), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def _front_matter(folder: Path, record: dict) -> list[str]:
    licences = {_licence(name) for name in _sources(record)}
    known = sorted(SPDX[one] for one in licences if one in SPDX)
    lines = ["---", "pretty_name: Retinal keypoints"]
    if licences <= set(SPDX):
        lines += ["license:", *[f"- {one}" for one in known]]
    else:
        lines += ["license: other", "license_name: see-the-table-of-sources"]
    lines += ["task_categories:", "- keypoint-detection", "tags:", "- retina", "- fundus", "- image-registration"]
    return [*lines, "- medical", *configs_header(folder), "---", ""]


def configs_header(folder: Path) -> list[str]:
    """Give the lines from which `datasets` knows the configurations and splits of a folder."""
    there, lines = tables(folder), ["configs:"]
    for config in CONFIGURATIONS:
        splits = [split for split in SPLITS if (config, split) in there]
        if not splits:
            continue
        lines += [f"- config_name: {config}", *(["  default: true"] if config == there[0][0] else []), "  data_files:"]
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*.parquet"]
    return lines


def _text(folder: Path, record: dict) -> list[str]:
    lines = [
        "# Retinal keypoints",
        "",
        "Colour fundus photographs with the places where their vessels branch and cross, pairs of photographs with",
        "the mapping between them, and photographs for identity verification. Made to train and test the",
        "registration of two photographs of one retina; built by `retinamatch` (`python -m datasets_scripts.build`).",
        "**Not a medical device, and no diagnosis.**",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'rows = load_dataset("OWNER/NAME", "{tables(folder)[0][0]}", split="{tables(folder)[0][1]}")',
        "```",
        "",
    ]
    if (folder / FIGURE).is_file():
        lines += [
            f"![Labelled photographs]({FIGURE})",
            "",
            "*Circles: bifurcations. Squares on their tip: crossings. Grey line: the field of view.*",
            "",
        ]
    lines += ["## Configurations", "", "Number of rows by split and source; no person is in two splits.", ""]
    lines += _count_table(record)
    lines += ["", *(f"- `{config}`: {ABOUT[config]}." for config in record["rows"]), ""]
    lines += ["| column | meaning |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in COLUMNS.items()), ""]
    size = record["options"]["size"]
    lines += [
        f"Photographs are cropped to their field of view and scaled to {size} x {size} pixels, the aspect ratio kept"
        " (FIRE's, where they are part of a build, stay as they are). Coordinates are pixels (x, y); the centre of the"
        " top-left pixel is (0, 0).",
        "",
        "## Sources and terms",
        "",
        *_source_table(record),
        "",
    ]
    if record["left_out"]:
        lines += ["Left out of this build:", "", *(f"- {sentence}" for sentence in record["left_out"]), ""]
    lines += _label_section(record)
    lines += [
        "## Known limits",
        "",
        "- Labels from vessel maps hold what the person who drew the map saw: where a thin vessel is missing in the",
        "  map, its junction is missing here, and around the optic disc vessels overlap and people disagree.",
        "- Rendered eyes have no camera notch, cross their vessels a little too often, and their coarsest texture is",
        "  weaker than that of photographs.",
        "- Warped pairs show one photograph twice: light, blur and lesions are simulated. Their figures are an upper",
        "  bound of what a method reaches on two visits.",
        "- The mapping of rendered visits is a cubic fit of the exact one, within half a pixel at every given point.",
        "",
    ]
    citations = [SOURCES[name].citation.strip() for name in _sources(record) if name in SOURCES]
    if citations:
        lines += ["## Citation", "", "Please cite the sources of the photographs:", "", "```bibtex", *citations, "```"]
    return lines


def _sources(record: dict) -> list[str]:
    """Names of the sources with at least one row."""
    tables_of_photographs = [splits for config, splits in record["rows"].items() if config != "identity_pairs"]
    return sorted({name for splits in tables_of_photographs for found in splits.values() for name in found})


def _licence(name: str) -> str:
    if name == "rendered":
        return "Apache-2.0"
    return SOURCES[name].licence if name in SOURCES else "unknown"


def _count_table(record: dict) -> list[str]:
    lines = [f"| configuration | source | {' | '.join(SPLITS)} |", "| --- | --- | --- | --- | --- |"]
    for config, splits in record["rows"].items():
        for source in sorted({name for found in splits.values() for name in found}):
            numbers = [str(splits.get(split, {}).get(source, 0)) for split in SPLITS]
            label = "all" if config == "identity_pairs" else source
            lines.append(f"| `{config}` | {label} | " + " | ".join(numbers) + " |")
    return lines


def _source_table(record: dict) -> list[str]:
    lines = ["| source | licence | terms | where |", "| --- | --- | --- | --- |"]
    for name in _sources(record):
        if name == "rendered":
            lines.append(f"| rendered | Apache-2.0 | {RENDERED} | this build |")
        elif name in SOURCES:
            source = SOURCES[name]
            lines.append(f"| {source.title} | {source.licence} | {source.terms} | {source.url} |")
        else:
            lines.append(f"| {name} | unknown | Photographs of one's own, added by who built the set. | |")
    return lines


def _label_section(record: dict) -> list[str]:
    lines = [
        "## Labels",
        "",
        "In manual vessel maps: the map is thinned to centre lines; spurs are pruned by length against width; nodes",
        "become bifurcations, and two near nodes whose vessels run straight through become a crossing; a keypoint lies",
        "where the lines of its vessels meet, with sub-pixel precision. In rendered eyes: the places are known.",
        "",
    ]
    if record["keypoints"]:
        lines += ["| split | source | bifurcations | crossings |", "| --- | --- | --- | --- |"]
        for split, found in record["keypoints"].items():
            for source, kinds in found.items():
                lines.append(f"| {split} | {source} | {kinds.get('0', 0)} | {kinds.get('1', 0)} |")
        lines.append("")
    return lines + (quality_table(record["label_quality"]) if record["label_quality"] else [])


def quality_table(quality: dict) -> list[str]:
    """Say how good the label maker is, from the dictionary that `labelling.quality.measure` gives."""
    tolerance, field_width = quality["tolerance"], quality["field_width"]
    lines = [
        f"The label maker against known answers, keypoints within {tolerance:g} pixels of a field of view"
        f" {field_width:g} pixels wide, one to one (`python -m datasets_scripts.labelling.quality`):",
        "",
    ]
    if rendered := quality["rendered"]:
        kinds = [(f"{name}s", rendered["types"][name]) for name in TYPE_NAMES]
        lines += [
            f"| {rendered['eyes']} rendered eyes, seed {rendered['seed']} | keypoints | recall | precision |",
            "| --- | --- | --- | --- |",
            *(
                f"| {name} | {found['keypoints']} | {_number(found['recall'])} | {_number(found['precision'])} |"
                for name, found in [("all", rendered), *kinds]
            ),
            "",
            f"Of the keypoints found, a share of {_number(rendered['type_accuracy'])} has the right type; the median"
            f" distance is {_number(rendered['median_error'])} pixels.",
            "",
        ]
    lines += ["| drawing | right |", "| --- | --- |"]
    lines += [f"| {row['case']} | {row['right']} of {row['drawings']} |" for row in quality["drawings"]]
    return [*lines, ""]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


__all__ = ["configs_header", "quality_table", "write_card"]
