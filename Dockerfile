# asd with the light set, without PyTorch: docker build -t asd . && docker run --rm -v "$PWD:/data" asd score fan.asd new/
FROM python:3.13-slim AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels \
    /source /source/plugins/asd-frontends /source/plugins/asd-onnx /source/plugins/asd-sklearn

FROM python:3.13-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels pip install --no-cache-dir /wheels/*.whl
# Recordings and models are the user's, at /data; what asd keeps between runs is for a volume at /cache, if one is wanted.
ENV ASD_CACHE=/cache ASD_SETTINGS=/cache/settings
RUN mkdir /cache && chmod 1777 /cache
WORKDIR /data
USER 1000
ENTRYPOINT ["asd"]
CMD ["--help"]
