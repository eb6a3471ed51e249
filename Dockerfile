# Three images from one file: `portal` (web, control, relay, schedule, seal, mlflow), `agent`, `gateway`.
FROM python:3.12-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 LANG=C.UTF-8 TZ=UTC
RUN useradd --system --uid 10001 --home-dir /srv/gatehouse gatehouse \
    && for part in captures witness agent gateway mlflow-artifacts; do \
        install -d -o gatehouse -m 0700 "/var/lib/gatehouse/$part"; done
WORKDIR /srv/gatehouse
COPY gatehouse_cli/requirements.txt /tmp/uv.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/uv.txt

FROM base AS portal
COPY requirements.txt /tmp/requirements.txt
RUN uv pip install --system --no-cache --require-hashes --compile-bytecode -r /tmp/requirements.txt
COPY manage.py ./
COPY portal portal
COPY apps apps
COPY celery_worker celery_worker
COPY verifier verifier
COPY gatehouse_cli gatehouse_cli
COPY templates templates
COPY static static
USER gatehouse

FROM base AS agent
COPY celery_worker/requirements.txt /tmp/requirements.txt
COPY celery_worker/serving/kserve/requirements.txt /tmp/kserve.txt
RUN uv pip install --system --no-cache --require-hashes --compile-bytecode -r /tmp/requirements.txt \
    && uv venv /opt/kserve \
    && uv pip install --python /opt/kserve/bin/python --no-cache --require-hashes --compile-bytecode -r /tmp/kserve.txt
COPY celery_worker celery_worker
USER gatehouse

FROM base AS gateway
COPY gateway/requirements.txt /tmp/requirements.txt
RUN uv pip install --system --no-cache --require-hashes --compile-bytecode -r /tmp/requirements.txt
COPY gateway gateway
USER gatehouse
