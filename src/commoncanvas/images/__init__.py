"""Decode, check and encode images. Keep imports here few, so that decoding processes start fast."""
