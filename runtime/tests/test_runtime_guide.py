"""The camera's loop in the guide, with a camera that sees two images of noise."""

import contextlib
import io
import re
import sys
import types
from pathlib import Path

import numpy as np
from larq_equalbits_runtime import Interpreter, _images
from larq_equalbits_runtime._description import Description

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "deploy-raspberry-pi.md"


class Camera:
    """Has the methods of picamera2's class that the guide calls."""

    def __init__(self):
        self.frames = iter(np.random.default_rng(0).integers(0, 256, (2, 240, 320, 3), np.uint8))

    def create_preview_configuration(self, main):
        assert main == {"format": "BGR888", "size": (320, 240)}
        return main

    def configure(self, configuration):
        assert configuration

    def start(self):
        self.started = True

    def capture_array(self):
        assert self.started
        frame = next(self.frames, None)
        if frame is None:
            raise KeyboardInterrupt
        return frame


def test_the_camera_loop_of_the_guide_prints_labels(deployed, monkeypatch):
    from PIL import Image

    (code,) = re.findall(r"```py\n(.*?)```", GUIDE.read_text(), re.S)
    module = types.ModuleType("picamera2")
    module.Picamera2 = Camera
    monkeypatch.setitem(sys.modules, "picamera2", module)
    deployed.rename(deployed.with_name("digits"))
    monkeypatch.chdir(deployed.parent)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(KeyboardInterrupt):
        exec(code, {})
    labels = printed.getvalue().splitlines()
    assert len(labels) == 2

    Image.fromarray(next(Camera().frames)).save("frame.png")
    description = Description.beside(Path("digits/model.tflite"), Path("digits/model.tflite").read_bytes())
    pixels = _images.load(Path("frame.png"), (1, 8, 8, 1), description)
    scores = Interpreter("digits/model.tflite").predict(pixels)
    assert labels[0] == description.label(int(scores.argmax()))
