"""Questions and answers about pictures, made from their captions by linguistic rules; needs no model and no torch."""

from openblip.train.questions.daquar import held_out, read_daquar
from openblip.train.questions.data_set import Question, questions_of, questions_of_set
from openblip.train.questions.exists import Statistics
from openblip.train.questions.kinds import KINDS
from openblip.train.questions.scene import Scene

__all__ = [
    "KINDS",
    "Question",
    "Scene",
    "Statistics",
    "held_out",
    "questions_of",
    "questions_of_set",
    "read_daquar",
]
