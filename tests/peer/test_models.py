"""Same weights and images in, same outputs out, and the same weights back: every model of the paper."""

from __future__ import annotations

import pytest
import torch

from tests.peer.official import official_model, our_model
from yolox_core.config import MODELS
from yolox_core.deploy.weights import to_official

#: Height and width differ, so that swapped axes show.
SHAPE = (64, 96)


@pytest.mark.parametrize("name", MODELS)
def test_outputs_boxes_and_exported_names_agree(name: str) -> None:
    peer = official_model(name, seed=3)
    detector = our_model(name, peer)
    images = torch.rand(2, 3, *SHAPE, generator=torch.Generator().manual_seed(4)) * 255
    with torch.no_grad():
        peer.head.decode_in_inference = False
        raw = peer(images)
        peer.head.decode_in_inference = True
        decoded = peer(images)
        prediction, _ = detector.predict(images)
    assert raw[..., :4].std() > 0.1  # not all alike
    torch.testing.assert_close(prediction.offsets, raw[..., :4], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(prediction.objectness.sigmoid(), raw[..., 4], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(prediction.classes.sigmoid(), raw[..., 5:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(prediction.boxes_cxcywh, decoded[..., :4], rtol=1e-4, atol=1e-4)

    exported = to_official(detector)
    peer.load_state_dict(exported, strict=True)
    assert all(torch.equal(value, exported[key]) for key, value in peer.state_dict().items())
