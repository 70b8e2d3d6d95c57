"""Rendered fundus photographs: eyes drawn by a seed, photographed with exact geometry."""
