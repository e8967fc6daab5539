import pytest

from uflow import backend as ms


@pytest.fixture(autouse=True)
def graph_mode():
    """Everything is tested compiled, as it is used."""
    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE)
    yield
    ms.set_context(mode=before)
