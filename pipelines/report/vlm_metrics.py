"""The requests to a vision-language model's server, as metrics of the table (manifests/metrics.py)."""

from __future__ import annotations

from collections.abc import Callable

from operators.vlm.openai import Attempt
from pipelines.report.ray_metrics import RayMetrics


def telling_ray() -> Callable[[Attempt], None]:
    """Who is to be told of each request that has come to its end, in a process that is connected to Ray."""
    metrics = RayMetrics()

    def heard(attempt: Attempt) -> None:
        model = attempt.model
        metrics.add("xprompt_vlm_requests_total", 1, model=model)
        metrics.observe("xprompt_vlm_request_seconds", attempt.seconds, model=model)
        if attempt.error:
            metrics.add("xprompt_vlm_errors_total", 1, model=model, kind=attempt.error)
        metrics.add("xprompt_vlm_tokens_total", attempt.tokens_in, model=model, direction="in")
        metrics.add("xprompt_vlm_tokens_total", attempt.tokens_out, model=model, direction="out")

    return heard
