"""What papers call the Fréchet and the kernel distance of a network's features."""

from __future__ import annotations

DISTANCES = {
    "inception-v3": ("FID", "KID"),
    "inception-v3-tf1": ("FID", "KID"),
    "clip-vit-b-32": ("CLIP-FID", "CLIP-KID"),
    "dinov2-vit-l-14": ("FD-DINOv2", "KD-DINOv2"),
}
"""Other networks have no names of their own."""
FRECHET = {network: name for network, (name, _) in DISTANCES.items()}
KERNEL = {network: name for network, (_, name) in DISTANCES.items()}
