# Two stages: the first has pip and setuptools, the second only what runs.
# Behind a package mirror: docker build --build-arg PIP_INDEX_URL=… .

FROM python:3.13-slim-bookworm AS build
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /source
RUN python -m venv --without-pip /opt/oneperson \
 && python -m venv /opt/tools
COPY requirements.lock requirements-build.lock ./
RUN /opt/tools/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements-build.lock \
 && /opt/tools/bin/python -m pip --python /opt/oneperson/bin/python install --quiet \
      --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY index index
COPY service service
COPY scripts scripts
COPY models models
RUN /opt/tools/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/tools/bin/python -m pip --python /opt/oneperson/bin/python install --quiet \
      --no-deps --no-index /wheels/oneperson-*.whl

FROM python:3.13-slim-bookworm
RUN groupadd --system --gid 10001 oneperson \
 && useradd --system --uid 10001 --gid oneperson --no-create-home --home-dir /var/lib/oneperson \
      --shell /usr/sbin/nologin oneperson \
 && install -d -o oneperson -g oneperson -m 0700 /var/lib/oneperson
COPY --from=build /opt/oneperson /opt/oneperson
# Libraries that keep caches (fonts, compiled code) get a place that a read-only root has, too.
ENV PATH=/opt/oneperson/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    ONEPERSON_DATA_DIR=/var/lib/oneperson
WORKDIR /var/lib/oneperson
USER 10001:10001
VOLUME /var/lib/oneperson
EXPOSE 8000
# /healthz says that the process answers; whether it can decide is /readyz, for the load balancer.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["oneperson"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
