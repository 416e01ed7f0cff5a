"""The torch-free engine: graphs written in OpenVINO opsets (`graph`) and what runs them (`engine`).

`import openvino` reports itself to Google Analytics where the package openvino_telemetry is installed (its wheel asks
for it): a forked child sends the report, holds this process's pipes for up to three seconds, and answers Ctrl-C with a
traceback of its own. Nobody agreed to that by captioning a photo, so OpenVINO is imported here as though the package
were not installed, for which it brings a stand-in. A program that imported openvino before openblip has decided itself.
"""

import sys

if "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino  # noqa: F401
    finally:
        del sys.modules["openvino_telemetry"]
