from functools import partial

import pytest

from datasets_scripts.assembly.workers import Workers


@pytest.mark.slow
def test_results_come_in_order_from_processes_that_watch_their_parent():
    names = "[thread.name for thread in __import__('threading').enumerate()]"
    with Workers(2) as pool:
        assert list(pool.run([partial(int, number) for number in range(20)])) == list(range(20))
        assert "end_with_parent" in pool.start(partial(eval, names))()
