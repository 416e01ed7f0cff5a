"""What a program written for BLIP in transformers asks for, under the same names: change the import, keep the rest.

    from openblip.compat import BlipProcessor, BlipForConditionalGeneration

Knows transformers' names, arguments, defaults and layouts of arrays; docs/compat.md lists what differs. Does not know
how a model computes, and needs neither transformers nor, for numpy arrays, torch.
"""

from openblip.compat.arrays import BatchFeature
from openblip.compat.models import BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipForQuestionAnswering
from openblip.compat.pipelines import pipeline
from openblip.compat.processor import BlipProcessor

AutoProcessor = BlipProcessor

__all__ = [
    "AutoProcessor",
    "BatchFeature",
    "BlipForConditionalGeneration",
    "BlipForImageTextRetrieval",
    "BlipForQuestionAnswering",
    "BlipProcessor",
    "pipeline",
]
