"""From keypoint matches to the transform that the evidence supports, and whether to believe it."""

from .estimator import NO_RELIABLE_MATCH, REGISTERED, Estimate, estimate
from .settings import EstimationSettings


__all__ = ["NO_RELIABLE_MATCH", "REGISTERED", "Estimate", "EstimationSettings", "estimate"]
