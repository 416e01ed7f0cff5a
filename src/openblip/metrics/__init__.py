"""The figures of the field: plain functions of strings and arrays, usable from a training loop.

Captions (CIDEr-D, BLEU, ROUGE-L), retrieval recalls, answers (VQA v2), boxes and points, agreement with human ratings,
and what a difference between two runs is worth. Knows no model, no picture and no framework.
"""

from openblip.metrics.agreement import Agreement as Agreement
from openblip.metrics.agreement import kendall_tau as kendall_tau
from openblip.metrics.answers import AnswerPrior as AnswerPrior
from openblip.metrics.answers import answer_accuracy as answer_accuracy
from openblip.metrics.answers import normalise_answer as normalise_answer
from openblip.metrics.bootstrap import Difference as Difference
from openblip.metrics.bootstrap import paired_difference as paired_difference
from openblip.metrics.boxes import box_overlap as box_overlap
from openblip.metrics.boxes import point_in_any as point_in_any
from openblip.metrics.captions import CaptionScores as CaptionScores
from openblip.metrics.captions import CiderD as CiderD
from openblip.metrics.captions import bleu_scores as bleu_scores
from openblip.metrics.captions import caption_scores as caption_scores
from openblip.metrics.captions import caption_tokens as caption_tokens
from openblip.metrics.captions import cider_by_image as cider_by_image
from openblip.metrics.proportions import Proportion as Proportion
from openblip.metrics.proportions import proportion as proportion
from openblip.metrics.reference import ReferenceScores as ReferenceScores
from openblip.metrics.reference import reference_scores as reference_scores
from openblip.metrics.retrieval import RetrievalScores as RetrievalScores
from openblip.metrics.retrieval import retrieval_scores as retrieval_scores
