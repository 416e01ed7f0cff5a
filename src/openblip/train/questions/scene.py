"""The captions of one picture, read together: whom they mean by "the man", what they agree on. Knows no questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from openblip.language import words
from openblip.language.forms import plural
from openblip.language.phrases import Mention
from openblip.train.questions.parse import Event, Parsed, parse

MOST = 0.75  # a share of the captions that outvotes the others
MANY = 99  # "several", "a group of": more than anybody counted


@dataclass(frozen=True)
class Scene:
    """What the captions of one picture say, one `Parsed` a caption."""

    captions: tuple[Parsed, ...]

    @classmethod
    def of(cls, captions: Sequence[str]) -> Scene:
        """Read the captions of one picture."""
        return cls(tuple(parse(caption) for caption in captions))

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word of the captions."""
        return frozenset(token for caption in self.captions for token in caption.tokens)

    def events(self) -> Iterator[tuple[Parsed, Event]]:
        """Every event with its caption."""
        for caption in self.captions:
            for event in caption.events:
                yield caption, event

    @cached_property
    def people(self) -> _Cast:
        """The people of the picture."""
        return _Cast.of(self.captions, "person")

    @cached_property
    def animals(self) -> dict[str, _Cast]:
        """The animals of the picture, a cast for each species; one called "animal" joins the only species there is."""
        species = {mention.animal for caption in self.captions for mention in caption.mentions if mention.animal}
        named = sorted(species - {"animal"})
        if len(named) == 1 and "animal" in species:
            return {named[0]: _Cast.of(self.captions, "animal")}
        return {name: _Cast.of(self.captions, name) for name in sorted(species)}

    def name(self, caption: Parsed, subjects: Sequence[Mention]) -> str:
        """What to call the subjects of an event, "man" or "dogs", so that nobody else in the picture can be meant; ""
        where there is no such name."""
        if all(each.person for each in subjects):
            return self.people.name(caption, subjects)
        kinds = {each.animal for each in subjects}
        if "" in kinds or len(kinds - {"animal"}) > 1:
            return ""
        for kind, cast in self.animals.items():
            if kind in kinds or (kinds == {"animal"} and len(self.animals) == 1):
                return cast.name(caption, subjects)
        return ""


@dataclass(frozen=True)
class _Cast:
    """People, or the animals of a species, as each caption mentions them."""

    kind: str
    mentions: tuple[tuple[Parsed, tuple[Mention, ...]], ...]

    @classmethod
    def of(cls, captions: Sequence[Parsed], kind: str) -> _Cast:
        found = []
        for caption in captions:
            meant = tuple(mention for mention in caption.mentions if _is(mention, kind))
            if meant:
                found.append((caption, _without_repeats(meant)))
        return cls(kind, tuple(found))

    @cached_property
    def totals(self) -> list[int]:
        """How many each caption that mentions them counts; MANY where it leaves that open."""
        return [total(mentions) for _, mentions in self.mentions]

    @cached_property
    def labels(self) -> Counter[str]:
        """The plain names and how many captions use them."""
        return Counter(label for _, mentions in self.mentions for label in {_label(mention) for mention in mentions})

    @cached_property
    def single(self) -> bool:
        """Whether nearly every caption that mentions any mentions one."""
        return self._share(1 for each in self.totals if each == 1) >= MOST

    @cached_property
    def several(self) -> bool:
        """Whether nearly every caption that mentions any mentions more than one."""
        return self._share(1 for each in self.totals if each > 1) >= MOST

    def _share(self, some: Iterator[int]) -> float:
        return sum(some) / max(len(self.totals), 1)

    def name(self, caption: Parsed, subjects: Sequence[Mention]) -> str:
        """See `Scene.name`."""
        own = next((mentions for other, mentions in self.mentions if other is caption), ())
        if self.single:
            return self._common_name() if total(own) == 1 else ""
        if self.several and total(own) > 1 and total(subjects) == total(own):
            return self._common_plural()
        if len(subjects) == 1 and self.kind == "person":
            return self._one_of_several(subjects[0])
        return ""

    def _common_name(self) -> str:
        labels = self.labels
        if self.kind != "person":
            return next(iter(sorted(label for label in labels if label != "animal")), "animal")
        sexes = Counter({sex: sum(labels[label] for label in words.SEX if words.SEX[label] == sex) for sex in "mf"})
        if min(sexes.values()) > 0 and max(sexes.values()) < 3 * min(sexes.values()):
            return "person"
        return _most(labels)

    def _common_plural(self) -> str:
        labels = self.labels
        if self.kind != "person":
            return plural(next(iter(sorted(label for label in labels if label != "animal")), "animal"))
        if len(labels) == 1:
            return plural(next(iter(labels)))
        label = _most(labels)
        others = {other for other in labels if other != label}
        if (
            label in words.IN_PLAIN_WORDS
            and labels[label] * 2 > len(self.mentions)
            and all(may_be(other, label) for other in others)
        ):
            return plural(label)
        young = all(words.AGE.get(other) == "young" for other in labels)
        return "children" if young else "people"

    def _one_of_several(self, subject: Mention) -> str:
        """ "man" where each caption leaves one man at most to be meant."""
        label = _label(subject)
        if label not in words.TITLES or subject.count != 1:
            return ""
        named, told, open_totals = 0, set(), []
        for _, mentions in self.mentions:
            meant = [mention for mention in mentions if may_be(_label(mention), label)]
            loose = [mention for mention in meant if _label(mention) != label]
            if total(meant) - total(loose) > 1 or any(mention.count == 1 for mention in loose):
                return ""
            if loose:
                open_totals.append(total(mentions))
            else:
                told.add(total(mentions))
                named += bool(meant)
        # "Two people" are the man and the woman of the other captions; "people" may be anybody.
        return label if named >= 2 and told.issuperset(open_totals) else ""


def _is(mention: Mention, kind: str) -> bool:
    if kind == "person":
        return bool(mention.person)
    return bool(mention.animal) and (kind == "animal" or mention.animal == kind)


def _without_repeats(mentions: tuple[Mention, ...]) -> tuple[Mention, ...]:
    """A caption that comes back to somebody ("a boy ... the boy") means the same one."""
    kept: list[Mention] = []
    for mention in mentions:
        again = mention.determiner in {"the", "his", "her", "its", "their"} and any(
            other.head == mention.head for other in kept
        )
        if not again:
            kept.append(mention)
    return tuple(kept)


def total(mentions: Sequence[Mention]) -> int:
    """How many the mentions are together; MANY where one leaves it open."""
    return MANY if any(each.count is None for each in mentions) else sum(each.count or 0 for each in mentions)


def _label(mention: Mention) -> str:
    return mention.person or mention.animal


def _most(labels: Counter[str]) -> str:
    plain = {label: count for label, count in labels.items() if label in words.IN_PLAIN_WORDS and label != "people"}
    named = {label: count for label, count in plain.items() if label != "person"} or plain or dict(labels)
    return min(named, key=lambda label: (-named[label], label))


def may_be(label: str, meant: str) -> bool:
    """Whether somebody called `label` may be the one called `meant`."""
    if label == meant:
        return True
    sex, other_sex = words.SEX.get(label), words.SEX.get(meant)
    age, other_age = words.AGE.get(label), words.AGE.get(meant)
    if sex and other_sex and sex != other_sex:
        return False
    if sex and other_sex and sex == other_sex:
        return True  # one person's man is another's boy
    return not (age and other_age and age != other_age)
