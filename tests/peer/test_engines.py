"""The official demos' way with an exported file: ours finds the same boxes.

The demos are scripts: pre-processing, the engine, decoding, class-agnostic NMS. All but the engine's call are
functions of the official package.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.peer.official import data_augment
from yolox_core.augmentation.letterbox import letterbox
from yolox_core.build import build_detector
from yolox_core.config import MODELS, YOLOX_INGREDIENTS
from yolox_core.data.coco import CocoDataset
from yolox_core.deploy.engine_detector import EngineDetector
from yolox_core.deploy.engines import open_engine
from yolox_core.deploy.export import export_file, make_card, trace
from yolox_core.deploy.weights import load_official

pytestmark = pytest.mark.deploy
for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason="needs pip install '.[deploy]'")

from yolox.utils import demo_postprocess, multiclass_nms  # noqa: E402

SHARED = Path(__file__).resolve().parents[3] / "shared"
COCO_MINI, RELEASED = SHARED / "coco-mini", SHARED / "weights" / "yolox_nano.pth"


@pytest.mark.skipif(
    not (COCO_MINI.exists() and RELEASED.exists()), reason="needs ../shared/coco-mini and ../shared/weights"
)
def test_the_official_demos_find_the_same_in_the_same_file(tmp_path: Path) -> None:
    dataset = CocoDataset(COCO_MINI, "val2017")
    detector = build_detector(MODELS["yolox-nano"], YOLOX_INGREDIENTS)
    load_official(detector, RELEASED)
    card = make_card(detector, "yolox-nano", dataset.class_names, 416, outputs="raw")
    traced = trace(detector, card)
    files = {"onnx": tmp_path / "nano.onnx", "openvino": tmp_path / "nano.xml"}
    for form, file in files.items():
        export_file(detector, card, form, file, traced=traced)
    import onnxruntime
    import openvino

    session = onnxruntime.InferenceSession(files["onnx"], providers=["CPUExecutionProvider"])
    compiled = openvino.compile_model(files["openvino"], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    calls = {
        "onnx": lambda pixels: session.run(None, {session.get_inputs()[0].name: pixels})[0],
        "openvino": lambda pixels: compiled(pixels)[0].copy(),
    }
    found = 0
    for form, call in calls.items():
        engine = EngineDetector(open_engine(files[form], 1))
        for index in range(6):
            image = dataset.load_image(index)
            pixels, _ = data_augment.preproc(image.copy(), (416, 416))
            rows = demo_postprocess(call(pixels[None]), (416, 416))[0]
            ours, _ = letterbox(image, 416)
            mine = engine.forward(ours.transpose(2, 0, 1)[None].astype(np.float32))
            decoded = engine.predictions(mine, 1)[0].numpy()
            np.testing.assert_allclose(decoded, rows, rtol=1e-4, atol=1e-3)

            # The demos suppress across classes at 0.45, with a pixel added to each side.
            boxes = np.concatenate((rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2), 1)
            theirs = multiclass_nms(boxes, rows[:, 4:5] * rows[:, 5:], nms_thr=0.45, score_thr=0.5)
            (detections,) = engine.postprocess(mine, 1, 0.5, 0.45)
            expected = np.empty((0, 6)) if theirs is None else theirs
            assert len(detections.scores) >= len(expected)  # ours keeps another class at the same place
            for *box, score, label in expected:
                same = detections.labels == int(label)
                apart = (detections.boxes_xyxy[same] - torch.tensor(box)).abs().amax(-1)
                nearest = int(apart.argmin())
                assert float(apart[nearest]) < 0.01
                assert float(detections.scores[same][nearest]) == pytest.approx(score, abs=1e-4)
                found += 1
    assert found > 20
