# A worker for the CPU: `docker build -f docker/worker.Dockerfile -t ditto-worker .`
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY ditto_core ditto_core
COPY tasks tasks
COPY flows flows
COPY deployments deployments
RUN python -m venv /opt/ditto \
 && /opt/ditto/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM ${BASE}
COPY --from=build /opt/ditto /opt/ditto
RUN useradd --create-home --uid 10001 ditto && mkdir /data && chown ditto /data
USER ditto
WORKDIR /data
ENV PATH=/opt/ditto/bin:$PATH DITTO_DATA_ROOT=/data
ENTRYPOINT ["ditto"]
CMD ["doctor", "--preset", "demo"]
