"""Every refusal has words, and no visitor's mistake is an error of this program."""

import logging
import traceback

import gradio as gr
from gradio.exceptions import Error


log = logging.getLogger(__name__)
MOST_WORDS = 400  # letters of a refusal
NOT_UNDERSTOOD = 'The request is not what this endpoint takes; "Use via API" at the foot of the page describes it.'


def failed(error: Exception) -> str:
    """Note an error of this program, without what a visitor handed in, and say it to the visitor."""
    # Its message may hold the name of a file, hence the places alone.
    places = "".join(traceback.format_tb(error.__traceback__))
    log.error("A request failed with %s:\n%s", type(error).__name__, places)
    return f"The work failed on our side ({type(error).__name__}); nothing was kept. Please try again."


class GuardedBlocks(gr.Blocks):
    """A page whose every error is a `gr.Error` with a sentence; gradio says nothing of others, and prints them."""

    async def preprocess_data(self, *given, **named):
        """Prepare the inputs of a function."""
        try:
            return await super().preprocess_data(*given, **named)
        except Error as error:
            raise _quiet(error, NOT_UNDERSTOOD) from None
        except Exception:
            raise gr.Error(NOT_UNDERSTOOD, print_exception=False) from None

    async def process_api(self, *given, **named):
        """Run a function."""
        try:
            return await super().process_api(*given, **named)
        except Error as error:
            raise _quiet(error, NOT_UNDERSTOOD) from None
        except Exception as error:
            raise gr.Error(failed(error), print_exception=False) from None


def _quiet(error: Error, words: str) -> Error:
    error.print_exception = False
    # gradio says back what was handed in, however long that is.
    if not 0 < len(error.message or "") <= MOST_WORDS:
        error.message = words
    return error


__all__ = ["GuardedBlocks", "NOT_UNDERSTOOD", "failed"]
