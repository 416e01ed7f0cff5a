"""A model's figures on a data set: its captions and answers scored, its retrieval, its agreement with people.

Knows samples, a `Blip` and how results are shown; how a score is computed is in `metrics`. Knows no framework.
"""

from openblip.evaluate.agreement import AgreementEvaluation as AgreementEvaluation
from openblip.evaluate.agreement import RatedPair as RatedPair
from openblip.evaluate.agreement import evaluate_agreement as evaluate_agreement
from openblip.evaluate.agreement import read_ratings as read_ratings
from openblip.evaluate.answers import AnswerEvaluation as AnswerEvaluation
from openblip.evaluate.answers import evaluate_answers as evaluate_answers
from openblip.evaluate.captions import CaptionEvaluation as CaptionEvaluation
from openblip.evaluate.captions import evaluate_captions as evaluate_captions
from openblip.evaluate.compare import Comparison as Comparison
from openblip.evaluate.compare import compare_runs as compare_runs
from openblip.evaluate.gallery import write_gallery as write_gallery
from openblip.evaluate.grounding import GroundingEvaluation as GroundingEvaluation
from openblip.evaluate.grounding import evaluate_grounding as evaluate_grounding
from openblip.evaluate.progress import Progress as Progress
from openblip.evaluate.questions import Asked as Asked
from openblip.evaluate.questions import Question as Question
from openblip.evaluate.questions import read_asked as read_asked
from openblip.evaluate.retrieval import RetrievalEvaluation as RetrievalEvaluation
from openblip.evaluate.retrieval import evaluate_retrieval as evaluate_retrieval
from openblip.evaluate.retrieval import reranked as reranked
from openblip.evaluate.samples import read_samples as read_samples
from openblip.evaluate.tables import format_json as format_json
from openblip.evaluate.tables import format_markdown as format_markdown
from openblip.metrics import CaptionScores as CaptionScores
from openblip.metrics import RetrievalScores as RetrievalScores
from openblip.metrics import caption_scores as caption_scores
from openblip.metrics import retrieval_scores as retrieval_scores
