"""Rendered fundus photographs: eyes drawn by a seed, photographed with exact geometry."""

RENDERED_LICENSE = "Apache-2.0"  # that of the code which draws them


__all__ = ["RENDERED_LICENSE"]
