"""What the tests of the API share: one server for those that only read."""

from collections.abc import Iterator

import pytest

from tests.api.premises import Premises, premises, until


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Premises]:
    """Serve a shop whose one task has ended; nothing of it is changed."""
    with premises(tmp_path_factory.mktemp("shop")) as found:
        token = found.token("viewer")
        until(lambda: found.get("/tasks/1", token).expect(200)["task"]["state"] == "succeeded", "the end of the task")
        until(lambda: found.get("/conditions", token).expect(200)["conditions"][0]["status"], "readiness")
        yield found
