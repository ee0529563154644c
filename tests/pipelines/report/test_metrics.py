"""What painters do, scraped as Prometheus does it: from the port of a node, in the text format."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.commands import ROOT

_DRIVER = """
import json, sys, time, urllib.request
from types import SimpleNamespace

import ray
from prometheus_client.parser import text_string_to_metric_families

from pipelines.report.metrics import exported
from pipelines.run.session import ray_session
from pipelines.run.watch import Painting, Watch

job = SimpleNamespace(task=SimpleNamespace(name="style"))
painting = Painting(
    job=job, operators=("flux", "scores"), gpus=1.0, pairs=10, pairs_left=54, painters=2, lost=1, pictures=20,
    places=32, own=24, held_s=400.0, gpu_s=300.0, starting_s=20.0, loading_s=60.0, answers_s=12.0, disk_s=4.0,
)
heard = []
with ray_session(1):
    watch = exported(Watch(on_tick=heard.append))
    watch.on_tick([painting])
    painting.pairs, painting.pictures, painting.pairs_left = 15, 30, 49
    watch.on_tick([painting])
    node, = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    until = time.monotonic() + 60
    found = {}
    while time.monotonic() < until and found.get("ray_xprompt_pairs_total") != 15:
        time.sleep(0.5)
        try:
            text = urllib.request.urlopen(url, timeout=5).read().decode()
        except OSError:
            continue
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = sample.labels
                if sample.name.startswith("ray_xprompt"):
                    assert (labels["dataset"], labels["models"]) == ("style", "flux+scores")
                    found[" ".join(filter(None, [sample.name, labels.get("what")]))] = sample.value
print(json.dumps([len(heard), found]))
"""


def test_prometheus_reads_what_painters_do() -> None:
    environment = {**os.environ, "RAY_metrics_report_interval_ms": "1000"}  # every 10 s by default
    ran = subprocess.run([sys.executable, "-c", _DRIVER], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    heard, found = json.loads(ran.stdout.splitlines()[-1])
    assert heard == 2
    assert found == {
        "ray_xprompt_pairs_total": 15.0,
        "ray_xprompt_pictures_total": 30.0,
        "ray_xprompt_lost_total": 1.0,
        "ray_xprompt_places_total": 32.0,
        "ray_xprompt_own_total": 24.0,
        "ray_xprompt_pairs_left": 49.0,
        "ray_xprompt_painters": 2.0,
        "ray_xprompt_gpu_busy": 0.75,
        "ray_xprompt_batch_fill": 0.75,
        "ray_xprompt_painter_seconds_total painting": 300.0,
        "ray_xprompt_painter_seconds_total starting": 20.0,
        "ray_xprompt_painter_seconds_total loading": 60.0,
        "ray_xprompt_painter_seconds_total answers": 12.0,
        "ray_xprompt_painter_seconds_total disk": 4.0,
    }
