# vaelab in a container, for a CPU or, with --build-arg TORCH=cuda, for a GPU:
#   docker build -t vaelab .
#   docker run --rm -v "$PWD:/work" -u "$(id -u):$(id -g)" vaelab vae-train kl_weight=5    (on a GPU with --gpus all)
FROM python:3.13-slim AS build

ARG TORCH=cpu
ENV VIRTUAL_ENV=/opt/vaelab UV_CACHE_DIR=/cache UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
RUN pip install --no-cache-dir uv==0.13.9 && uv venv "$VIRTUAL_ENV"
WORKDIR /build
# The packages, which are large, are a layer that a change of the code leaves alone. Their versions are the lock's;
# of a CPU's PyTorch the ones without CUDA's libraries.
COPY pyproject.toml requirements.lock ./
RUN --mount=type=cache,target=/cache \
    case "$TORCH" in \
        cpu) export UV_TORCH_BACKEND=cpu ;; \
        cuda) ;; \
        *) echo "TORCH=$TORCH is neither cpu nor cuda" >&2; exit 2 ;; \
    esac; \
    uv pip install --constraint requirements.lock -r pyproject.toml
COPY README.md ./
COPY conf conf
COPY src src
RUN --mount=type=cache,target=/cache uv pip install --no-deps --build-constraint requirements.lock .

FROM python:3.13-slim

COPY --from=build /opt/vaelab /opt/vaelab
RUN useradd --create-home --uid 1000 vaelab && install --directory --owner vaelab /work
# Caches go where any user of docker run -u may write.
ENV PATH=/opt/vaelab/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib TORCH_HOME=/tmp/torch
USER 1000
WORKDIR /work
CMD ["vae-train", "--help"]
