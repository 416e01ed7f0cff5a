"""The cache of results that all tasks share: what is there, and what is being computed. Knows numbers of pictures."""

from __future__ import annotations

from typing import Literal

import simpy

NEW = -1
"""A picture that is asked about once, and never found."""


class Results:
    """Each result is computed once, however many ask for it at the same time, in whichever task."""

    def __init__(self) -> None:
        self._there: set[int] = set()
        self._under_way: dict[int, simpy.Event] = {}
        self.found = self.missed = self.joined = 0
        self.up = True

    def find(self, picture: int) -> Literal[True, False] | simpy.Event:
        """Whether it is there; an event that comes with the end of the computation where one is under way."""
        if picture == NEW or not self.up:
            self.missed += 1
            return False
        if picture in self._there:
            self.found += 1
            return True
        if picture in self._under_way:
            self.joined += 1
            return self._under_way[picture]
        self.missed += 1
        return False

    def begin(self, picture: int, done: simpy.Event) -> None:
        """It is computed from now on."""
        if picture != NEW and self.up:
            self._under_way[picture] = done

    def store(self, picture: int) -> None:
        """It is there from now on."""
        if picture != NEW and self.up:
            self._there.add(picture)
        self.fail(picture)

    def fail(self, picture: int) -> None:
        """It is not computed any more."""
        done = self._under_way.pop(picture, None)
        if done is not None and not done.triggered:
            done.succeed()

    def empty(self) -> None:
        """All that was there is lost."""
        self._there.clear()
