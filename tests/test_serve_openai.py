"""OpenAI's routes, asked by OpenAI's own client, against the same model in this process."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import math
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip import Blip, GenerateOptions
from openblip.serve.events import CaptionEvents
from openblip.serve.openai.chat import Asked
from openblip.serve.openai.routes import chunk_of
from openblip.serve.problems import ProblemError
from openblip.types import CaptionPiece
from serving import Server, serving, whole_model

QUESTION = "what is on the table"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def server(mini: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("service"), "--model", f"mini,{tiny}") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def blip(mini: Path) -> Blip:
    return Blip.load("mini")


@pytest.fixture(scope="module")
def cup(samples: list[Path]) -> Path:
    [found] = [photo for photo in samples if photo.stem == "coffee"]
    return found


def data_url(photo: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(photo.read_bytes()).decode()}"


def user(*parts: str | Path) -> Any:
    """A user's message of texts and pictures."""
    return {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": data_url(part), "detail": "low"}}
            if isinstance(part, Path)
            else {"type": "text", "text": part}
            for part in parts
        ],
    }


def system(text: str) -> Any:
    return {"role": "system", "content": text}


def assistant(text: str) -> Any:
    return {"role": "assistant", "content": text}


def refusal(call: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        call()
    return caught.value


def test_a_picture_alone_is_captioned(client: openai.OpenAI, blip: Blip, cup: Path) -> None:
    [expected] = blip.caption(cup)
    found = client.chat.completions.create(model="mini", messages=[user(cup)], logprobs=True)
    [choice] = found.choices
    assert (choice.message.content, choice.message.role) == (expected.text, "assistant")
    assert choice.finish_reason == "stop"
    assert choice.logprobs is not None
    shown = choice.logprobs.content or []
    assert [each.token for each in shown] == list(expected.tokens)
    assert [math.exp(each.logprob) for each in shown] == pytest.approx(expected.token_probabilities, rel=1e-3)
    assert bytes(shown[0].bytes or []).decode() == expected.tokens[0]
    assert found.model == "mini"
    assert found.system_fingerprint == blip.part("caption").revision
    assert found.usage is not None
    pictures = blip.part("caption").config.vision.tokens
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (pictures + 1, len(expected.tokens))
    assert found.usage.total_tokens == pictures + 1 + len(expected.tokens)
    again = client.chat.completions.create(model="mini", messages=[user("Describe this image.", cup)])
    assert again.choices[0].message.content == expected.text
    assert again.choices[0].logprobs is None
    assert again.model_extra is not None
    assert (again.model_extra["openblip"]["task"], again.model_extra["openblip"]["cached"]) == ("caption", True)


def test_a_question_is_answered(client: openai.OpenAI, blip: Blip, cup: Path) -> None:
    [expected] = blip.answer(cup, QUESTION)
    found = client.chat.completions.create(model="mini", messages=[system("Be brief."), user(cup, QUESTION)])
    assert found.choices[0].message.content == expected.text
    assert found.model_extra is not None
    assert found.model_extra["openblip"]["task"] == "answer"
    assert found.usage is not None
    part = blip.part("answer")
    read = len(part.tokenizer.caption_prompt(QUESTION)) - 1 + 2 + part.config.vision.tokens
    assert found.usage.prompt_tokens == read
    assert found.usage.completion_tokens == len(part.tokenizer.caption_prompt(expected.text)) - 1 + 1


def test_the_assistants_beginning_is_the_prompt(client: openai.OpenAI, blip: Blip, cup: Path) -> None:
    [expected] = blip.caption(cup, "a picture of")
    for messages in ([user(cup), assistant("a picture of")], [user("Caption it", cup), assistant("a picture of ")]):
        found = client.chat.completions.create(model="mini", messages=messages)
        assert found.choices[0].message.content == expected.text
        assert expected.text.startswith("a picture of")


def test_a_conversation_is_its_last_words_and_its_last_picture(
    client: openai.OpenAI, blip: Blip, cup: Path, samples: list[Path]
) -> None:
    other = next(photo for photo in samples if photo != cup)
    messages = [user(other, "what animal is this"), assistant("a cat"), user(cup), assistant("hm"), user(QUESTION)]
    found = client.chat.completions.create(model="mini", messages=messages)
    assert found.choices[0].message.content == blip.answer(cup, QUESTION)[0].text
    messages = [user(other, QUESTION), assistant("a cat"), user(cup)]
    found = client.chat.completions.create(model="mini", messages=messages)
    assert found.choices[0].message.content == blip.answer(cup, QUESTION)[0].text


@pytest.mark.parametrize(
    ("text", "is_question"),
    [
        ("", False),
        ("Describe this image.", False),
        ("please describe the picture", False),
        ("Can you describe what you see?", False),
        ("Could you please caption this?", False),
        ("Caption this image", False),
        ("Write a short caption for this photo.", False),
        ("Generate alt text for a web page", False),
        ("give me one\ndetailed description", False),
        ("What is in this image?", True),
        ("what colour is the captioned sign", True),
        ("Write down the number on the shirt", True),
        ("described by whom?", True),
        ("How many people are there", True),
    ],
)
def test_what_is_a_question(text: str, is_question: bool) -> None:
    assert Asked(b"", text, "").is_question is is_question


@given(st.text())
def test_any_text_is_one_or_the_other(text: str) -> None:
    assert Asked(b"", text, "").is_question in (True, False)
    assert Asked(b"", f"Describe {text}", "").is_question is False


def test_texts_are_drawn_where_temperature_says_so(client: openai.OpenAI, blip: Blip, cup: Path) -> None:
    options = GenerateOptions(sample=True, num_beams=1, top_p=1.0, temperature=1.5, seed=7, num_return=3)
    [expected] = blip.captions(cup, options=options)
    found = client.chat.completions.create(model="mini", messages=[user(cup)], temperature=1.5, seed=7, n=3)
    assert [choice.message.content for choice in found.choices] == [each.text for each in expected]
    assert [choice.index for choice in found.choices] == [0, 1, 2]
    assert len({each.text for each in expected}) > 1
    still = client.chat.completions.create(model="mini", messages=[user(cup)], temperature=0, top_p=1, seed=9)
    assert still.choices[0].message.content == blip.caption(cup)[0].text


def test_n_without_temperature_gives_the_best_of_the_search(client: openai.OpenAI, blip: Blip, cup: Path) -> None:
    [expected] = blip.captions(cup, options=GenerateOptions(num_beams=4, num_return=4))
    found = client.chat.completions.create(model="mini", messages=[user(cup)], n=4)
    assert [choice.message.content for choice in found.choices] == [each.text for each in expected]
    assert found.usage is not None
    assert found.usage.completion_tokens == sum(len(each.tokens) for each in expected)


def test_the_number_of_tokens_is_bounded(client: openai.OpenAI, cup: Path) -> None:
    for given_ in ({"max_tokens": 2}, {"max_completion_tokens": 2, "max_tokens": 9}):
        found = client.chat.completions.create(model="mini", messages=[user(cup), assistant("a photo")], **given_)
        assert found.choices[0].finish_reason == "length"
        assert found.usage is not None
        assert found.usage.completion_tokens == 2
        assert len(str(found.choices[0].message.content).split()) <= 4
    answered = client.chat.completions.create(model="mini", messages=[user(cup, QUESTION)], max_tokens=1)
    assert answered.choices[0].finish_reason == "length"
    assert answered.usage is not None
    assert answered.usage.completion_tokens == 1
    far = client.chat.completions.create(model="mini", messages=[user(cup)], max_tokens=100_000)
    assert far.choices[0].finish_reason == "stop"


def test_a_long_beginning_leaves_room(client: openai.OpenAI, cup: Path) -> None:
    beginning = "a photo of a cup on a table beside a spoon and a plate and a knife and a fork and"
    found = client.chat.completions.create(model="mini", messages=[user(cup), assistant(beginning)])
    assert str(found.choices[0].message.content).startswith(beginning)
    assert len(str(found.choices[0].message.content)) > len(beginning)


def test_a_caption_is_streamed(client: openai.OpenAI, blip: Blip, cup: Path) -> None:
    [expected] = blip.caption(cup, options=GenerateOptions(num_beams=1))
    stream = client.chat.completions.create(
        model="mini", messages=[user(cup)], stream=True, stream_options={"include_usage": True}, logprobs=True
    )
    chunks = list(stream)
    *pieces, end, usage = chunks
    assert len(pieces) > 2
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == expected.text
    assert [piece.choices[0].delta.role for piece in pieces] == ["assistant"] + [None] * (len(pieces) - 1)
    tokens = [each.token for piece in pieces for each in (piece.choices[0].logprobs or no_logprobs()).content or []]
    assert tokens == list(expected.tokens)
    assert [piece.choices[0].finish_reason for piece in [*pieces, end]] == [None] * len(pieces) + ["stop"]
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.completion_tokens == len(expected.tokens)
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}


def no_logprobs() -> Any:
    return openai.types.chat.chat_completion_chunk.ChoiceLogprobs(content=[])


def test_an_answer_is_streamed_in_one_piece(client: openai.OpenAI, blip: Blip, cup: Path) -> None:
    pieces = list(client.chat.completions.create(model="mini", messages=[user(cup, QUESTION)], stream=True))
    assert [piece.choices[0].delta.content for piece in pieces] == [blip.answer(cup, QUESTION)[0].text, None]
    assert pieces[-1].choices[0].finish_reason == "stop"
    assert pieces[0].usage is None


def test_a_stream_ends_with_done(server: Server, cup: Path) -> None:
    for parts in ((cup,), (cup, QUESTION)):
        body = json.dumps({"model": "mini", "messages": [user(*parts)], "stream": True})
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        assert str(answer.headers["content-type"]).startswith("text/event-stream")
        lines = answer.read().decode().split("\n\n")
        connection.close()
        assert lines[-2:] == ["data: [DONE]", ""]
        assert all(line.startswith("data: {") for line in lines[:-2])


def test_what_fails_within_a_stream_is_an_error_to_the_client() -> None:
    async def pieces() -> AsyncIterator[CaptionPiece]:
        yield CaptionPiece("a", ("a",), (0.5,))
        raise ProblemError(504, "timeout", "it took longer than 1 s")

    async def nothing() -> None: ...

    async def sent() -> bytes:
        events = CaptionEvents(pieces(), nothing, lambda piece: b"piece;", b"end", chunk_of)
        return b"".join([bytes(each) async for each in events.body_iterator])

    piece, _, rest = asyncio.run(sent()).partition(b";")
    assert (piece, rest[-3:]) == (b"piece", b"end")
    error = json.loads(rest[:-3].decode().removeprefix("data: "))["error"]
    assert (error["message"], error["type"], error["code"]) == ("it took longer than 1 s", "server_error", "timeout")


def test_another_model_is_asked_by_its_name(client: openai.OpenAI, tiny: Path, cup: Path) -> None:
    listed = client.models.list().data
    assert [model.id for model in listed] == ["mini", str(tiny)]
    assert {model.owned_by for model in listed} == {"openblip"}
    found = client.chat.completions.create(model=str(tiny), messages=[user(cup)])
    assert found.model == str(tiny)
    assert found.choices[0].message.content == Blip.load(tiny).caption(cup)[0].text
    one = client.models.retrieve(str(tiny))
    assert one.model_extra is not None
    assert one.model_extra["loaded"] is True
    assert one.model_extra["revision"] == found.system_fingerprint


def test_embeddings_are_those_of_python(client: openai.OpenAI, blip: Blip, cup: Path) -> None:
    inputs = ["a cup of coffee", data_url(cup), "a dog on a beach"]
    expected = np.stack([blip.embed_texts(inputs[0])[0], blip.embed_images(cup)[0], blip.embed_texts(inputs[2])[0]])
    plain = client.embeddings.create(model="mini", input=inputs, encoding_format="float")
    packed = client.embeddings.create(model="mini", input=inputs)  # as base64, which the client unpacks
    for found in (plain, packed):
        assert [each.index for each in found.data] == [0, 1, 2]
        np.testing.assert_allclose([each.embedding for each in found.data], expected, atol=2e-3)
    np.testing.assert_allclose(plain.data[1].embedding, packed.data[1].embedding, atol=1e-6)
    [lone] = client.embeddings.create(model="mini", input=inputs[0], dimensions=expected.shape[1]).data
    np.testing.assert_allclose(lone.embedding, expected[0], atol=2e-3)
    part = blip.part("embed")
    texts = part.tokenizer.encode_unimodal([inputs[0], inputs[2]], 512).lengths.sum()
    assert plain.usage.prompt_tokens == texts + part.config.vision.tokens


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
