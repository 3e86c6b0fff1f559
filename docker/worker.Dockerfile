# A worker: `docker build -f docker/worker.Dockerfile -t ditto-worker .` from the project's root.
# With vLLM for NVIDIA GPUs, from the same stages (the wheels bring CUDA, the driver comes from the NVIDIA container toolkit):
#   docker build -f docker/worker.Dockerfile -t ditto-gpu --build-arg EXTRA=[gpu,s3] --build-arg COMPILER=gcc .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG EXTRA="[s3]"
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY ditto_core ditto_core
COPY tasks tasks
COPY flows flows
COPY deployments deployments
RUN python -m venv /opt/ditto \
 && /opt/ditto/bin/pip install --no-cache-dir --constraint constraints.txt ".${EXTRA}"

# hadolint ignore=DL3006
FROM ${BASE}
ARG COMPILER=""
# Triton, which vLLM uses, compiles its kernels with a C compiler when it starts; the CPU image has none.
# hadolint ignore=DL3008
RUN if [ -n "${COMPILER}" ]; then \
      apt-get update && apt-get install -y --no-install-recommends "${COMPILER}" libc6-dev && rm -rf /var/lib/apt/lists/*; \
    fi \
 && useradd --create-home --uid 10001 ditto && mkdir /data && chown ditto /data
COPY --from=build /opt/ditto /opt/ditto
COPY deployments/prefect.yaml /opt/ditto/prefect.yaml
USER 10001
WORKDIR /data
VOLUME /data
ENV PATH=/opt/ditto/bin:$PATH \
    DITTO_DATA_ROOT=/data \
    PREFECT_RESULTS_LOCAL_STORAGE_PATH=/data/prefect/results \
    DO_NOT_TRACK=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
CMD ["prefect", "worker", "start", "--pool", "ditto", "--type", "process", "--with-healthcheck"]
