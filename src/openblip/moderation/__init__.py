"""A user's policy applied to pictures and the texts that come with them. Knows files of policies and labelled folders.
Does not know the command line."""

from openblip.moderation.calibrate import Calibration as Calibration
from openblip.moderation.calibrate import LabelCalibration as LabelCalibration
from openblip.moderation.calibrate import Targets as Targets
from openblip.moderation.calibrate import Threshold as Threshold
from openblip.moderation.calibrate import calibrate as calibrate
from openblip.moderation.calibrate_text import TextCalibration as TextCalibration
from openblip.moderation.calibrate_text import calibrate_text as calibrate_text
from openblip.moderation.decide import Moderator as Moderator
from openblip.moderation.decisions import Decision as Decision
from openblip.moderation.decisions import LabelFinding as LabelFinding
from openblip.moderation.decisions import Moderated as Moderated
from openblip.moderation.decisions import TextMatch as TextMatch
from openblip.moderation.decisions import WordFinding as WordFinding
from openblip.moderation.job import ModerateJob as ModerateJob
from openblip.moderation.labelled import Labelled as Labelled
from openblip.moderation.labelled import read_labelled as read_labelled
from openblip.moderation.policy import LabelRule as LabelRule
from openblip.moderation.policy import Policy as Policy
from openblip.moderation.policy import TextRule as TextRule
from openblip.moderation.policy import read_policy as read_policy
