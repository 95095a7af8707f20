"""Fingerprints: what differs is named, and what does not differ is the same."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.evaluation.fingerprint import Fingerprint, differences, drawn, note

MARK = drawn(
    ["a red cube", "a blue ball"],
    [3, 4],
    sampler="DDIMScheduler",
    steps=20,
    guidance_scale=5.0,
    size="64 x 64",
    features="inception-v3",
    features_sha256="0" * 64,
)
OTHER: dict[str, Any] = {
    name: 7 if isinstance(getattr(MARK, name), int | float) else "other"
    for name in (field.name for field in fields(Fingerprint))
    if name != "libraries"
}


@given(st.sets(st.sampled_from(sorted(OTHER))))
def test_differences_are_the_fields_that_were_changed_and_only_those_change_the_digest(
    names: set[str],
) -> None:
    changed = replace(MARK, **{name: OTHER[name] for name in names})
    assert set(differences(MARK, changed)) == set(differences(changed, MARK)) == names
    assert (changed.digest == MARK.digest) == (not names)
    assert Fingerprint.of(json.loads(json.dumps(changed.to_dict()))) == changed
    assert (note([MARK, changed]) is None) == (not names)
    assert note([MARK, changed], names) is None


def test_the_order_of_prompts_and_each_seed_and_library_count() -> None:
    settings = {"sampler": "DDIMScheduler", "steps": 1, "guidance_scale": 1.0, "size": "8 x 8"}
    one = drawn(["a", "b"], [1, 2], **settings)
    assert differences(one, drawn(["b", "a"], [1, 2], **settings)) == ["prompts_sha256"]
    assert differences(one, drawn(["a", "b"], [1, 3], **settings)) == ["seeds_sha256"]
    assert one.libraries
    newer = replace(one, libraries={**one.libraries, "torch": "99"})
    assert differences(one, newer) == ["libraries.torch"]
    assert note([one, newer]) == (
        "These figures were not measured in the same way; what differs: version of torch."
    )
