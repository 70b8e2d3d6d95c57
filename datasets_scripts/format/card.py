"""The card of a data set, and the figure in it; every number is taken from the record of the build."""

from pathlib import Path

import cv2
from huggingface_hub import DatasetCard, DatasetCardData

from ..rendering import RENDERED_LICENSE
from ..sources import SOURCES
from .contact_sheet import contact_sheet
from .parquet import read_rows, table_files, tables
from .rows import decode
from .schema import COLUMNS, CONFIGURATIONS, SPLITS


TEMPLATE = Path(__file__).with_name("card_template.md")
FIGURE = "figures/labels.jpg"
DRAWN = 6  # photographs in the figure
SPDX = {"Apache-2.0": "apache-2.0", "CC-BY-4.0": "cc-by-4.0"}  # license -> what the Hub calls it
ABOUT = {
    "keypoints": "photographs with the bifurcations and crossings of their vessels",
    "unlabeled": "photographs without labels, for semi-supervised and self-supervised training",
    "pairs": "two photographs of one retina, corresponding points, and the mapping between them",
    "identity": "photographs of persons, for verification",
    "identity_pairs": "which two photographs of `identity` are compared, and whether they show one eye",
}
RENDERED_TERMS = (
    "Rendered by this project: vessel trees grown on a sphere, painted and photographed through a model of a fundus "
    "camera. No person is shown."
)


def write_card(folder: Path, record: dict) -> None:
    """Write `README.md` and its figure into a build.

    Args:
        folder: Root of the build.
        record: What `build` returns.
    """
    sources = [_describe(name) for name in _names_of_sources(record)]
    licenses = {source["license"] for source in sources}
    terms = {"license": "other", "license_name": "see-the-table-of-sources"}
    if licenses <= set(SPDX):
        terms = {"license": sorted(SPDX[license] for license in licenses)}
    data = DatasetCardData(
        pretty_name="Retinal keypoints",
        task_categories=["keypoint-detection"],
        tags=["retina", "fundus", "image-registration", "medical"],
        configs=list_configs(folder),
        **terms,
    )
    card = DatasetCard.from_template(
        data,
        template_path=TEMPLATE,
        record=record,
        tables=tables(folder),
        figure=FIGURE if _draw_figure(folder) else None,
        splits=SPLITS,
        counts=_counts(record),
        about=ABOUT,
        columns=COLUMNS,
        sources=sources,
        citations=[source["citation"] for source in sources if source["citation"]],
    )
    (folder / "README.md").write_text(f"{card}\n", encoding="utf-8")


def list_configs(folder: Path) -> list[dict]:
    """Describe the configurations and splits of a folder as `datasets` reads them in a card."""
    there = tables(folder)
    configs: list[dict] = []
    for name in CONFIGURATIONS:
        files = [{"split": split, "path": f"{name}/{split}-*.parquet"} for config, split in there if config == name]
        if files:
            default = {} if configs else {"default": True}
            configs.append({"config_name": name, **default, "data_files": files})
    return configs


def _draw_figure(folder: Path) -> bool:
    """Draw labeled photographs, of every source some, from the splits that nobody trains on where there are any."""
    chosen: dict[str, list] = {}
    for split in ("test", "validation", "train"):
        if table_files(folder, "keypoints", split):
            for row in read_rows(folder, "keypoints", split):
                same = chosen.setdefault(row["source"], [])
                if len(same) < DRAWN:
                    same.append(row)
    if not chosen:
        return False
    in_turn = [rows[k] for k in range(DRAWN) for rows in chosen.values() if k < len(rows)]
    sheet = contact_sheet([decode(row) for row in in_turn[:DRAWN]], columns=3, side=480)
    (folder / FIGURE).parent.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / FIGURE), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    return True


def _names_of_sources(record: dict) -> list[str]:
    """List the sources with at least one row."""
    tables_of_photographs = [splits for config, splits in record["rows"].items() if config != "identity_pairs"]
    return sorted({name for splits in tables_of_photographs for counts in splits.values() for name in counts})


def _describe(name: str) -> dict[str, str]:
    """Say what the card says of a source: title, license, terms, url and citation."""
    if name in SOURCES:
        source = SOURCES[name]
        return {key: getattr(source, key) for key in ("title", "license", "terms", "url", "citation")}
    if name == "rendered":
        license, terms, url = RENDERED_LICENSE, RENDERED_TERMS, "this build"
    else:
        license, terms, url = "unknown", "Photographs of one's own, added by who built the set.", ""
    return {"title": name, "license": license, "terms": terms, "url": url, "citation": ""}


def _counts(record: dict) -> list[tuple[str, str, list[int]]]:
    """List (configuration, source, number of rows in every split)."""
    return [
        (
            config,
            "all" if config == "identity_pairs" else source,
            [splits.get(split, {}).get(source, 0) for split in SPLITS],
        )
        for config, splits in record["rows"].items()
        for source in sorted({name for counts in splits.values() for name in counts})
    ]


__all__ = ["list_configs", "write_card"]
