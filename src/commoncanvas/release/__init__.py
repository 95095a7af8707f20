"""Publish a model or its data so that strangers can use, check, cite and object to it, and check what they publish."""
