"""The API does what its description says, also when it is asked for what nobody would ask for."""

from collections.abc import Callable
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.premises import premises

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
EXAMPLES = 6
"""Of each operation and kind of request; there are some thirty operations."""


@pytest.mark.timeout(100)
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")  # schemathesis draws so itself
def test_no_request_of_its_shape_or_of_another_breaks_the_api(tmp_path: Path) -> None:
    with premises(tmp_path) as found:
        token = found.token("administrator")
        schema = schemathesis.openapi.from_url(f"{found.url}/api/openapi.json")
        for result in schema.get_all_operations():
            operation = result.ok()
            if operation.path.endswith("/stream"):
                continue  # the audit's has no end; both are shown elsewhere
            for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
                given(case=operation.as_strategy(generation_mode=mode))(BOUNDED(caller(token, mode)))()


BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def caller(token: str, mode: schemathesis.GenerationMode) -> Callable[[schemathesis.Case], None]:
    """Return what sends a request and checks the answer; what is well-formed goes to the space that is there."""

    def call(case: schemathesis.Case) -> None:
        if "space" in case.path_parameters and mode is schemathesis.GenerationMode.POSITIVE:
            case.path_parameters["space"] = "shop"
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)

    return call
