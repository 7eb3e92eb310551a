# docker build -t saddlepoint .
# docker run --rm --gpus all -v "$PWD/outputs:/runs/outputs" saddlepoint train gan=sngan trainer=gpu
FROM python:3.12-slim
COPY . /src
RUN pip install --no-cache-dir /src[tensorboard] && rm -rf /src
WORKDIR /runs
ENTRYPOINT ["saddlepoint"]
CMD ["train", "--help"]
