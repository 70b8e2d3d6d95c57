"""From keypoint matches to the transform that the evidence supports, and whether to believe it."""

from .estimator import Estimate, estimate
from .settings import EstimationSettings


__all__ = ["Estimate", "EstimationSettings", "estimate"]
