import pytest

from tests.data.grays import MAKERS


@pytest.fixture(params=MAKERS, scope="module")
def source(request, tmp_path_factory):
    """The same images as a source of each kind."""
    return MAKERS[request.param](tmp_path_factory.mktemp("source"))
