# syntax=docker/dockerfile:1
# One image for head, workers and submitter. Two targets:
#
#   docker build --target cuda -t defect-farm:0.1.0-cuda .
#   docker build --target cpu --build-arg TORCH_INDEX=URL -t defect-farm:0.1.0-cpu .
#
# TORCH_INDEX is an index of CPU builds of torch. Without it `cpu` carries the default build, with its gigabytes of CUDA
# libraries. Every version is that of requirements.lock. For a build that repeats to the byte, give the base by digest:
# --build-arg PYTHON=3.11.13-slim-bookworm@sha256:...

ARG PYTHON=3.11.13-slim-bookworm

FROM python:${PYTHON} AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 UV_LINK_MODE=copy VIRTUAL_ENV=/opt/farm
RUN python -m venv /opt/farm && /opt/farm/bin/pip install uv==0.13.8 setuptools==84.2.1
ENV PATH=/opt/farm/bin:$PATH
WORKDIR /build
COPY pyproject.toml requirements.lock LICENSE README.md ./

FROM packages AS packages-cuda
# the lock as constraints: what the image needs, in the lock's versions, without the tools of the tests
RUN uv pip install --constraint requirements.lock --requirement pyproject.toml --extra cloud --extra launch
COPY . .
RUN uv pip install --no-deps --no-build-isolation .

FROM packages AS packages-cpu
ARG TORCH_INDEX=""
RUN if [ -n "${TORCH_INDEX}" ]; then \
      uv pip install --index-url "${TORCH_INDEX}" \
        "$(grep ^torch== requirements.lock)" "$(grep ^torchvision== requirements.lock)"; \
    fi
RUN uv pip install --constraint requirements.lock --requirement pyproject.toml --extra cloud --extra launch
COPY . .
RUN uv pip install --no-deps --no-build-isolation .

FROM python:${PYTHON} AS runtime
# wget: KubeRay asks it for the health of Ray's processes. Debian takes old versions away, so none is named
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1000 farm \
    && useradd --uid 1000 --gid 1000 --create-home --shell /bin/bash farm
ENV PATH=/opt/farm/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 RAY_USAGE_STATS_ENABLED=0
WORKDIR /home/farm
USER 1000:1000
CMD ["farm", "--help"]

FROM runtime AS cpu
COPY --from=packages-cpu /opt/farm /opt/farm

# torch brings its CUDA libraries; the driver is the node's, let in by NVIDIA's container toolkit
FROM runtime AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=packages-cuda /opt/farm /opt/farm
