"""Wrong input: one clear line on stderr, exit code 1 or 2, nothing on stdout, nothing created."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from ivideo.video.reader import read_video
from ivideo.video.writer import write_video

SMALL = "--num-frames 4 --num-inference-steps 2 --model emoji-world"
TRAINING = f"{SMALL} --num-grad-steps 1"
WEIGHTS = "adapter_model.safetensors"
REWARD = """
def wrong(frames, prompts):
    return frames.mean()

def hard(frames, prompts):
    return frames.round().mean((2, 3, 4))
"""


@pytest.fixture(scope="module")
def wrong_things(tmp_path_factory: pytest.TempPathFactory, base_videos: Path, trained_run: Path) -> Path:
    """A folder full of things that are not what a command wants."""
    root = tmp_path_factory.mktemp("wrong")
    texts = {
        "prompts.txt": "a cat\na dog\n",
        "empty.txt": "# nothing\n\n",
        "file": "x",
        "full/x": "",
        "typo.toml": "num_segmets = 2\n",
        "broken.toml": "seed = = 1\n",
        "text.mp4": "not a video\n",
        "reward.py": REWARD,
    }
    for folder in ("nothing", "full", "one"):
        (root / folder).mkdir()
    for name, text in texts.items():
        (root / name).write_text(text)
    source = base_videos / "a-pig_seed0.mp4"
    shutil.copy(source, root / "good.mp4")
    shutil.copy(source, root / "one" / "a.mp4")
    (root / "cut.mp4").write_bytes(source.read_bytes()[:-800])
    frames = read_video(source).frames
    write_video(root / "silent.mp4", frames, 8, {})
    write_video(root / "speechless" / "a.mp4", frames, 8, {})
    write_video(root / "other" / "b.mp4", frames, 8, {"prompt": "a cow", "seed": 3})
    shutil.copytree(trained_run, root / "run")
    for name in ("foreign", "damaged"):
        shutil.copytree(trained_run / "adapter", root / name)
    weights = load_file(root / "run" / "adapter" / WEIGHTS)
    save_file({name: w[..., :-1].contiguous() for name, w in weights.items()}, root / "foreign" / WEIGHTS)
    (root / "damaged" / WEIGHTS).write_bytes(b"junk")
    return root


@pytest.fixture
def world(wrong_things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the wrong things; the current folder."""
    shutil.copytree(wrong_things, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


CASES = [
    ("generate", 2, "no prompt: give one"),
    ("generate ''", 2, "empty prompt"),
    ("generate 'a cat' ' '", 2, "empty prompt"),
    ("generate --prompts missing.txt", 1, "missing.txt does not exist"),
    ("generate --prompts empty.txt", 1, "no prompts in empty.txt"),
    ("generate --prompts nothing", 1, "nothing is a folder"),
    ("generate 'a cat' --model nope", 2, "unknown model 'nope'"),
    ("generate 'a cat' --model full", 1, "full/model_index.json is missing"),
    ("generate 'a cat' --num-inference-steps -3", 2, "--num-inference-steps -3: "),
    ("generate 'a cat' --num-frames 0", 2, "--num-frames 0: "),
    ("generate 'a cat' --guidance-scale nan", 2, "--guidance-scale nan: "),
    ("generate 'a cat' --height 60", 2, "--height 60: "),
    ("generate 'a cat' --height 24 $SMALL", 2, "--height 24: emoji-world needs a multiple of 16"),
    ("generate 'a cat' --fps 0", 2, "--fps 0.0: "),
    ("generate 'a cat' --fps 0.001 $SMALL", 2, "at least 0.01 frames per second"),
    ("generate 'a cat' --fps 100 $SMALL -o x.gif", 2, "at most 50 frames per second"),
    ("generate 'a cat' --seed -1", 2, "--seed -1: "),
    ("generate 'a cat' --device nope $SMALL", 2, "--device nope: "),
    ("generate 'a cat' --device cuda:99 $SMALL", 2, "--device cuda:99: "),
    ("generate 'a cat' --device cpu --device nope $SMALL", 2, "--device nope: "),
    ("generate 'a cat' $SMALL -o file", 1, "file is in the way"),
    ("generate 'a cat' $SMALL -o file/x.mp4", 1, "file is in the way"),
    ("generate 'a cat' $SMALL -o /proc/nope", 1, "cannot write to folder /proc/nope"),
    ("generate 'a cat' $SMALL -o /dev/null/x", 1, "cannot use /dev/null/x"),
    ("generate 'a cat' $SMALL -o x.avi", 2, "a video ends in .mp4 or .gif"),
    ("generate 'a cat' 'a dog' $SMALL -o x.mp4", 2, "one file for 2 videos"),
    ("generate 'a cat' $SMALL --num-videos 2 -o x.mp4", 2, "one file for 2 videos"),
    ("generate 'a cat' --lora missing", 1, "missing does not exist"),
    ("generate 'a cat' --lora file", 1, "file is a file"),
    ("generate 'a cat' --lora nothing", 1, "neither a run folder (config.toml) nor an adapter"),
    ("generate 'a cat' --lora foreign $SMALL", 1, "was trained on another model"),
    ("generate 'a cat' --lora damaged $SMALL", 1, "adapter damaged is damaged"),
    ("generate 'a cat' --lora run --lora-scale nan", 2, "--lora-scale nan: "),
    ("generate 'a cat' --lora-scale 0.5", 2, "--lora-scale without --lora"),
    ("generate 'a cat' --config missing.toml", 1, "missing.toml does not exist"),
    ("generate 'a cat' --config broken.toml", 1, "broken.toml cannot be read"),
    ("generate 'a cat' --config typo.toml", 2, "unknown setting 'num_segmets'; did you mean num_segments?"),
    ("generate 'a cat' --config run/config.toml", 2, "for this command"),
    ("score good.mp4 --prompt ''", 2, "empty prompt"),
    ("score good.mp4 --num-segments 0", 2, "--num-segments 0: "),
    ("score good.mp4 --batch-size 0", 2, "--batch-size 0: "),
    ("score good.mp4 --max-curve-frames 0", 2, "--max-curve-frames 0: "),
    ("score good.mp4 --plot x.jpg", 2, "a plot ends in .png"),
    ("score good.mp4 --plot file/x.png", 1, "file is in the way"),
    ("score good.mp4 --plot /proc/x.png", 1, "cannot write to folder /proc"),
    ("score good.mp4 --export vbench nothing", 2, "cannot write nothing: it is a folder"),
    ("score good.mp4 --export vbench file/x.json", 1, "file is in the way"),
    ("score good.mp4 --export vbench x.json --no-temporal", 2, "--export vbench needs every frame"),
    ("score good.mp4 --attenuation-rate -1", 2, "--attenuation-rate '-1': "),
    ("score good.mp4 --attenuation-rate inf", 2, "--attenuation-rate 'inf': "),
    ("score good.mp4 --reward nope", 2, "unknown reward 'nope'"),
    ("score good.mp4 --reward emoji-preference --reward nope", 2, "unknown reward 'nope'"),
    ("score good.mp4 --reward clip --reward clip", 2, "--reward clip was given twice"),
    ("score good.mp4 --reward ''", 2, "name a reward model"),
    ("score good.mp4 --reward emoji-preference=-1", 2, "must be a positive number"),
    ("score good.mp4 --reward emoji-preference=1,clip", 2, "every reward model of a sum needs a weight"),
    ("score good.mp4 --reward file.py:f", 1, "file.py does not exist"),
    ("score good.mp4 --reward reward.py:missing", 1, "has no function 'missing'"),
    ("score good.mp4 --reward reward.py:wrong", 1, "reward reward.py:wrong returned a float32 tensor () instead of"),
    ("score good.mp4 --reward hpsv2:text.mp4", 1, "text.mp4 is damaged or no checkpoint of HPSv2"),
    ("score -", 2, "no videos"),
    ("compare base nope", 2, "unknown model 'nope'"),
    ("compare base file", 2, "file is a file"),
    ("compare base nothing", 1, "nothing is empty"),
    ("compare base full", 1, "neither a run folder"),
    ("compare one other", 1, "one and other share no video"),
    ("compare base run --prompts empty.txt", 1, "no prompts in empty.txt"),
    ("compare base run --num-segments 5", 2, "num_segments 5 is more than num_frames 4"),
    ("compare base run --lora-scale inf", 2, "--lora-scale inf: "),
    ("compare base base --lora-scale 2", 2, "there is nothing to scale"),
    ("compare base", 2, "one candidate has nothing to be compared with"),
    ("compare base emoji-world", 2, "base and emoji-world are the same model with the same settings"),
    ("compare run base run", 2, "run and run are the same model with the same settings"),
    ("compare base run --lora-scale 1 --lora-scale 1.0", 2, "run @1 and run @1 are the same model"),
    ("compare one other one", 2, "one and one are the same folder"),
    ("compare base run --seeds 0", 2, "--seeds 0: must be at least 1"),
    ("compare base run --rate", 2, "give their folder by --output"),
    ("compare base run --ratings good.mp4", 2, "give their folder by --output"),
    ("compare base run -o new --ratings good.mp4", 1, "good.mp4 is no UTF-8 text"),
    ("compare one other --seeds 2", 2, "--seeds 2: the videos in one say the seeds"),
    ("compare one base other", 1, "one and other share no video"),
    ("compare speechless base", 1, "the videos in speechless do not say their prompts and seeds"),
    ("compare base run -o file", 1, "file is in the way"),
    ("compare base run -o /dev/null/x", 1, "cannot use /dev/null/x"),
    ("compare one other -o one", 2, "holds the videos that are compared"),
    ("compare base foreign --prompts prompts.txt -o new $SMALL", 1, "was trained on another model"),
    ("finetune missing.txt", 1, "missing.txt does not exist"),
    ("finetune empty.txt", 1, "no prompts in empty.txt"),
    ("finetune prompts.txt --strength 1.1", 2, "--strength 1.1: "),
    ("finetune prompts.txt --strength 0", 2, "--strength 0.0: "),
    ("finetune prompts.txt --max-steps -1", 2, "--max-steps -1: "),
    ("finetune prompts.txt --num-segments 17 --model emoji-world", 2, "num_segments 17 is more than num_frames 16"),
    ("finetune prompts.txt --num-grad-steps 13 --model emoji-world", 2, "more than the 5 steps"),
    ("finetune prompts.txt --learning-rate inf", 2, "--learning-rate inf: "),
    ("finetune prompts.txt --lora-rank 0", 2, "--lora-rank 0: "),
    ("finetune prompts.txt $TRAINING -o full", 1, "output full is not empty"),
    ("finetune prompts.txt $TRAINING -o file", 1, "file is in the way"),
    ("finetune prompts.txt $TRAINING -o /proc/x", 1, "cannot write to folder /proc/x"),
    ("finetune prompts.txt --model nope -o new", 2, "unknown model 'nope'"),
    ("finetune prompts.txt --height 24 $TRAINING -o new", 2, "--height 24: emoji-world needs a multiple of 16"),
    ("finetune prompts.txt --reward nope $TRAINING -o new", 2, "unknown reward 'nope'"),
    ("finetune prompts.txt --reward reward.py:hard $TRAINING -o new", 1, "gives no gradients and cannot be trained on"),
    ("finetune prompts.txt --reward emoji-preference=1,reward.py:hard=1 $TRAINING -o new", 1, "gives no gradients"),
    ("finetune prompts.txt --eval-prompts prompts.txt $TRAINING -o new", 1, "every held-out prompt is also trained on"),
    ("finetune prompts.txt --eval-prompts missing.txt $TRAINING -o new", 1, "missing.txt does not exist"),
]


@pytest.mark.parametrize(("command", "code", "message"), CASES, ids=[case[0] for case in CASES])
def test_one_clear_line(ivideo, world: Path, command: str, code: int, message: str) -> None:
    before = sorted(world.rglob("*"))
    result = ivideo(*shlex.split(command.replace("$SMALL", SMALL).replace("$TRAINING", TRAINING)), input="")
    assert (result.exit_code, result.stdout) == (code, "")
    *notes, error = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert message in error
    told = ("model: emoji-world", "second reward model, not trained on: emoji-clip", "no second reward model")
    assert all(note.startswith(told) for note in notes)
    assert sorted(world.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("generate 'a cat' --num-videos 0", "--num-videos"),
        ("generate 'a cat' --num-frames many", "--num-frames"),
        ("generate 'a cat' --format xml", "--format"),
        ("generate 'a cat' --dtype int8", "--dtype"),
        ("generate 'a cat' --nonsense", "--nonsense"),
        ("score", "VIDEO"),
        ("compare", "Missing argument"),
        ("compare base run --seeds many", "--seeds"),
        ("score good.mp4 --export nope x.json", "--export"),
        ("score good.mp4 --export vbench", "--export"),
        ("finetune prompts.txt --preset nope", "--preset"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_the_parser_refuses(ivideo, world: Path, command: str, message: str) -> None:
    before = sorted(world.rglob("*"))
    result = ivideo(*shlex.split(command))
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert sorted(world.rglob("*")) == before
