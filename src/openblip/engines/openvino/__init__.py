"""The torch-free engine: graphs written in OpenVINO opsets (`graph`) and what runs them (`engine`)."""
