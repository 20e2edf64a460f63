"""What massgen costs, beside what others cost for the same calls: `python -m benchmarks`."""
