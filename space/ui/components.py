"""gradio's components for files, so that what is handed in is neither decoded nor fetched by gradio itself.

gradio writes a file components.pyi beside this one when it is imported.
"""

import gradio as gr
from gradio.data_classes import FileData, ListFiles
from gradio_client.utils import is_http_url_like

from ..files.uploads import Upload, named


class _LocalFilesOnly:
    """A component that does not fetch addresses: this server asks nobody, and limits hold for what is uploaded."""

    def move_resource_to_block_cache(self, url_or_file_path):
        _refuse_address(url_or_file_path)
        return super().move_resource_to_block_cache(url_or_file_path)

    async def async_move_resource_to_block_cache(self, url_or_file_path):
        _refuse_address(url_or_file_path)
        return await super().async_move_resource_to_block_cache(url_or_file_path)


def _refuse_address(path) -> None:
    if path is not None and is_http_url_like(str(path)):
        raise gr.Error(
            "Addresses of other computers are not fetched; upload the photograph itself.", print_exception=False
        )


def _take_payload(payload: FileData) -> Upload:
    if not payload.path:  # pictures written into the request itself would pass by the limits
        raise gr.Error("A photograph is handed in as an uploaded file.", print_exception=False)
    return named(payload.path, payload.orig_name)


class Photograph(_LocalFilesOnly, gr.Image):
    """A gr.Image of type "filepath" that gives an `Upload` as it is; gradio would decode it."""

    def get_block_name(self) -> str:
        return "image"

    def preprocess(self, payload) -> Upload | None:
        return None if payload is None else _take_payload(payload)


class Photographs(_LocalFilesOnly, gr.File):
    """A gr.File with file_count "multiple", which gives a list of `Upload`."""

    def get_block_name(self) -> str:
        return "file"

    def preprocess(self, payload) -> list[Upload] | None:
        if payload is None:
            return None
        files = payload.root if isinstance(payload, ListFiles) else [payload]
        return [_take_payload(file) for file in files]


class Number(gr.Number):
    """A gr.Number that gives what was handed in as it is: it is checked, and refused in words, where it is used."""

    def get_block_name(self) -> str:
        return "number"

    def preprocess(self, payload):
        return payload


__all__ = ["Number", "Photograph", "Photographs"]
