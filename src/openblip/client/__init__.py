"""A client of `openblip serve`: the calls of `Blip`, done elsewhere. Knows HTTP; does not know the service's code."""

from openblip.client.aio import AsyncCaptionStream as AsyncCaptionStream
from openblip.client.aio import AsyncClient as AsyncClient
from openblip.client.client import Client as Client
from openblip.client.client import RemoteCaptionStream as RemoteCaptionStream
from openblip.client.library import LibraryFound as LibraryFound
from openblip.client.library import LibraryHit as LibraryHit
from openblip.client.library import LibraryImage as LibraryImage
from openblip.client.library import ProductFields as ProductFields
from openblip.client.results import Results as Results
from openblip.client.results import Served as Served
from openblip.client.results import ServedModel as ServedModel
from openblip.client.results import ServedTiming as ServedTiming
from openblip.client.retries import Retries as Retries
