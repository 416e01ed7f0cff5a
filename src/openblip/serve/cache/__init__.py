"""Results that are computed once: kept on disk or in Redis, found again, and never in the way of a request."""

from openblip.serve.cache.results import ResultCache
from openblip.serve.cache.settings import CacheSettings

__all__ = ["CacheSettings", "ResultCache"]
