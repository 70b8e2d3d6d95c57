"""The work behind page and endpoints, and what a session remembers."""
