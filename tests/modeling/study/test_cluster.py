"""A study on a real cluster of worker processes, which a pair of it kills: the rest is as without."""

import functools
import os

import pytest
from PIL import Image

from retinamatch.study import StudyError, cluster_engine, run_study
from retinamatch.study.work import work_on
from tests.helpers.paths import REPOSITORY
from tests.modeling.study.conftest import in_this_process


dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
pandas = pytest.importorskip("pandas")
DEADLY = "3.png"


def deadly(unit, call):
    """Do a unit of a study; what works on one of its photographs dies."""
    return work_on(unit, functools.partial(_call, call))


def _call(call, function, pair):
    return call(os._exit, 1) if pair.moving.name == DEADLY else call(function, pair)


@pytest.mark.slow
def test_workers_that_die_take_nothing_along(tmp_path, visits, settings, monkeypatch):
    for number in range(6):
        Image.fromarray((visits.moving, visits.fixed)[number % 2].image).save(tmp_path / f"{number}.png")
    lines = [f"{number}.png,{number - 1}.png" for number in range(1, 6)]
    (tmp_path / "pairs.csv").write_text("moving,fixed\n" + "\n".join(lines) + "\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "modeling")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    places = {"local_directory": str(tmp_path / "dask"), "host": "127.0.0.1", "dashboard_address": None}
    # One lost worker is enough to blame a batch here; the default of three takes longer.
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=True, **places) as cluster,
    ):
        engine = cluster_engine(cluster.scheduler_address)

        def run(units, settings, work=work_on):
            return engine(units, settings, deadly)

        study = run_study(tmp_path / "pairs.csv", tmp_path / "cluster", settings, engine=run, thumbnails=0)
    run_study(tmp_path / "pairs.csv", tmp_path / "here", settings, engine=in_this_process, thumbnails=0)
    there, here = (
        pandas.read_parquet(tmp_path / name / "registrations.parquet").set_index("moving").drop(columns="seconds")
        for name in ("cluster", "here")
    )
    assert study.done == 5 and there.loc[DEADLY].status == "failed" and "died" in there.loc[DEADLY].reason
    there, here = (frame.drop(DEADLY).sort_index() for frame in (there, here))
    pandas.testing.assert_frame_equal(there, here, check_dtype=False)  # a row without numbers makes them floats


def test_a_scheduler_that_is_not_there_is_one_sentence(tmp_path, settings, monkeypatch):
    monkeypatch.setattr("retinamatch.study.cluster._SECONDS", 1)
    (tmp_path / "pairs.csv").write_text("moving,fixed\na.png,b.png\n")
    with pytest.raises(StudyError, match="tcp://127.0.0.1:9 is not reached"):
        run_study(tmp_path / "pairs.csv", tmp_path / "out", settings, engine=cluster_engine("tcp://127.0.0.1:9"))
