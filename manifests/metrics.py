"""The metrics that a run gives to Prometheus: one table, by which they are made, documented and looked for.

The engine and its client of vision-language models tell Ray (pipelines/report/ray_metrics.py), which every node serves;
Ray puts `ray_` before each name, and our scrape configuration (infra/monitoring/prometheus.yml) takes it off again. The
trainer serves its own (train/run/exporter.py).

Names follow Prometheus: base units at the end (seconds, bytes, ratio), `_total` after what only grows. Labels are few
and have few values: a task, an operator, a model, a reason; never an id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Part = Literal["engine", "vlm", "trainer"]

PARTS: Mapping[Part, str] = {
    "engine": "The engine: `xprompt shards`, `recipe`, `retry`",
    "vlm": "Its client of vision-language models",
    "trainer": "The trainer: `--metrics-port`",
}
"""Who tells of metrics -> how documents call it."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric: its name as Prometheus has it, and what it says."""

    name: str
    kind: Kind
    part: Part
    labels: tuple[str, ...] = ()
    text: str
    """One sentence, with the unit."""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets."""


REQUEST_S = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 300.0)
"""Bounds for answers of a server, in seconds: a caption takes some seconds, VLM_TIMEOUT is 300 s by default."""

STEP_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0)
"""Bounds for steps and checkpoints of a trainer, in seconds."""

_TASK = ("task",)
_STEP = ("task", "operator")
_STAGE = ("task", "model")
_KIND = ("task", "direction", "kind")


def _metric(name: str, kind: Kind, part: Part, labels: tuple[str, ...], text: str) -> Metric:
    buckets = {"xprompt_vlm_request_seconds": REQUEST_S}.get(name, STEP_S) if kind == "histogram" else ()
    return Metric(name=name, kind=kind, part=part, labels=labels, text=text, buckets=buckets)


_ROWS: tuple[tuple[str, Kind, Part, tuple[str, ...], str], ...] = (
    (
        "xprompt_units",
        "gauge",
        "engine",
        ("task", "state"),
        "Work units (shards) of a dataset by `state`: done (those of earlier runs too), running, queued, failed.",
    ),
    (
        "xprompt_unit_oldest_start_timestamp_seconds",
        "gauge",
        "engine",
        _TASK,
        "When the unit that has been running longest was begun, in seconds since 1970; 0 while none runs.",
    ),
    (
        "xprompt_last_result_timestamp_seconds",
        "gauge",
        "engine",
        (),
        "When a unit, or a group of pairs, of any dataset last came back, in seconds since 1970; at first, "
        "when the run began.",
    ),
    (
        "xprompt_pairs_total",
        "counter",
        "engine",
        _TASK,
        "Pairs that were kept and committed by this run.",
    ),
    (
        "xprompt_rejects_total",
        "counter",
        "engine",
        ("task", "reason"),
        "Items that were rejected by this run, by the `reason` in the rejects table.",
    ),
    (
        "xprompt_written_bytes_total",
        "counter",
        "engine",
        _TASK,
        "Bytes of the shards that this run committed.",
    ),
    (
        "xprompt_operator_items_total",
        "counter",
        "engine",
        _STEP,
        "Items that an operator has worked on.",
    ),
    (
        "xprompt_operator_seconds_total",
        "counter",
        "engine",
        _STEP,
        "Seconds of workers and painters in an operator, those of loading its models included.",
    ),
    (
        "xprompt_operator_loading_seconds_total",
        "counter",
        "engine",
        _STEP,
        "Seconds in which an operator loaded its models.",
    ),
    (
        "xprompt_pictures_total",
        "counter",
        "engine",
        _STEP,
        "Pictures that an operator's model has painted; those kept from before do not count.",
    ),
    (
        "xprompt_batch_places_total",
        "counter",
        "engine",
        _STEP,
        "Places in the batches that an operator's model was given.",
    ),
    (
        "xprompt_batch_own_places_total",
        "counter",
        "engine",
        _STEP,
        "Those of these places that held something of their own, and not a copy that fills the batch up.",
    ),
    (
        "xprompt_painters",
        "gauge",
        "engine",
        _STAGE,
        "Painters (processes with models) that are at work.",
    ),
    (
        "xprompt_painting_pairs_left",
        "gauge",
        "engine",
        _STAGE,
        "Pairs that are still to go through painters.",
    ),
    (
        "xprompt_painted_pairs_total",
        "counter",
        "engine",
        _STAGE,
        "Pairs that painters have done.",
    ),
    (
        "xprompt_lost_pairs_total",
        "counter",
        "engine",
        _STAGE,
        "Pairs that painters had in hand when they died, and that were begun again.",
    ),
    (
        "xprompt_painter_seconds_total",
        "counter",
        "engine",
        (*_STAGE, "state"),
        "Seconds of painters by `state`: painting, or what they waited for: starting, loading, answers, disk, idle.",
    ),
    (
        "xprompt_gpus",
        "gauge",
        "engine",
        (),
        "GPUs that the cluster has, or will come to have by `--gpus`.",
    ),
    (
        "xprompt_gpu_seconds_total",
        "counter",
        "engine",
        (*_STAGE, "state"),
        "GPU-seconds of painters by `state`: held, and busy, those of them in which their models worked. The "
        "rate of either is a number of GPUs.",
    ),
    (
        "xprompt_disk_free_bytes",
        "gauge",
        "engine",
        (),
        "Bytes that are free where OUT is, if that is a disk; of a trainer too.",
    ),
    (
        "xprompt_disk_size_bytes",
        "gauge",
        "engine",
        (),
        "Bytes of the file system where OUT is, if that is a disk; of a trainer too.",
    ),
    (
        "xprompt_vlm_requests_total",
        "counter",
        "vlm",
        ("model",),
        "Requests that were sent; each attempt counts.",
    ),
    (
        "xprompt_vlm_errors_total",
        "counter",
        "vlm",
        ("model", "kind"),
        "Requests that brought no answer, by `kind`: rate_limit (429), server (5xx and the like), timeout, "
        "connection, answer (what is no answer), filter (the server's rules refuse the pair), key (401, 403),"
        " quota, request (other 4xx), elsewhere (3xx).",
    ),
    (
        "xprompt_vlm_request_seconds",
        "histogram",
        "vlm",
        ("model",),
        "Seconds of a request, from when it was sent to its answer or error. The rate of its sum is how many "
        "requests are in the air on average.",
    ),
    (
        "xprompt_vlm_tokens_total",
        "counter",
        "vlm",
        ("model", "direction"),
        "Tokens of answered requests, as the server counts them, by `direction`: in (read), out (written).",
    ),
    (
        "xprompt_vlm_replayed_requests_total",
        "counter",
        "vlm",
        ("model",),
        "Requests that stored answers have answered, at no cost. They are told when their pairs are done.",
    ),
    (
        "xprompt_vlm_cost_total",
        "counter",
        "vlm",
        ("model",),
        "What the tokens cost, in the currency of PRICE_IN and PRICE_OUT; told when their pairs are done, and"
        " only if both prices are given.",
    ),
    (
        "xprompt_train_step",
        "gauge",
        "trainer",
        (),
        "The last step that is done.",
    ),
    (
        "xprompt_train_steps",
        "gauge",
        "trainer",
        (),
        "The steps that the run is to make.",
    ),
    (
        "xprompt_train_last_step_timestamp_seconds",
        "gauge",
        "trainer",
        (),
        "When the last step was done, in seconds since 1970; at first, when the trainer was ready.",
    ),
    (
        "xprompt_train_step_seconds",
        "histogram",
        "trainer",
        (),
        "Seconds of a step, validation and checkpoint left out.",
    ),
    (
        "xprompt_train_loss",
        "gauge",
        "trainer",
        (),
        "Loss of the last step, nats a unit of loss weight, over all ranks.",
    ),
    (
        "xprompt_train_task_loss",
        "gauge",
        "trainer",
        _KIND,
        "Loss of the last step that had examples of a task, direction and kind, in nats.",
    ),
    (
        "xprompt_train_validation_loss",
        "gauge",
        "trainer",
        (),
        "Loss of held-out examples at the last validation, in nats.",
    ),
    (
        "xprompt_train_validation_task_loss",
        "gauge",
        "trainer",
        _KIND,
        "The same by task, direction and kind.",
    ),
    (
        "xprompt_train_tokens_total",
        "counter",
        "trainer",
        (),
        "Tokens trained on by this process, over all ranks.",
    ),
    (
        "xprompt_train_window_fill_ratio",
        "gauge",
        "trainer",
        (),
        "Share of the last step's windows that held tokens.",
    ),
    (
        "xprompt_train_gradient_norm",
        "gauge",
        "trainer",
        (),
        "Norm of the last step's gradient, before it was clipped.",
    ),
    (
        "xprompt_train_learning_rate",
        "gauge",
        "trainer",
        (),
        "Learning rate of the last step.",
    ),
    (
        "xprompt_train_mfu_ratio",
        "gauge",
        "trainer",
        (),
        "Model FLOPs of the last step as a share of the GPUs' peak; only on GPUs whose peak is known.",
    ),
    (
        "xprompt_train_skipped_steps_total",
        "counter",
        "trainer",
        ("reason",),
        "Steps that changed nothing, by `reason`: spike (of the loss), not_finite (loss or gradient).",
    ),
    (
        "xprompt_train_data_wait_seconds_total",
        "counter",
        "trainer",
        (),
        "Seconds in which the rank that waited longest waited for data.",
    ),
    (
        "xprompt_train_peak_memory_bytes",
        "gauge",
        "trainer",
        (),
        "Most memory in use in the last step, of the rank that used most: of its GPU, or on a CPU of its "
        "process since it began.",
    ),
    (
        "xprompt_train_checkpoint_seconds",
        "histogram",
        "trainer",
        (),
        "Seconds from when a checkpoint was begun to when it was complete; training goes on meanwhile.",
    ),
    (
        "xprompt_train_checkpoint_step",
        "gauge",
        "trainer",
        (),
        "The step of the newest complete checkpoint.",
    ),
)

METRICS: Mapping[str, Metric] = {row[0]: _metric(*row) for row in _ROWS}
"""Name -> metric, in the order in which documents list them."""
