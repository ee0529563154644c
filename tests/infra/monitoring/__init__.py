"""Tests of infra/monitoring: names, documents, alerts, and Prometheus itself on real runs."""
