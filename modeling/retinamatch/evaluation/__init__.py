"""Figures that say how good registration is: FIRE, identity, impostors, and photographs made worse."""

from .degradation import degrade
from .fire import FirePair, area_under_curve, compare_on_fire, evaluate_fire, read_fire, summarize
from .identity import evaluate_identity, read_people
from .impostors import impostors_table, judge_impostors, list_eyes, summarize_impostors


__all__ = [
    "FirePair",
    "area_under_curve",
    "compare_on_fire",
    "degrade",
    "evaluate_fire",
    "evaluate_identity",
    "impostors_table",
    "judge_impostors",
    "list_eyes",
    "read_fire",
    "read_people",
    "summarize",
    "summarize_impostors",
]
