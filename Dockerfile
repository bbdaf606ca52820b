# A server of one bundle. The bundle is mounted, programs are kept in a volume:
#
#   docker build -t s02 .                       # or --build-arg EXTRAS=serve,data,cuda
#   docker run -p 8000:8000 -v $PWD/bundle:/bundle -v s02-cache:/cache s02
#
# With EXTRAS=…,cuda: docker run --gpus all. The wheels bring CUDA themselves.
FROM python:3.13-slim

# libsndfile, FFmpeg and CUDA come in wheels: nothing else is installed.
ARG EXTRAS=serve,data
RUN useradd --create-home --uid 1000 s02 \
  && mkdir /cache && chown s02 /cache
WORKDIR /app
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY configs configs
COPY launch launch
COPY data_pipelines data_pipelines
COPY s02jax s02jax
RUN pip install --no-cache-dir ".[${EXTRAS}]"

USER s02
ENV S02_CACHE=/cache PYTHONUNBUFFERED=1
VOLUME /cache
EXPOSE 8000
# Compiling takes minutes the first time; /readyz tells when it is over.
HEALTHCHECK --interval=30s --start-period=60s CMD ["python", "-c", \
  "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz')"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["s02", "serve", "--host", "0.0.0.0"]
CMD ["--bundle", "/bundle"]
