"""Benchmarks in asv's layout: `cd asv_bench && asv run --python=same --quick`."""
