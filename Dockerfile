# The service as an image: docs/container.md says how it is built, run and measured.
#
#   docker build -t openblip .                               with the weights of mini
#   docker build -t openblip --build-arg MODEL=none .        without: mount a model below /models
#   docker build -t openblip --build-arg MODEL=NAME .        with the checkpoint folder models/NAME of the checkout
#   docker build -t openblip --build-arg EXTRAS=serve,search .
ARG DEBIAN_IMAGE=debian:bookworm-slim
ARG NODE_IMAGE=node:24-bookworm-slim

# The page is the same on every processor, so it is built once, on the builder's own.
# hadolint ignore=DL3029
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS page
ENV NEXT_TELEMETRY_DISABLED=1 PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1
WORKDIR /source/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --no-progress
COPY web ./
RUN npm run --silent build

FROM ${DEBIAN_IMAGE} AS debian
ENV LANG=C.UTF-8
# Debian's Python 3.11 is the one that the tests run with. Its packages are not pinned: they are the release's, with its
# security updates.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf /var/log/*

FROM debian AS builder
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/source/constraints.txt
WORKDIR /source
COPY constraints.txt ./
RUN python3 -m venv --without-pip /opt/openblip

# What rarely changes is a layer of its own: the packages, without what a CPU service never loads.
FROM builder AS packages
ARG EXTRAS=serve
COPY pyproject.toml deploy/container/requirements.py deploy/container/trim.py ./
RUN python3 requirements.py pyproject.toml "$EXTRAS" > requirements.txt \
    && python3 -m pip --python /opt/openblip/bin/python install --only-binary :all: --requirement requirements.txt \
    && python3 trim.py /opt/openblip \
    && /opt/openblip/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/openblip/lib \
    && /opt/openblip/bin/python -c 'import openvino; assert openvino.Core().available_devices == ["CPU"]'

FROM builder AS weights
ARG MODEL=mini
COPY models ./models
RUN mkdir -p /weights/models /weights/opt/openblip \
    && if [ "$MODEL" = none ]; then exit; fi \
    && if [ -f "models/$MODEL/pyproject.toml" ]; then \
           python3 -m pip --python /opt/openblip/bin/python install --no-deps --prefix /weights/opt/openblip "./models/$MODEL"; \
       else cp -r "models/$MODEL" /weights/models/; fi

FROM builder AS application
COPY README.md LICENSE pyproject.toml ./
COPY src ./src
COPY --from=page /source/src/openblip/serve/built_page ./src/openblip/serve/built_page
RUN python3 -m pip wheel --no-deps --wheel-dir /wheels . \
    && python3 -m pip --python /opt/openblip/bin/python install --no-deps --prefix /application/opt/openblip /wheels/*.whl \
    && /opt/openblip/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /application /application
COPY deploy/container/healthy.py /application/opt/openblip/healthy.py

FROM debian
ARG MODEL=mini
LABEL org.opencontainers.image.title="openblip" \
      org.opencontainers.image.description="BLIP over HTTP: captions, answers, matches and embeddings on CPU" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 openblip \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/cache/openblip --shell /usr/sbin/nologin openblip \
    && install --directory --owner openblip --group openblip /var/cache/openblip \
    && install --directory /models
COPY --from=packages /opt/openblip /opt/openblip
COPY --from=weights /weights/ /
COPY --from=application /application/ /
# A model is named by its folder below the working folder, whether it came with the image or is mounted there.
WORKDIR /models
ENV PATH=/opt/openblip/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    OPENBLIP_HOST=0.0.0.0 \
    OPENBLIP_PORT=8000 \
    OPENBLIP_MODEL=${MODEL} \
    OPENBLIP_CACHE=/var/cache/openblip \
    HF_HOME=/var/cache/openblip/huggingface
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=4s --start-period=120s --retries=3 \
    CMD ["python", "-IS", "/opt/openblip/healthy.py"]
ENTRYPOINT ["tini", "--", "openblip"]
CMD ["serve"]
