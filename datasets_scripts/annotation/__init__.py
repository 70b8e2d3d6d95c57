"""The page on which people set keypoints by hand, and how far two of them agree."""
