"""Uploads hold files alone, and few of them.

gradio keeps every part that is no file in memory, however large, and takes a thousand files at once.
"""

from gradio import route_utils

from ..files.uploads import MOST_FILES


class FilesAlone(route_utils.GradioMultiPartParser):
    """gradio's parser of uploads, which ends at the first part that is no file, or one file too many."""

    def __init__(self, *given, **named):
        super().__init__(*given, **{**named, "max_files": MOST_FILES, "max_fields": 0})


def take_files_alone() -> None:
    """Let gradio parse uploads so."""
    route_utils.GradioMultiPartParser = FilesAlone


__all__ = ["FilesAlone", "take_files_alone"]
