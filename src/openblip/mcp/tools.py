"""class Tools: what an assistant may ask of a model, a method each, and the table of their names.

Knows the model, the folders that are allowed and the bounds of a call. Does not know the protocol: a method's signature
and docstring, which assistants read, become its schema and description in `server`.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from openblip.errors import ImageError, InputError
from openblip.image import DEFAULT_LIMITS, is_url, load_image, shown_name
from openblip.library.records import is_id
from openblip.mcp.folders import AllowedFolders
from openblip.mcp.photos import AllowedPhotos
from openblip.mcp.results import Answers, Captions, Groundings, Hits, Matches
from openblip.regions import overlay as drawn_on
from openblip.thumbnail import thumbnail
from openblip.types import GenerateOptions

if TYPE_CHECKING:
    from openblip.pipeline import Blip

MAX_DATA_BYTES: Final = 10_000_000
"""Of a picture that comes in a call instead of lying in a folder."""

TOOLS: Final = {
    "caption": "Caption a picture",
    "ask": "Answer questions about a picture",
    "match": "Score texts for a picture",
    "ground": "Show where in a picture things are",
    "search": "Search the photo library",
}
"""The methods of `Tools`, and their titles; see `Tools.offered`."""

_CAPTION: Final = GenerateOptions()
_OVERLAY: Final = 768  # pixels of the longer side of a picture that is handed out

Picture = Annotated[
    str,
    Field(
        description="The picture: the path of a file in an allowed folder, or the picture itself as a data: address "
        "(data:image/jpeg;base64,...), or the id of a hit of a search."
    ),
]
Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Tools:
    """A model and the folders it may look into.

    load: gives the model; called when the first tool is, and again where it failed. photos: what is searched. Calls
    from several threads are done one after the other, each with all the threads of the processor.
    """

    def __init__(self, load: Callable[[], Blip], folders: AllowedFolders, photos: AllowedPhotos | None = None) -> None:
        self.folders, self.photos = folders, photos
        self._load, self._turn = load, threading.Lock()
        self._blip: Blip | None = None

    @property
    def offered(self) -> dict[str, str]:
        """The names of the tools that can be called here, and their titles."""
        return {name: title for name, title in TOOLS.items() if name != "search" or self.photos is not None}

    def caption(
        self,
        image: Picture,
        prompt: Annotated[str, Field(max_length=500, description="What the captions start with.")] = "",
        count: Annotated[int, Field(ge=1, le=10, description="How many captions.")] = 1,
    ) -> Captions:
        """Describe a picture in a short sentence, or in several.

        The model is small beside you: it names what is seen in everyday words, knows no people or places by name, reads
        no text, and its probability is low where it guesses.
        """
        options = replace(_CAPTION, num_beams=max(_CAPTION.num_beams, count), num_return=count)
        with self._looking_at(image) as (blip, data):
            return Captions.of(blip.captions(data, prompt, options)[0])

    def ask(
        self,
        image: Picture,
        questions: Annotated[list[Text], Field(min_length=1, max_length=32, description="What to answer.")],
        choices: Annotated[
            list[Text] | None,
            Field(max_length=1000, description="The only answers allowed; without them the model words its own."),
        ] = None,
    ) -> Answers:
        """Answer questions about a picture, each in a word or two, with a probability.

        Ask plainly and about what is seen: "what colour is the car?", "how many dogs are there?", "is anyone
        swimming?". Give choices where only some answers make sense.
        """
        with self._looking_at(image) as (blip, data):
            return Answers.of(blip.answer(data, questions, None, choices or None))

    def match(
        self,
        image: Picture,
        texts: Annotated[list[Text], Field(min_length=1, max_length=64, description="What might describe it.")],
    ) -> Matches:
        """Score how well texts describe a picture: to check a caption, or to choose among labels or descriptions.

        Write whole descriptions ("a dog on a beach"), not single words; compare the probabilities with each other.
        """
        with self._looking_at(image) as (blip, data):
            return Matches.of(blip.match(data, texts))

    def ground(
        self,
        image: Picture,
        phrases: Annotated[
            list[Text] | None,
            Field(max_length=16, description="Things to find; without them, what the picture's own caption names."),
        ] = None,
        overlay: Annotated[
            bool,
            Field(description="Whether to get the picture too, with heat, boxes and peak drawn in, once a phrase."),
        ] = False,
    ) -> Groundings:
        """Say where in a picture things are: the likeliest point and boxes around it, in pixels.

        A place is found for anything: a low probability says that the thing may not be there. Write phrases of a few
        words ("the dog", "a red ball").
        """
        with self._looking_at(image) as (blip, data):
            [found], model = blip.ground(data, phrases or None), blip.part("match").name
        picture = load_image(data, needed=_OVERLAY) if overlay else None
        drawn = [thumbnail(drawn_on(picture, each, _OVERLAY), _OVERLAY) for each in found] if picture else []
        return Groundings.of(found, model, drawn)

    def search(
        self,
        words: Annotated[str, Field(max_length=1000, description="A description of what the photos show.")] = "",
        image: Annotated[
            Picture | None, Field(description="A picture to find the like of; with words, both count.")
        ] = None,
        limit: Annotated[int, Field(ge=1, le=50, description="How many photos.")] = 10,
        where: Annotated[
            str,
            Field(
                max_length=2000,
                description='A filter, as in: taken >= 2024-06 and width > 1000 and path ~ "holiday" and not caption ~ '
                '"dog". Fields: path, key, caption, taken, modified, width, height, size.',
            ),
        ] = "",
        hybrid: Annotated[bool | None, Field(description="Search the words in captions too: for names.")] = None,
    ) -> Hits:
        """Find photos in the user's library, by a description, by a picture that they are to be like, or by both.

        Write what is to be seen ("two dogs on a beach"), not what is wanted ("find my holiday photos"). There are
        always hits: those of a low probability do not show it. Look closer at a hit with the other tools, by its path
        or id.
        """
        from openblip.library import Query

        if self.photos is None:
            raise InputError("there is no library to search: start the server with --db, as 'openblip index' made it")
        like = image if image is not None and is_id(image) and self.photos.has(image) else ""
        data = self._picture(image) if image is not None and not like else None
        with self._model() as blip:
            hits = self.photos.search(blip, Query(words, data, like), limit, where, hybrid)
        return Hits.of(hits)

    @contextmanager
    def _looking_at(self, image: str) -> Iterator[tuple[Blip, bytes]]:
        """The model and the bytes of a picture, by whose name its faults are told."""
        data = self._picture(image)
        with self._model() as blip:
            try:
                yield blip, data
            except ImageError as error:
                raise ImageError(f"{_shown(image)}: {error}") from error

    @contextmanager
    def _model(self) -> Iterator[Blip]:
        """The model, for one call at a time."""
        with self._turn:
            if self._blip is None:
                self._blip = self._load()
            yield self._blip

    def _picture(self, image: str) -> bytes:
        """The bytes of a picture, bounded. Raises ImageError."""
        if _is_data(image):
            return _from_data(image)
        if is_url(image):
            raise ImageError(
                f"{shown_name(image[:80])} is not fetched: save the picture in an allowed folder, or give it as data:"
            )
        if self.photos is not None and is_id(image):
            return self.photos.read(image, DEFAULT_LIMITS.max_bytes)
        return self.folders.read(image, DEFAULT_LIMITS.max_bytes)


def _is_data(image: str) -> bool:
    return image[:5].lower() == "data:"


def _shown(image: str) -> str:
    return "the data: address" if _is_data(image) else shown_name(image)


def _from_data(address: str) -> bytes:
    head, comma, body = address.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise ImageError("the data: address holds no base64: write data:image/jpeg;base64, and the encoded file")
    if len(body) > _encoded(MAX_DATA_BYTES):
        raise ImageError(f"the data: address holds more than {MAX_DATA_BYTES:,} bytes: make the picture smaller")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError("the data: address holds no valid base64: encode the whole file again") from error


def _encoded(count: int) -> int:
    """Characters of base64 for so many bytes."""
    return -(-count // 3) * 4
