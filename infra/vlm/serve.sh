#!/usr/bin/env bash
# Serves Qwen2-VL-7B-Instruct by vLLM, OpenAI-compatible: see README.md beside this file. Not run in our tests.
#   VENV=folder   run in a virtual environment of its own, made if it is not there; without it, in a container
#   HOST, PORT    where it listens (127.0.0.1, 8000); a cluster needs HOST=0.0.0.0 and a key
#   GPUS          how many GPUs one copy of the model is split over (1)
#   VLLM_API_KEY  what clients must send as OPENAI_API_KEY; read from the environment, in no command line
set -euo pipefail

VLLM_VERSION=0.10.1
MODEL=Qwen/Qwen2-VL-7B-Instruct
REVISION=a7a06a1cc11b4514ce9edcde0e3ca1d16e5ff2fc # as in operators/models/table.py
HOST=${HOST:-127.0.0.1}
PORT=${PORT:-8000}

if [[ $HOST != 127.0.0.1 && -z ${VLLM_API_KEY:-} ]]; then
  echo "HOST=$HOST lets others in: set VLLM_API_KEY" >&2
  exit 2
fi

# At most 3 images a request (composition), 1,024 px each (operators/vlm/showing.py): the model sees them at the next
# multiple of 28, 1,036 x 1,036 px or 1,369 tokens, so some 4,100 tokens and the prompt. Without that bound vLLM measures
# at its start the memory that images of 16,384 tokens take, and that a video takes, which nobody sends.
MAX_PIXELS=1073296
options=(--revision "$REVISION" --port "$PORT" --max-model-len 8192 --limit-mm-per-prompt '{"image": 3, "video": 0}'
  --mm-processor-kwargs "{\"max_pixels\": $MAX_PIXELS}" --tensor-parallel-size "${GPUS:-1}" --seed 0)

if [[ -n ${VENV:-} ]]; then
  [[ -x $VENV/bin/vllm ]] || { python3 -m venv "$VENV" && "$VENV/bin/pip" install --quiet "vllm==$VLLM_VERSION"; }
  exec "$VENV/bin/vllm" serve "$MODEL" --host "$HOST" "${options[@]}"
fi
exec docker run --rm --gpus all --ipc host --publish "$HOST:$PORT:$PORT" \
  --env VLLM_API_KEY --env HF_TOKEN --volume "${HF_HOME:-$HOME/.cache/huggingface}:/root/.cache/huggingface" \
  "vllm/vllm-openai:v$VLLM_VERSION" --model "$MODEL" --host 0.0.0.0 "${options[@]}"
