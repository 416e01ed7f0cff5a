"""Where the checkpoint of mini lies. Knows no runtime: openblip reads the folder."""

from pathlib import Path

FOLDER: Path = Path(__file__).resolve().parent / "checkpoint"
"""The checkpoint folder: config.json, model.safetensors, vocab.txt, preprocessor_config.json and MODEL_CARD.md."""
