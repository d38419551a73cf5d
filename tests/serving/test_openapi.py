"""The whole application keeps to what its OpenAPI document says, whatever is sent to it."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import schemathesis
import schemathesis.openapi
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.internal.conjecture.utils import many
from langserve.lzstring import LZString
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks

from tests.serving.served import Site, new_thread

# Those left out: `positive_data_acceptance`, as a form cannot say which plans have a cycle, or which workers
# there are; and those for links between operations, of which there are none.
load_all_checks()
LZ: Any = LZString  # which has no types
CHECKS: list[Any] = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
    checks.ignored_auth,
]


def _more(self: Any) -> bool:
    """As it was in older versions of Hypothesis, for hypothesis-jsonschema."""
    if not hasattr(self, "elements"):
        self.elements = iter(self.__enter__())
    for _ in self.elements:
        return True
    self.__exit__(None, None, None)
    return False


@pytest.fixture
def older_hypothesis(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(many, "more"):
        monkeypatch.setattr(many, "more", _more, raising=False)


@pytest.fixture
def document(place: Site) -> Iterator[dict[str, Any]]:
    """The document, with a few values for what is in paths: hardly any text is the id of a thread."""
    with place.client("token") as client:
        found = client.get("/openapi.json").json()
        chosen = LZ.compressToEncodedURIComponent('{"configurable": {"run_calls": 9}}')
        values = {
            "thread": [new_thread(client), new_thread(client), "0" * 32],
            "name": ["extract", "write"],
            "config_hash": [chosen, "N4Xyz"],
        }
        for operations in found["paths"].values():
            for operation in operations.values():
                # Either of two ways to say who one is does; schemathesis takes both for needed.
                if "security" in operation:
                    operation["security"] = [way for way in operation["security"] if "HTTPBearer" in way]
                for parameter in operation.get("parameters", ()):
                    if parameter["in"] == "path":
                        parameter["schema"] = {"type": "string", "enum": values[parameter["name"]]}
        yield found


def _allowed(error: BaseException) -> bool:
    # HTTP lets anything stand in a query, and no document says that it may not.
    return "in query - violates `additionalProperties`" in str(error)


def problems(operation: Any, mode: GenerationMode, call: Callable[[Any], None]) -> Iterator[str]:
    """What is wrong with the answers to a few requests."""
    found: list[str] = []

    def check(case: Any) -> None:
        try:
            call(case)
        except BaseExceptionGroup as group:
            found.extend(f"{operation.label}: {error}" for error in group.exceptions if not _allowed(error))

    few = settings(
        max_examples=1 if "{config_hash}" in operation.path else 3,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    try:
        few(given(case=operation.as_strategy(generation_mode=mode))(check))()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # nothing is asked for that could be wrong
    yield from found


# schemathesis has a form of its own for addresses of mail, which hypothesis-jsonschema warns of.
@pytest.mark.filterwarnings("ignore:Overriding standard format")
@pytest.mark.usefixtures("older_hypothesis")
def test_what_it_answers_is_what_it_says(place: Site, document: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {place.keys['token']}"}
    wrong: Counter[str] = Counter()
    with requests.Session() as session:
        session.trust_env = False

        def call(case: Any) -> None:
            case.call_and_validate(
                base_url=place.url, session=session, headers=headers, checks=CHECKS, timeout=20
            )

        found: Iterator[Any] = schemathesis.openapi.from_dict(document).get_all_operations()
        for operation in (each.ok() for each in found):
            for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
                wrong.update(problems(operation, mode, call))
    assert not wrong, "\n".join(f"{count} times {said}" for said, count in wrong.items())
