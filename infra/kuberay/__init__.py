"""Manifests for Kubernetes, rendered from one file of values: `python -m infra.kuberay values.yaml`."""
