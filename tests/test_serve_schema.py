"""The service against its own OpenAPI document: what fits it and what does not, made by schemathesis."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from hostile_service import RunningService, running_service
from openblip.serve.app import create_app
from openblip.serve.settings import ServeSettings
from photos import photo, saved

PICTURES = [saved(photo(seed=seed), kind) for seed, kind in enumerate(("JPEG", "PNG", "GIF", "WEBP"))]
DOCUMENT = create_app(ServeSettings(cache_url="none"), load=lambda name: pytest.fail("it is only described")).openapi()
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
POSTS = [path for path, method in OPERATIONS if method == "post"]
GOOD, BAD = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
CASES = [*((path, method, GOOD) for path, method in OPERATIONS), *((path, "post", BAD) for path in POSTS)]
SELDOM_RIGHT = (  # what fits by kind does not by meaning
    "/v1/analyze", "/v1/chat/completions", "/v1/models/{name}", "/v1/search", "/v1/images", "/v1/images/{id}",
    "/v1/images/{id}/thumbnail", "/v1/images/{id}/picture",
)  # fmt: skip
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
    checks.allow_header_conformance,
]

schemathesis.openapi.format("binary", st.sampled_from(PICTURES))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("schema")
    with running_service(folder, threads=1, library=folder / "photos.lance") as service:
        yield service


@pytest.fixture(scope="module")
def document(service: RunningService) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/openapi.json")


def test_the_service_is_the_one_described(document: schemathesis.BaseSchema) -> None:
    assert document.raw_schema == DOCUMENT
    assert set(POSTS) >= {"/v1/caption", "/v1/answer", "/v1/match", "/v1/embed", "/v1/analyze"}


@pytest.mark.parametrize(("path", "method", "mode"), CASES, ids=[f"{path}-{mode}" for path, _, mode in CASES])
def test_answers_are_as_documented(
    service: RunningService, document: schemathesis.BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    statuses = run(service, document, path, method, mode, examples=30)
    if mode is GOOD and path not in SELDOM_RIGHT:
        assert statuses[200], statuses


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GOOD, BAD], ids=str)
@pytest.mark.parametrize("path", POSTS)
def test_many_answers_are_as_documented(
    service: RunningService, document: schemathesis.BaseSchema, path: str, mode: GenerationMode
) -> None:
    run(service, document, path, "POST", mode, examples=600)


def meaningful(case: Any) -> None:
    """Real pictures in the place of texts that say nothing, and the model that is served: the document cannot say which
    are, and a name made by chance is refused."""
    if isinstance(case.body, dict):
        case.body = {key: value for key, value in case.body.items() if key != "model"}
        if case.media_type == "application/json" and "images" in case.body:
            given = [b64encode(data).decode() for data in PICTURES]
            case.body["images"] = given[: len(case.body["images"])] or given


def run(
    service: RunningService,
    document: schemathesis.BaseSchema,
    path: str,
    method: str,
    mode: GenerationMode,
    *,
    examples: int,
) -> Counter[int]:
    """Send so many requests, and check their answers. Returns how often each status came."""
    statuses: Counter[int] = Counter()

    with requests.Session() as session:

        @given(case=document[path][method].as_strategy(generation_mode=mode))
        @settings(
            max_examples=examples,
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        def check(case: Any) -> None:
            if mode is GOOD:
                meaningful(case)
            as_json = case.media_type == "application/json"  # in a form all is text, and nothing of a wrong type
            more = [checks.negative_data_rejection] if as_json else []
            response = case.call_and_validate(session=session, checks=CHECKS + more, timeout=20)
            statuses[response.status_code] += 1

        check()
    service.check_health()
    return statuses
