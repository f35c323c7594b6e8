"""A lean process has what a clip needs, and a process that others use is left alone."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("transformers", "timm", "peft", "torch._dynamo", "scipy.stats", "sympy")
LEAN = "from ivideo.models.lean_imports import import_diffusers, keep_imports_lean; keep_imports_lean()\n"


def run(code: str) -> str:
    """What a fresh Python prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_generating_and_scoring_import_nothing_for_other_models(tmp_path):
    arguments = ["generate", "a cat", "--model", "emoji-world", "--output", str(tmp_path), "--quiet"]
    arguments += ["--reward", "emoji-preference"]
    small = ["--num-frames", "4", "--num-inference-steps", "1"]
    code = f"""
import sys
from ivideo.cli.app import main
sys.argv = ["ivideo", *{arguments + small!r}]
try:
    main()
except SystemExit as leaving:
    assert not leaving.code, leaving.code
print(*({set(HEAVY)!r} & sys.modules.keys()))
"""
    assert run(code).splitlines() == [str(tmp_path / "a-cat_seed0.mp4")]


def test_lean_classes_load_and_the_rest_can_still_be_imported():
    code = f"""{LEAN}
diffusers = import_diffusers()
assert diffusers.UNet3DConditionModel.__name__ == "UNet3DConditionModel"
assert diffusers.AutoencoderKL.__name__ == "AutoencoderKL"
assert diffusers.LMSDiscreteScheduler.from_config({{}}).config.num_train_timesteps == 1000
import peft, transformers, torch._dynamo, torch
assert torch.compiler.disable.__module__ == "torch.compiler"
assert import_diffusers() is diffusers
print("fine")
"""
    assert run(code) == "fine"


def test_a_process_of_others_gets_all_of_diffusers():
    code = """
from ivideo.models.lean_imports import import_diffusers
import_diffusers().UNet3DConditionModel
import sys
print("peft" in sys.modules)
"""
    assert run(code) == "True"


def test_another_diffusers_is_imported_the_usual_way():
    code = f"""{LEAN}
import ivideo.models.lean_imports as lean
lean.NEEDED = ("no_such_module",)
diffusers = import_diffusers()
import sys
assert "diffusers.models.unets" not in sys.modules
print(diffusers.UNet3DConditionModel.__name__, diffusers.utils.is_peft_available())
"""
    assert run(code) == "UNet3DConditionModel True"


def test_a_lean_clip_is_open_clips_and_leaves_it_whole():
    code = f"""{LEAN}
from ivideo.models.lean_imports import import_clip_class
from ivideo.rewards.registry import load_reward
import sys, torch
lean = load_reward("emoji-preference", torch.device("cpu"))
assert not {{"open_clip", "torchvision", "transformers", "timm"}} & sys.modules.keys()
import open_clip, torchvision
assert open_clip.hf_model.transformers and open_clip.timm_model.timm and torchvision.ops.nms
assert import_clip_class() is open_clip.CLIP
whole = load_reward("emoji-preference", torch.device("cpu"))
assert type(whole.network) is not type(lean.network)
frames = torch.rand(1, 2, 3, 64, 64)
scores = [judge.score(frames, ["a cat"]) for judge in (lean, whole)]
print(torch.equal(*scores))
"""
    assert run(code) == "True"


def test_another_open_clip_is_imported_the_usual_way():
    code = f"""{LEAN}
import ivideo.models.lean_imports as lean
lean.CLIP_PACKAGES = ("open_clip", "no_such_package")
print(lean.import_clip_class().__module__)
import sys
print("timm" in sys.modules)
"""
    assert run(code).split() == ["open_clip.model", "True"]
