"""OpenAI's routes, asked by OpenAI's own client, against the same model in this process."""

from __future__ import annotations

import asyncio
import http.client
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_asking import assistant, data_url, system, user

from openblip import Blip, GenerateOptions
from openblip.serve.events import CaptionEvents
from openblip.serve.openai.chat import Asked
from openblip.serve.openai.routes import chunk_of
from openblip.serve.problems import ProblemError
from openblip.types import CaptionPiece
from serving import Server

QUESTION = "what is on the table"


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
