"""From a photograph and its vessel map or annotation to keypoints, and how good they are."""
