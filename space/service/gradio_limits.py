"""Limits that gradio has no option for.

It keeps every part of an upload that is no file in memory, however large, and takes a thousand files at once; of what
agents hand over (MCP) it takes 4 MB, less than two photographs.
"""

from functools import partial

from gradio import route_utils
from gradio.mcp import GradioMCPServer

from ..files.uploads import MOST_FILES
from .body_limit import MOST_MCP


class FilesAlone(route_utils.GradioMultiPartParser):
    """gradio's parser of uploads, which ends at the first part that is no file, or one file too many."""

    def __init__(self, *given, **named):
        super().__init__(*given, **{**named, "max_files": MOST_FILES, "max_fields": 0})


def limit_gradio() -> None:
    """Let gradio take what this page takes."""
    route_utils.GradioMultiPartParser = FilesAlone
    manager = getattr(GradioMCPServer, "StreamableHTTPSessionManager", None)  # none without the package mcp
    if manager is not None and not isinstance(manager, partial):
        GradioMCPServer.StreamableHTTPSessionManager = partial(manager, max_request_body_size=MOST_MCP)


__all__ = ["FilesAlone", "limit_gradio"]
