"""The types of keypoints, as every part numbers and names them."""

BIFURCATION, CROSSING = 0, 1
TYPE_NAMES = ("bifurcation", "crossing")


__all__ = ["BIFURCATION", "CROSSING", "TYPE_NAMES"]
