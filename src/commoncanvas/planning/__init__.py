"""Estimates before a training starts: operations, hours, device memory, storage and cost."""
