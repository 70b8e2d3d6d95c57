"""Table and plot of an experiment: means and spreads over the seeds, and training against validation loss."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np


FIGURES = {  # title of a column -> figure of the last validation
    "held-out AUC": "auc",
    "registered": "registered",
    "matching score": "matching_score",
    "repeatability": "repeatability",
    "training loss": "train_own",
    "held-out loss": "held_out_own",
}


def summarize(results: list[dict]) -> list[dict]:
    """Group results by fraction and variant.

    Returns:
        One row for each, in the order of their first result: `variant`, `fraction`, `seeds`, `parameters`,
        `labeled_patients`, and title -> (mean, sample standard deviation or None for one seed) in `figures`.
    """
    groups: dict[tuple, list[dict]] = {}
    for result in results:
        groups.setdefault((result["fraction"], result["variant"]), []).append(result)
    rows = []
    for (fraction, variant), group in sorted(groups.items(), key=lambda item: -item[0][0]):
        columns = {title: [r["held_out"].get(name) for r in group] for title, name in FIGURES.items()}
        for level in sorted({row["degrade"] for r in group for row in r["development"]}):
            title = "dev clean" if level == 0 else f"dev degraded {level}"
            columns[title] = [next(x["auc"] for x in r["development"] if x["degrade"] == level) for r in group]
        columns["gap"] = [
            None if None in pair else pair[1] - pair[0]
            for pair in zip(columns["training loss"], columns["held-out loss"], strict=True)
        ]
        rows.append(
            {
                "variant": variant,
                "fraction": fraction,
                "seeds": [r["seed"] for r in group],
                "parameters": group[0]["parameters"],
                "labeled_patients": group[0]["labeled_patients"],
                "training_seconds": float(np.mean([r["training_seconds"] for r in group])),
                "figures": {title: _spread(values) for title, values in columns.items()},
            }
        )
    return rows


def _spread(values: list) -> tuple[float, float | None] | None:
    if any(value is None for value in values):
        return None
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def format_table(rows: list[dict]) -> str:
    """Write the rows as Markdown: mean ± standard deviation over the seeds."""
    titles = list(dict.fromkeys(title for row in rows for title in row["figures"]))
    head = ["labels", "variant", "parameters", "seeds", *titles]
    lines = [" | ".join(["", *head, ""]).strip(), "| " + " | ".join(["---"] * len(head)) + " |"]
    for row in rows:
        cells = [
            f"{100 * row['fraction']:.0f} % ({row['labeled_patients']})",
            row["variant"],
            f"{row['parameters']:,}",
            str(len(row["seeds"])),
            *(_cell(row["figures"].get(title)) for title in titles),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(figure: tuple[float, float | None] | None) -> str:
    if figure is None:
        return ""
    mean, spread = figure
    return f"{mean:.3f}" if spread is None else f"{mean:.3f} ± {spread:.3f}"


def write_report(results: list[dict], config, folder: Path) -> list[Path]:
    """Write `results.json`, `table.md`, and `losses.png` where matplotlib is installed; return what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = summarize(results)
    training = asdict(config.training)
    about = {"seeds": config.seeds} | {name: training[name] for name in ("teacher", "steps", "batch_size", "views")}
    written = [folder / "results.json", folder / "table.md"]
    written[0].write_text(json.dumps({"about": about, "rows": rows, "cells": results}, indent=2))
    written[1].write_text(format_table(rows))
    try:
        import matplotlib
    except ImportError:  # a machine that only trains: draw later, with --table-only
        return written
    matplotlib.use("Agg")
    draw_losses(results, folder / "losses.png")
    return [*written, folder / "losses.png"]


def draw_losses(results: list[dict], path: Path) -> None:
    """Draw training (dashed) and held-out (solid) loss over the steps, means over the seeds, one panel a fraction."""
    from matplotlib import pyplot

    fractions = sorted({r["fraction"] for r in results}, reverse=True)
    variants = list(dict.fromkeys(r["variant"] for r in results))
    figure, axes = pyplot.subplots(
        1, len(fractions), figsize=(5.2 * len(fractions) + 2, 4.4), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, fraction in zip(axes[0], fractions, strict=True):
        for number, variant in enumerate(variants):
            runs = [r["curve"] for r in results if (r["fraction"], r["variant"]) == (fraction, variant)]
            steps = sorted(set.intersection(*({point["step"] for point in run} for run in runs))) if runs else []
            if not steps:
                continue
            for name, style in (("train_own", "--"), ("held_out_own", "-")):
                means = [np.mean([p.get(name, np.nan) for run in runs for p in run if p["step"] == k]) for k in steps]
                label = variant if name == "held_out_own" else None
                axis.plot(steps, means, style, color=f"C{number}", label=label, linewidth=1.4, marker=".")
        axis.set(title=f"{100 * fraction:.0f} % of the labeled patients", xlabel="step")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("own losses, weighted sum")
    styles = {"training": "--", "held out": "-"}
    handles = [pyplot.Line2D([], [], color="black", linestyle=style, label=name) for name, style in styles.items()]
    known, _ = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles=[*known, *handles], loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


__all__ = ["draw_losses", "format_table", "summarize", "write_report"]
