"""Results on the disk: as long as somebody fetches them, and no longer."""

import asyncio
from datetime import UTC, datetime

import pytest
from starlette.exceptions import HTTPException

from unmingle.serve.metrics import Metrics
from unmingle.serve.separations import Result, Separations
from unmingle.serve.settings import ServeSettings


@pytest.fixture
def separations(separator, tmp_path):
    made = Separations(separator, ServeSettings(), Metrics(), tmp_path)
    yield made
    made.close()


def test_a_result_that_is_on_its_way_outlives_its_removal(separations, tmp_path):
    async def work():
        with separations.place() as folder:
            result = separations._keep(Result(folder.name, folder, "talk", {}, {}, datetime.now(UTC)))
        assert folder.is_dir()
        with separations.lending(result), separations.lending(result):
            separations.remove(result.id)
            assert folder.is_dir()
            assert separations.busy
            with pytest.raises(HTTPException, match="404"):
                separations.find(result.id)
        assert not folder.exists()
        assert not separations.busy
        with pytest.raises(HTTPException, match="404"), separations.lending(result):
            raise AssertionError

    asyncio.run(work())


def test_a_place_without_a_folder_is_given_back(separations, tmp_path):
    separations._folder = tmp_path / "file"
    separations._folder.write_text("in the way")
    for _ in range(20):
        with pytest.raises(HTTPException, match="507"), separations.place():
            raise AssertionError
    assert not separations.busy
    separations._folder.unlink()
    with separations.place() as folder:
        assert folder.is_dir()
