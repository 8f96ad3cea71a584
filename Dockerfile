# The hub in one container: `docker run -p 127.0.0.1:8080:8080 -v mcphub:/data mcphub`.
# uv and Node are in the image for upstreams that start with `uvx` or `npx`.
FROM python:3.13-slim-bookworm AS build
RUN pip install --no-cache-dir uv
WORKDIR /src
COPY . .
RUN uv build --wheel --out-dir /wheels \
 && uv export --frozen --no-dev --no-emit-project --format requirements-txt > /wheels/requirements.txt

FROM python:3.13-slim-bookworm
RUN apt-get update \
 && apt-get install -y --no-install-recommends nodejs npm \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir uv \
 && pip install --no-cache-dir --require-hashes -r /wheels/requirements.txt \
 && pip install --no-cache-dir --no-deps /wheels/*.whl \
 && rm -r /wheels \
 && useradd --create-home --uid 10001 hub \
 && install -d -o hub -g hub -m 700 /data
USER hub
ENV MCPHUB_DATA_DIR=/data MCPHUB_HOST=0.0.0.0 MCPHUB_SIGN_IN=password
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=2)"]
ENTRYPOINT ["mcphub"]
CMD ["up"]
