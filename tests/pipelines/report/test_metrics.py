"""What a run tells Ray, scraped as Prometheus does it: from the port of a node, in the text format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from tests.commands import ROOT

_DRIVER = """
import json, os, sys, time, urllib.request
from collections import Counter
from types import SimpleNamespace

from prometheus_client.parser import text_string_to_metric_families

from manifests.metrics import METRICS
from operators.vlm.openai import Attempt
from operators.vlm.request import Usage
from pipelines.report.metrics import exported
from pipelines.report.prices import Prices
from pipelines.report.ray_metrics import RayMetrics
from pipelines.report.vlm_metrics import telling_ray
from pipelines.run.session import ray_session
from pipelines.run.spent import Spent
from pipelines.run.watch import Painting, Units, Watch

vlm = SimpleNamespace(model="judge", is_local=False)
store = SimpleNamespace(is_local=True)
job = SimpleNamespace(task=SimpleNamespace(name="style", vlm=vlm), out="/", dataset=SimpleNamespace(store=store))
painting = Painting(
    job=job, operators=("flux", "scores"), gpus=0.5, pairs=10, pairs_left=54, painters=2, lost=1, pictures=20,
    places=32, own=24, held_s=400.0, gpu_s=300.0, starting_s=20.0, loading_s=60.0, answers_s=12.0, disk_s=4.0,
)
spent = Spent(
    items=Counter(flux=5), seconds={"flux": 50.0}, pictures=Counter(flux=10), places=Counter(flux=16),
    own=Counter(flux=12), loading_s={"flux": 8.0},
)
usage = Usage(calls=7, replayed=3, tokens_in=1000, tokens_out=500)
commit = SimpleNamespace(pairs=4, rejects={"ugly": 2}, shard_bytes=1024)
heard = []
watch = Watch(
    on_start=lambda workers: heard.append("start"), on_made=lambda job, made: heard.append("made"),
    on_delivered=lambda job, delivered: heard.append("delivered"), on_tick=lambda paintings: heard.append("tick"),
    on_units=lambda units, gpus: heard.append("units"),
)
with ray_session(1):
    targets, = json.load(open(os.path.join(os.environ["RAY_TMPDIR"], "ray", f"xprompt_metrics_{os.getpid()}.json")))
    url = f"http://{targets['targets'][0]}/metrics"
    watch = exported(watch, {"/": Prices(per_million_in=1000.0, per_million_out=2000.0)})
    watch.on_start(2)
    watch.on_made(job, SimpleNamespace(commit=commit, spent=spent, usage=usage))
    watch.on_delivered(job, SimpleNamespace(spent=spent, usage=Usage()))
    watch.on_tick([painting])
    painting.pairs, painting.pairs_left = 15, 49
    asked = telling_ray()
    asked(Attempt(model="judge", seconds=1.5, tokens_in=100, tokens_out=10))
    asked(Attempt(model="judge", seconds=9.0, error="timeout"))
    many = RayMetrics()
    for number in range(120):
        many.add("xprompt_rejects_total", 1, task="own", reason=f"reason {number}")
    until = time.monotonic() + 60
    found = {}
    while time.monotonic() < until and found.get("xprompt_painted_pairs_total style flux+scores") != 15:
        watch.on_tick([painting])
        watch.on_units([Units(job=job, done=1, running=2, queued=3, failed=4, oldest_start_s=5.0)], 8.0)
        time.sleep(0.5)
        try:
            text = urllib.request.urlopen(url, timeout=5).read().decode()
        except OSError:
            continue
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith("ray_xprompt") and "le" not in sample.labels:
                    name = sample.name.removeprefix("ray_")
                    labels = METRICS[name.removesuffix("_sum").removesuffix("_count")].labels
                    found[" ".join([name, *(sample.labels[label] for label in labels)])] = sample.value
print(json.dumps([sorted(set(heard)), found]))
"""


def test_prometheus_reads_what_a_run_does() -> None:
    environment = {**os.environ, "RAY_metrics_report_interval_ms": "1000", "RAY_TMPDIR": "/tmp"}  # 10 s by default
    ran = subprocess.run([sys.executable, "-c", _DRIVER], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    heard, found = json.loads(ran.stdout.splitlines()[-1])
    assert heard == ["delivered", "made", "start", "tick", "units"]
    own = {name: found.pop(name) for name in [*found] if name.startswith("xprompt_rejects_total own")}
    assert len(own) == 101 and own["xprompt_rejects_total own other"] == 20  # a label has at most a hundred values
    assert abs(found.pop("xprompt_last_result_timestamp_seconds") - time.time()) < 300
    assert 0 < found.pop("xprompt_disk_free_bytes") <= found.pop("xprompt_disk_size_bytes")
    assert found == {
        "xprompt_units style done": 1,
        "xprompt_units style running": 2,
        "xprompt_units style queued": 3,
        "xprompt_units style failed": 4,
        "xprompt_unit_oldest_start_timestamp_seconds style": 5,
        "xprompt_pairs_total style": 4,
        "xprompt_rejects_total style ugly": 2,
        "xprompt_written_bytes_total style": 1024,
        "xprompt_operator_items_total style flux": 10,
        "xprompt_operator_seconds_total style flux": 100,
        "xprompt_operator_loading_seconds_total style flux": 16,
        "xprompt_pictures_total style flux": 20,
        "xprompt_batch_places_total style flux": 32,
        "xprompt_batch_own_places_total style flux": 24,
        "xprompt_painters style flux+scores": 2,
        "xprompt_painting_pairs_left style flux+scores": 49,
        "xprompt_painted_pairs_total style flux+scores": 15,
        "xprompt_lost_pairs_total style flux+scores": 1,
        "xprompt_painter_seconds_total style flux+scores painting": 300,
        "xprompt_painter_seconds_total style flux+scores starting": 20,
        "xprompt_painter_seconds_total style flux+scores loading": 60,
        "xprompt_painter_seconds_total style flux+scores answers": 12,
        "xprompt_painter_seconds_total style flux+scores disk": 4,
        "xprompt_gpus": 8,
        "xprompt_gpu_seconds_total style flux+scores held": 200,
        "xprompt_gpu_seconds_total style flux+scores busy": 150,
        "xprompt_vlm_requests_total judge": 2,
        "xprompt_vlm_errors_total judge timeout": 1,
        "xprompt_vlm_request_seconds_count judge": 2,
        "xprompt_vlm_request_seconds_sum judge": found["xprompt_vlm_request_seconds_sum judge"],
        "xprompt_vlm_tokens_total judge in": 100,
        "xprompt_vlm_tokens_total judge out": 10,
        "xprompt_vlm_replayed_requests_total judge": 3,
        "xprompt_vlm_cost_total judge": 2,
    }
