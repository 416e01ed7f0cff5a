"""What OpenAI's routes refuse, and how they say so to its own client."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import openai
import pytest
from openai_asking import assistant, data_url, refusal, user

from openblip import Blip
from serving import Server, serving

QUESTION = "what is on the table"


@pytest.mark.parametrize(
    ("given_", "param", "says"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "calls no tools"),
        ({"response_format": {"type": "json_object"}}, "response_format", "plain text"),
        ({"modalities": ["text", "audio"]}, "modalities", "writes text"),
        ({"stop": ["."]}, "stop", "end by themselves"),
        ({"logit_bias": {"3": 1}}, "logit_bias", "not applied"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "not applied"),
        ({"presence_penalty": -0.5}, "presence_penalty", "not applied"),
        ({"logprobs": True, "top_logprobs": 3}, "top_logprobs", "chosen"),
        ({"n": 17}, "n", "at most 16"),
        ({"n": 2, "stream": True}, "n", "one text"),
        ({"temperature": 2.5}, "temperature", "less than or equal to 2"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": [{"role": "user", "content": "hello"}]}, "messages", "no picture"),
    ],
)
def test_what_blip_cannot_do_is_said(
    client: openai.OpenAI, cup: Path, given_: dict[str, Any], param: str, says: str
) -> None:
    call: Any = client.chat.completions.create
    error = refusal(lambda: call(**{"model": "mini", "messages": [user(cup)], **given_}))
    assert (error.status_code, error.param, error.type) == (422, param, "invalid_request_error")
    assert isinstance(error.body, dict)
    assert says in error.body["message"]
    assert "\n" not in error.body["message"]


def test_what_a_question_cannot_have(client: openai.OpenAI, cup: Path) -> None:
    create: Any = client.chat.completions.create
    for given_, param in (({"n": 2}, "n"), ({"logprobs": True}, "logprobs")):
        error = refusal(lambda given_=given_: create(model="mini", messages=[user(cup, QUESTION)], **given_))
        assert (error.status_code, error.param) == (422, param)
    error = refusal(lambda: create(model="mini", messages=[user(cup, QUESTION), assistant("it is")]))
    assert (error.status_code, error.param) == (422, "messages")


def test_harmless_parameters_are_ignored(client: openai.OpenAI, blip: Blip, cup: Path) -> None:
    found = client.chat.completions.create(
        model="mini", messages=[user(cup)], user="me", store=False, metadata={"a": "b"}, frequency_penalty=0,
        presence_penalty=0, parallel_tool_calls=False, tools=[], tool_choice="none", service_tier="auto", stop=[],
        response_format={"type": "text"}, logit_bias={}, extra_body={"not_yet_known": 1},
    )  # fmt: skip
    assert found.choices[0].message.content == blip.caption(cup)[0].text


def test_messages_that_cannot_be_used(client: openai.OpenAI, cup: Path, samples: list[Path]) -> None:
    def call(*messages: Any) -> openai.APIStatusError:
        return refusal(lambda: client.chat.completions.create(model="mini", messages=list(messages)))

    def url(address: str) -> Any:
        return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": address}}]}

    assert "2 pictures" in call(user(cup, samples[0], "which is it")).message
    assert "tools" in call(user(cup), {"role": "tool", "tool_call_id": "1", "content": "x"}).message
    assert "addresses are not fetched" in call(url("https://example.org/a.jpg")).message
    assert "data URL" in call(url("data:image/png,abc")).message
    assert "'input_audio'" in call({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}).message
    broken = call(url("data:image/png;base64,AAAA"))
    assert (broken.status_code, broken.code) == (422, "image")
    assert (call(user(cup, "w" * 2001)).status_code, call(user(cup, "w" * 2001)).code) == (422, "text")
    assert call(user(cup), assistant("w " * 600)).code == "option"


def test_errors_have_openais_form(client: openai.OpenAI, server: Server, cup: Path) -> None:
    error = refusal(lambda: client.chat.completions.create(model="gpt", messages=[user(cup)]))
    assert isinstance(error, openai.NotFoundError)
    assert (error.code, error.type, error.param) == ("model_not_found", "not_found_error", None)
    assert refusal(lambda: client.models.retrieve("gpt")).code == "model_not_found"
    assert refusal(lambda: client.embeddings.create(model="gpt", input="a")).code == "model_not_found"
    assert error.request_id
    for body, kind, status in ((b"{", "application/json", 400), (b"a", "text/plain", 415)):
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        connection.request("POST", "/v1/chat/completions", body, {"content-type": kind})
        answer = connection.getresponse()
        found = json.loads(answer.read())
        connection.close()
        assert answer.status == status
        assert answer.headers["content-type"] == "application/json"
        assert set(found["error"]) == {"message", "type", "param", "code"}
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/v1/models", headers={f"x-{number}": "1" for number in range(120)})
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (431, "http")
    connection.close()
    status_, plain = server.get("/v1/elsewhere")
    assert (status_, json.loads(plain)["status"]) == (404, 404)  # not OpenAI's route: problem details


def test_embeddings_that_cannot_be_had(client: openai.OpenAI, cup: Path) -> None:
    create: Any = client.embeddings.create
    for given_, param, code in (
        ({"input": [1, 2, 3]}, "input", "invalid"),
        ({"input": []}, "input", "invalid"),
        ({"input": "a cat", "dimensions": 3}, "dimensions", "unsupported"),
        ({"input": ["a cat", " "]}, None, "text"),
        ({"input": ["a cat"] * 65}, None, "too_many"),
        ({"input": [data_url(cup)] * 17}, None, "too_many"),
        ({"input": "data:image/png;base64,AAAA"}, None, "image"),
        ({"input": "data:image/png;base64,?"}, "input", "invalid"),
    ):
        error = refusal(lambda given_=given_: create(model="mini", **given_))
        assert (error.status_code, error.param, error.code) == (422, param, code), given_


def test_a_full_service_says_when_to_come_back(mini: Path, tmp_path: Path, cup: Path) -> None:
    with serving(tmp_path, settings={"OPENBLIP_MAX_UPLOAD_BYTES": "1000"}) as small:
        client = openai.OpenAI(base_url=f"{small.url}/v1", api_key="none", max_retries=0)
        error = refusal(lambda: client.chat.completions.create(model="mini", messages=[user(cup)]))
        assert isinstance(error, openai.RateLimitError)
        assert (error.code, error.type) == ("busy", "rate_limit_error")
        assert int(error.response.headers["retry-after"]) >= 1
        assert client.embeddings.create(model="mini", input="a cat").data


def test_the_requests_are_counted(server: Server, client: openai.OpenAI, cup: Path) -> None:
    sample = 'openblip_requests_total{route="/v1/chat/completions",status="200"}'
    before = server.counted(sample)
    client.chat.completions.create(model="mini", messages=[user(cup)])
    assert server.counted(sample) == before + 1
    assert server.counted("openblip_requests_in_hand") == 0


def test_the_document_describes_them(server: Server) -> None:
    document = json.loads(server.get("/openapi.json")[1])
    body = document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/ChatRequest"}
    used = {each for each in json.dumps(document).split('"') if each.startswith("#/components/schemas/")}
    assert used - {f"#/components/schemas/{name}" for name in document["components"]["schemas"]} == set()
