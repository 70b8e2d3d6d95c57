import os

import cv2
import pytest
from PIL import Image

from datasets_scripts.rendering.fundus import render_visits


pytest.importorskip("gradio", reason="needs gradio: pip install -e '.[space]'")

from retinamatch.extractor import ROOTSIFT
from space.load_test import ask_at_once, held_memory, peak_memory
from space.service.session import CAPACITY, MEMORY
from tests.helpers.space_server import serving


@pytest.mark.slow
def test_twenty_visitors_at_once_are_all_answered_in_order(tmp_path):
    """Without the network, and most photographs show little: `python -m space.load_test` is the whole of it."""
    visits = render_visits(3, size=256, overlap=0.8, difficulty=0.1)
    for name, photo in (("moving", visits.moving.image), ("fixed", visits.fixed.image)):
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
        Image.fromarray(cv2.GaussianBlur(photo, (0, 0), 12)).save(tmp_path / f"blurred_{name}.png")
    clear = tmp_path / "moving.png", tmp_path / "fixed.png"
    blurred = tmp_path / "blurred_moving.png", tmp_path / "blurred_fixed.png"
    pairs = [clear, *[blurred] * 9, clear, *[blurred] * 9]
    with serving() as address:
        load = ask_at_once(address, pairs, ROOTSIFT)
    expected = ["Registered." if pair is clear else "No reliable match:" for pair in pairs]
    assert all(answer.startswith(words) for answer, words in zip(load.answers, expected, strict=True)), load.answers
    assert load.in_order, load.order
    assert len(MEMORY) <= CAPACITY


def test_memory_is_read_where_linux_tells():
    held, most = held_memory(os.getpid()), peak_memory(os.getpid())
    assert (held is None and most is None) or 50 < held <= most < 100_000
    assert held_memory(2**22 + 1) is None and peak_memory(2**22 + 1) is None
