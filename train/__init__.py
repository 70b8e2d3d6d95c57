"""Training of the networks; see README.md in this folder."""
