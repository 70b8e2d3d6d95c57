"""The log of a run, `log.jsonl`: one line for every few steps and for every validation."""

import json
import os
from pathlib import Path


LOG = "log.jsonl"  # in the folder of the run


def append(folder: str | os.PathLike, values: dict) -> str:
    """Write one line of names and values, floats with five places; return it."""
    line = json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()})
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, LOG), "a") as file:
        file.write(line + "\n")
    return line


def last_validation(log: Path) -> dict:
    """Read the figures of the last validation; empty when there is none, or no log."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    return next((line for line in reversed(lines) if "validation_seconds" in line), {})


def read_curve(log: Path, steps: int | None = None) -> dict:
    """Read the validations of a run: all figures by step (`curve`), and those of step `steps` (`held_out`)."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    # A step that was done again after an interruption stands twice, with the same figures.
    validations = {line["step"]: line for line in lines if "validation_seconds" in line}
    training = {line["step"]: line for line in lines if "total" in line and "step" in line}
    curve = [{"step": k, **{n: v for n, v in validations[k].items() if n != "step"}} for k in sorted(validations)]
    seconds = sum(line["seconds"] for line in training.values())
    return {"curve": curve, "held_out": validations.get(steps, {}), "training_seconds": round(seconds, 1)}


__all__ = ["LOG", "append", "last_validation", "read_curve"]
