"""Files that come in and go out: checked, cleaned, kept for a while, limited."""
