# Image with the ct-vae command.
#   docker build -t ct-vae .                           for the CPU
#   docker build -t ct-vae --build-arg TORCH=cu130 .   for NVIDIA GPUs; any index of PyTorch wheels
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" ct-vae encode ct-f4 scan.zip -o latents
# Add --gpus all to docker run for the GPU.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS wheel
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY ct_vae ct_vae
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
ARG TORCH=cpu
COPY constraints.txt /tmp/constraints.txt
RUN python -m pip install --no-cache-dir --constraint /tmp/constraints.txt \
        --index-url "https://download.pytorch.org/whl/${TORCH}" torch
COPY --from=wheel /wheels /tmp/wheels
RUN python -m pip install --no-cache-dir --constraint /tmp/constraints.txt /tmp/wheels/*.whl \
    && rm -r /tmp/wheels /tmp/constraints.txt \
    && useradd --create-home ct
# Any user may be given to docker run, also one without a home folder.
ENV MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1
USER ct
WORKDIR /data
ENTRYPOINT ["ct-vae"]
CMD ["--help"]
