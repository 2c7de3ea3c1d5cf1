# The relay with its locked dependencies on a Python of your choice; docs/operations/packaging.md says how it is built and tried.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
SHELL ["/bin/sh", "-euc"]
WORKDIR /build
# Two environments: one that builds, and one without pip that is all that goes on.
RUN python3 -m venv tools; python3 -m venv --without-pip /opt/relay
# Dependencies first: they change less often than the relay. A registry behind an authority of your own is reached by
# `--secret id=ca,src=ca.pem`.
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN --mount=type=secret,id=ca --mount=type=cache,target=/var/cache/pip \
    export PIP_CACHE_DIR=/var/cache/pip; \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    tools/bin/pip install --require-hashes -r requirements/build.txt; \
    tools/bin/pip --python /opt/relay/bin/python3 install --no-compile --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY sql sql
COPY docs/operations/runbooks docs/operations/runbooks
COPY relay relay
# Bytecode that is never checked against its source: nothing is written at run time, and no start compiles. What the
# console alone runs on is left out: it would be half of what the console adds, and saves 0.15 s of a start that is rare.
RUN tools/bin/python -m hatchling build -t wheel -d wheel; \
    tools/bin/pip --python /opt/relay/bin/python3 install --no-cache-dir --no-compile --no-deps --no-index wheel/*.whl; \
    /opt/relay/bin/python3 -m compileall -q --invalidation-mode unchecked-hash \
        -x '/site-packages/(anyio|h11|idna|jinja2|markupsafe|starlette|uvicorn)/' /opt/relay/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="outbox-relay" \
      org.opencontainers.image.description="Moves committed events from a PostgreSQL outbox to NATS JetStream, and loses none" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/relay /opt/relay
ENV PATH=/opt/relay/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["relay", "health"]
ENTRYPOINT ["relay"]
CMD ["run"]
