"""Which value of a setting wins, and what an adapter brings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ivideo.config.settings import FinetuneSettings, GenerationSettings, Settings, generation_settings
from ivideo.errors import IvideoError, UsageError
from ivideo.inputs.adapters import Adapter, adapter_of_weights_file, find_adapter
from ivideo.inputs.prompts import check_prompts
from ivideo.inputs.settings import resolve_settings
from ivideo.progress import Silence


class Listener(Silence):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def say(self, message: str) -> None:
        self.heard.append(message)


def model_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **sources: str | None) -> tuple[str, list[str]]:
    """The model that wins when each source names the one that is given for it."""
    config = tmp_path / "c.toml"
    config.write_text(f'model = "{sources["file"]}"\n' if "file" in sources else "")
    if "environment" in sources:
        monkeypatch.setenv("IVIDEO_MODEL", str(sources["environment"]))
    listener = Listener()
    settings = resolve_settings(
        Settings,
        config=config,
        flags={"model": sources.get("flag")},
        progress=listener,
        adapter=Adapter(tmp_path, "run", {"model": sources["run"]}) if "run" in sources else None,
        model_hint=sources.get("hint"),
    )
    return settings.model, listener.heard


def test_the_model_s_order_of_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    sources: dict[str, str] = {}
    assert model_of(monkeypatch, tmp_path) == ("emoji-world", ["model: emoji-world"])
    for source in ("environment", "hint", "run", "file", "flag"):
        sources[source] = f"folder/of-{source}"
        assert model_of(monkeypatch, tmp_path, **sources) == (f"folder/of-{source}", [])


def test_auto_is_said_with_what_it_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivideo.inputs.settings.choose_model", lambda name: {"auto": "modelscope"}.get(name, name))
    assert model_of(monkeypatch, tmp_path, flag="auto", run="emoji-world") == ("modelscope", ["model: modelscope"])


def test_flags_win_over_file_over_run_over_defaults(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("seed = 2\nnum-segments = 2\n")
    run = {"model": "emoji-world", "seed": 3, "num_segments": 3, "guidance_scale": 3.0, "num_frames": 12}
    settings = resolve_settings(
        GenerationSettings,
        config=config,
        flags={"seed": 1, "num_segments": None},
        progress=Silence(),
        adapter=Adapter(tmp_path, "run", run),
    )
    found = (settings.seed, settings.num_segments, settings.guidance_scale, settings.num_inference_steps)
    assert found == (1, 2, 3.0, 8)


def test_a_run_of_another_model_brings_no_settings(tmp_path: Path) -> None:
    adapter = Adapter(tmp_path, "run", {"model": "modelscope", "guidance_scale": 9.0, "height": 256})
    settings = resolve_settings(
        GenerationSettings, config=None, flags={"model": "emoji-world"}, progress=Silence(), adapter=adapter
    )
    assert (settings.guidance_scale, settings.height) == (7.5, 64)


@pytest.mark.parametrize("source", ["flag", "file"])
def test_a_preset_comes_from_flag_or_file(tmp_path: Path, source: str) -> None:
    config = tmp_path / "c.toml"
    config.write_text('preset = "quick"\n' if source == "file" else 'preset = "default"\n')
    flags = {"model": "emoji-world", "preset": "quick" if source == "flag" else None}
    settings = resolve_settings(FinetuneSettings, config=config, flags=flags, progress=Silence())
    assert settings.max_steps == 15
    with pytest.raises(UsageError, match="unknown preset 'slow'"):
        resolve_settings(FinetuneSettings, config=None, flags={**flags, "preset": "slow"}, progress=Silence())


@pytest.mark.parametrize("reward", ['"own.py:f"', '["emoji-clip", "own.py:f"]', '"emoji-clip=1,own.py:f=2"'])
def test_code_that_only_a_file_names_is_not_run(tmp_path: Path, reward: str) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f'model = "emoji-world"\nreward = {reward}\n')
    with pytest.raises(UsageError, match=rf"own\.py:f.* in {config} is code: it is run only if `reward` names it"):
        resolve_settings(GenerationSettings, config=config, flags={}, progress=Silence())
    given = {"reward": ("own.py:f",)}
    settings = resolve_settings(GenerationSettings, config=config, flags=given, progress=Silence())
    assert settings.rewards == ("own.py:f",)


def test_generations_of_a_run_use_its_generation_guidance() -> None:
    flags = {"model": "modelscope", "negative_prompt": "blurry"}
    settings = resolve_settings(FinetuneSettings, config=None, flags=flags, progress=Silence())
    generation = generation_settings(settings)
    assert (settings.guidance_scale, generation.guidance_scale) == (3.0, 9.0)
    assert generation.negative_prompt == "blurry"


def resolve_unet(tmp_path: Path, run: dict[str, str], **flags: str) -> tuple[str, str | None]:
    adapter = Adapter(tmp_path, "run", run)
    settings = resolve_settings(GenerationSettings, config=None, flags=flags, progress=Silence(), adapter=adapter)
    return settings.model, settings.unet


def test_a_run_brings_the_file_of_its_unet_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = {"model": "some/model", "unet": "/files/x.pth"}
    assert resolve_unet(tmp_path, run) == ("some/model", "/files/x.pth")
    assert resolve_unet(tmp_path, run, unet="y.pth") == ("some/model", str(tmp_path / "y.pth"))
    assert resolve_unet(tmp_path, run, unet="none") == ("some/model", None)
    assert resolve_unet(tmp_path, run, model="emoji-world") == ("emoji-world", None)
    assert resolve_unet(tmp_path, {"unet": "/files/x.pth"}, model="some/model") == ("some/model", "/files/x.pth")


def test_find_adapter_in_a_file_of_the_authors(authors_file: Path, authors_base_file: Path) -> None:
    adapter = find_adapter(authors_file, 0.5)
    assert adapter == Adapter(authors_file, "tuned", {"unet": str(authors_file)}, 0.5)
    settings = GenerationSettings(model="m", reward="r", num_frames=4, fps=8, num_inference_steps=2, guidance_scale=1)
    assert adapter_of_weights_file(settings) is None
    assert adapter_of_weights_file(settings.model_copy(update={"unet": str(authors_file)}), 0.5) == adapter
    assert adapter_of_weights_file(settings.model_copy(update={"unet": str(authors_base_file)})) is None


def test_find_adapter_in_the_package() -> None:
    adapter = find_adapter(Path("emoji-world-instruct"), 0.5)
    assert (adapter.name, adapter.scale, adapter.defaults) == ("emoji-world-instruct", 0.5, {"model": "emoji-world"})
    assert (adapter.path / "adapter_model.safetensors").is_file()
    with pytest.raises(UsageError, match="instrct does not exist; did you mean emoji-world-instruct"):
        find_adapter(Path("emoji-world-instrct"))


def test_find_adapter_in_a_run_and_in_a_peft_folder(trained_run: Path) -> None:
    of_run, bare = find_adapter(trained_run, 0.5), find_adapter(trained_run / "adapter")
    assert (of_run.path, bare.path) == (trained_run / "best", trained_run / "adapter")
    assert (of_run.name, of_run.scale, of_run.heldout) == ("mine", 0.5, trained_run / "heldout.txt")
    assert (bare.name, bare.scale, bare.heldout) == ("adapter", 1.0, None)
    assert (of_run.defaults["model"], of_run.defaults["num_frames"]) == ("emoji-world", 4)
    assert bare.defaults == {"model": "emoji-world"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("adapter/adapter_config.json", None, "has no adapter yet"),
        ("config.toml", "nonsense = 1\n", "is not a run's configuration: .*nonsense"),
        ("config.toml", "= 1\n", "cannot be read"),
    ],
)
def test_a_broken_run_is_told(trained_run: Path, tmp_path: Path, name: str, content: str | None, message: str) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run", ignore=shutil.ignore_patterns("best"))
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_text(content)
    with pytest.raises(IvideoError, match=message):
        find_adapter(run)


def test_a_broken_peft_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(IvideoError, match=r"is damaged: adapter_config\.json is no JSON object"):
        find_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": None}))
    assert find_adapter(tmp_path).defaults == {}
    (tmp_path / "base_unet.json").write_text("{}")
    with pytest.raises(IvideoError, match=r"is damaged: base_unet\.json names no U-Net"):
        find_adapter(tmp_path)


@pytest.mark.parametrize("prompts", [[], ["a cat", " "]])
def test_nothing_to_show_is_refused(prompts: list[str]) -> None:
    with pytest.raises(UsageError, match="empty prompt"):
        check_prompts(prompts)
