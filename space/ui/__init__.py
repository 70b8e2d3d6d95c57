"""What the page shows: its tabs, their parts, and words."""
