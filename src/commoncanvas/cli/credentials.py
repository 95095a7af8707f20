"""`commoncanvas credentials`: what is signed into images."""

from __future__ import annotations

from commoncanvas.cli.shared import Json, show
from commoncanvas.core.errors import CredentialError
from commoncanvas.core.text import counted


def credentials(*images: str, trust: str | None = None, json_: Json = False) -> None:
    """Read the content credentials (C2PA) of each IMAGE: who signed it, whether it was changed, which model drew it.
    The exit code is 2 if there is a problem.

    Args:
        images: files that `generate` or another tool wrote.
        trust: PEM file with the certificates of authorities that you trust; default: none, so anyone may have signed.
    """
    from commoncanvas.drawing.reading import credentials as read

    if not images:
        raise CredentialError("name at least one image")
    found = []
    for image in images:
        found.append(read(image, trust=trust))
        if not json_:
            show(found[-1], False)
    if json_:
        show([each.to_dict() for each in found], True)
    if wrong := [each.image for each in found if each.problems]:
        raise CredentialError(
            f"{wrong[0]} has no credentials that hold"
            + (f", and {counted(len(wrong) - 1, 'other images')}" if wrong[1:] else "")
        )
