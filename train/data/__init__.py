"""Photographs, views of them, and what is known about them."""
