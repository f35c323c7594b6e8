"""`ivideo compare` as a user meets it."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from safetensors.torch import load_file, save_file

from ivideo import generating as generation
from ivideo.cli.app import app
from ivideo.cli.compare import describe_change, print_results
from ivideo.cli.options import Format, spell_command
from ivideo.comparing import videos as video_files
from ivideo.metrics.registry import compared
from ivideo.video.reader import read_video
from ivideo.video.writer import write_video

COMPARED = [*compared(), "emoji-clip"]  # the run's second reward model, too
NUMBERS = (
    "metric a b mean_a mean_b difference ci_low ci_high n num_left_out wins ties losses win_share sign_p "
    "sign_p_corrected wilcoxon_p wilcoxon_p_corrected effect_size"
).split()


@pytest.fixture(scope="module")
def strong_run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run whose adapter acts the other way, and twice as much; leave it as it is."""
    run = shutil.copytree(trained_run, tmp_path_factory.mktemp("runs") / "strong")
    change_adapter(run, -2)
    return run


@pytest.fixture(scope="module")
def compared(ivideo, trained_run: Path, strong_run: Path, tmp_path_factory: pytest.TempPathFactory):
    """Base, the run and the other one on the run's own held-out prompts: results, output folder, what was said."""
    output = tmp_path_factory.mktemp("compared") / "pictures"
    result = ivideo("compare", "base", trained_run, strong_run, "--format", "json", "--output", output)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), output, result.stderr


def change_adapter(run: Path, factor: float) -> None:
    """Multiply what every adapter of the run does, the best one and the last."""
    for path in run.glob("*/adapter_model.safetensors"):
        save_file({name: factor * w if "lora_B" in name else w for name, w in load_file(path).items()}, path)


def copy_videos(folder: Path, target: Path, *forgotten: str, prefix: str = "") -> Path:
    """Copy the videos of a folder without some of what they say of themselves."""
    for path in sorted(folder.iterdir()):
        video = read_video(path)
        metadata = {name: value for name, value in video.metadata.items() if name not in forgotten}
        write_video(target / f"{prefix}{path.name}", video.frames, video.fps, metadata)
    return target


def comparisons_of(results: dict[str, Any], metric: str) -> list[dict[str, Any]]:
    return [one for one in results["comparisons"] if one["metric"] == metric]


def rewards_of(results: dict[str, Any], candidate: int) -> list[float]:
    return [row["clips"][candidate]["scores"]["reward"] for row in results["rows"]]


def without_time(results: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in results.items() if name not in ("created", "command")}


def test_the_result_has_every_field_and_holds_together(compared, trained_run: Path) -> None:
    results, output, _ = compared
    assert (results["schema_version"], results["preference"]) == (2, None)
    assert results["command"].startswith(f"ivideo compare base {trained_run} ")
    assert results["command"].endswith(f"--output {output} --format json")
    assert [(one["name"], one["kind"]) for one in results["contestants"]] == [
        ("base", "model"),
        ("mine", "adapter"),
        ("strong", "adapter"),
    ]
    assert [one["lora_scale"] for one in results["contestants"]] == [None, 1.0, 1.0]
    assert list(results["metrics"]) == list(results["means"]) == COMPARED
    assert results["metrics"]["reward"]["higher_is_better"] is True
    assert results["metrics"]["flicker"]["higher_is_better"] is None
    assert [(row["prompt"], row["seed"]) for row in results["rows"]] == [("a pig", 0), ("a fox surfing", 1)]
    assert [(one["metric"], one["a"], one["b"]) for one in results["comparisons"]] == [
        (metric, 0, b) for metric in COMPARED for b in (1, 2)
    ]
    for one in results["comparisons"]:
        assert sorted(one) == sorted(NUMBERS)
        a, b = (np.array([row["clips"][one[i]]["scores"][one["metric"]] for row in results["rows"]]) for i in "ab")
        assert (one["mean_a"], one["mean_b"]) == pytest.approx((a.mean(), b.mean()))
        assert results["means"][one["metric"]][one["b"]] == pytest.approx({"mean": b.mean(), "std": b.std(ddof=1)})
        assert one["difference"] == pytest.approx((b - a).mean())
        assert (one["ci_low"], one["ci_high"], one["num_left_out"]) == (None, None, 0)  # of 2 prompts
        assert (one["n"], one["wins"], one["losses"]) == (2, (b > a).sum(), (b < a).sum())
        assert one["sign_p"] <= one["sign_p_corrected"] <= 1
    assert rewards_of(results, 0) != rewards_of(results, 1) != rewards_of(results, 2)


def test_it_agrees_with_the_run_s_own_before_and_after(compared, trained_run: Path) -> None:
    """But for what H.264 loses, most of it on both sides: the run scored the clips before they were written."""
    summary = json.loads((trained_run / "summary.json").read_text())["heldout"]
    for name, lost in {"reward": 0.02, "attenuated_reward": 0.02, "motion": 0.1, "flicker": 0.005}.items():
        one = comparisons_of(compared[0], name)[0]
        for side in ("mean_a", "mean_b"):
            assert one[side] == pytest.approx(summary[name][side], abs=lost)
        assert one["difference"] == pytest.approx(summary[name]["difference"], abs=lost / 2)


def test_scores_are_those_of_the_files(compared, ivideo) -> None:
    results, output, _ = compared
    for row in results["rows"]:
        for clip in row["clips"]:
            record = json.loads(ivideo("score", output / clip["video"], "--attenuation-rate", 0.1).stdout)
            assert record["reward"] == pytest.approx(clip["scores"]["reward"], abs=1e-6)
            assert record["motion"] == pytest.approx(clip["scores"]["motion"], abs=1e-6)


def test_pictures_and_results_lie_in_the_output(compared) -> None:
    results, output, said = compared
    names = ["000_a-pig_seed0.mp4", "001_a-fox-surfing_seed1.mp4"]
    assert sorted(path.name for path in output.iterdir()) == [
        ".lock",
        "contact_sheet.png",
        "report.html",
        "results.csv",
        "results.json",
        "side_by_side",
        "videos",
    ]
    for folder in ("side_by_side", "videos/base", "videos/mine", "videos/strong"):
        assert sorted(path.name for path in (output / folder).iterdir()) == names
    assert json.loads((output / "results.json").read_text()) == results
    row = results["rows"][0]
    video = read_video(output / row["side_by_side"])
    assert video.frames.shape == (4, 28 + 256, 3 * 256 + 2 * 8, 3)
    assert video.metadata == {"prompt": "a pig", "seed": 0, "contestants": ["base", "mine", "strong"]}
    about = read_video(output / row["clips"][1]["video"]).metadata
    assert (about["prompt"], about["seed"], about["lora_scale"], len(about["adapter_hash"])) == ("a pig", 0, 1.0, 64)
    sheet = np.asarray(Image.open(output / "contact_sheet.png"))
    assert sheet.shape == (28 + 2 * 172 + 16, 3 * 524 + 4 * 16, 3)
    assert said.splitlines()[-2:] == [f"videos, pictures and results: {output}", f"report: {output / 'report.html'}"]


def test_the_table_of_clips_has_a_row_a_clip_and_candidate(compared) -> None:
    results, output, _ = compared
    rows = list(csv.DictReader((output / "results.csv").read_text().splitlines()))
    assert [(row["prompt"], row["contestant"]) for row in rows] == [
        (prompt, name) for prompt in ("a pig", "a fox surfing") for name in ("base", "mine", "strong")
    ]
    assert [float(row["reward"]) for row in rows[::3]] == rewards_of(results, 0)
    assert all((output / row["video"]).is_file() for row in rows)


def test_models_are_loaded_one_after_the_other_and_the_base_is_one_with_its_adapter_off(
    ivideo, compared, trained_run: Path, strong_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gc
    import weakref

    opened: list[weakref.ref] = []
    load = generation.load_model

    def load_and_count(*arguments: Any, **options: Any) -> Any:
        gc.collect()
        assert [model for model in opened if model() is not None] == []
        model = load(*arguments, **options)
        opened.append(weakref.ref(model))
        return model

    monkeypatch.setattr(generation, "load_model", load_and_count)
    results = json.loads(ivideo("compare", "base", trained_run, strong_run, "--format", "json").stdout)
    assert len(opened) == 2
    assert results["comparisons"] == compared[0]["comparisons"]
    assert {clip["video"] for row in results["rows"] for clip in row["clips"]} == {None}


@pytest.fixture
def again(ivideo, compared, trained_run: Path, strong_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`again(*flags)` compares once more in a copy of the output: its folder, results, and the clips that were made."""
    output = shutil.copytree(compared[1], tmp_path / "again")
    made: list[tuple[str, int]] = []
    make = video_files.generate_clip

    def make_and_count(model: Any, settings: Any, prompt: str, seed: int) -> Any:
        made.append((prompt, seed))
        return make(model, settings, prompt, seed)

    monkeypatch.setattr(video_files, "generate_clip", make_and_count)

    def run(*flags: object, runs: tuple[Path, ...] = (trained_run, strong_run)) -> tuple[Path, Any, list[Any]]:
        result = ivideo("compare", "base", *runs, "--format", "json", "--output", output, *flags)
        assert result.exit_code == 0, result.stderr
        return output, json.loads(result.stdout), made

    return run


def test_nothing_is_made_again(again, compared) -> None:
    _, results, made = again()
    assert made == []
    assert without_time(results) == without_time(compared[0])


def test_an_interrupted_comparison_goes_on(again, compared, tmp_path: Path) -> None:
    """Also where the base, made before with an adapter switched off, is now made without one: to the same bytes."""
    videos = tmp_path / "again" / "videos"
    (videos / "base" / "000_a-pig_seed0.mp4").unlink()
    (videos / "base" / "001_a-fox-surfing_seed1.mp4").write_bytes(b"cut off")
    (tmp_path / "again" / "results.json").unlink()
    output, results, made = again()
    assert sorted(made) == [("a fox surfing", 1), ("a pig", 0)]
    assert without_time(results) == without_time(compared[0])
    for path in compared[1].rglob("*.mp4"):
        assert path.read_bytes() == (output / path.relative_to(compared[1])).read_bytes()


def test_another_adapter_under_the_same_name_is_noticed(again, compared, trained_run: Path, tmp_path: Path) -> None:
    strong = shutil.copytree(trained_run, tmp_path / "strong")
    change_adapter(strong, 3)
    _, results, made = again(runs=(trained_run, strong))
    assert len(made) == 2
    assert rewards_of(results, 1) == rewards_of(compared[0], 1)
    assert rewards_of(results, 2) != rewards_of(compared[0], 2)


def test_more_seeds_keep_the_clips_of_fewer_and_count_as_one_observation(again, compared) -> None:
    _, results, made = again("--seeds", 2)
    assert made == [("a pig", 2), ("a fox surfing", 3)] * 3
    assert [(row["prompt"], row["seed"]) for row in results["rows"]] == [
        ("a pig", 0),
        ("a pig", 2),
        ("a fox surfing", 1),
        ("a fox surfing", 3),
    ]
    assert rewards_of(results, 1)[::2] == rewards_of(compared[0], 1)
    one = comparisons_of(results, "reward")[0]
    means = np.array(rewards_of(results, 1)).reshape(2, 2).mean(1) - np.array(rewards_of(results, 0)).reshape(
        2, 2
    ).mean(1)
    assert one["n"] == 2
    assert one["difference"] == pytest.approx(means.mean())
    assert one["wins"] == (means > 0).sum()


def test_people_rate_the_clips_without_them_being_made_again(
    again, ivideo, trained_run: Path, strong_run: Path, tmp_path: Path
) -> None:
    output, results, _ = again("--rate", "--pairs", "all")
    assert results["preference"] is None
    key = json.loads((output / "rating_key.json").read_text())
    against_base = [
        {
            "id": name,
            "quality": "right" if item["left"] < item["right"] else "left",
            "alignment": "both_bad",
            "seconds": 2.5,
        }
        for name, item in key["items"].items()
    ]
    about = {"kind": "ivideo-ratings", "schema_version": 1, "study": key["study"], "saved": "2026-11-25T13:00:00+00:00"}
    (tmp_path / "answers").mkdir()
    for rater in ("ann", "ben"):
        text = json.dumps({**about, "rater": rater, "ratings": against_base})
        (tmp_path / "answers" / f"{rater}.json").write_text(text)

    _, rated, made = again("--ratings", tmp_path / "answers")
    assert made == []
    assert json.loads((output / "results.json").read_text()) == rated
    preference = rated["preference"]
    assert (preference["num_raters"], preference["num_ratings"]) == (2, 12)
    assert [(pair["a"], pair["b"]) for pair in preference["pairs"]] == [(0, 1), (0, 2), (1, 2)]
    assert len((output / "ratings.csv").read_text().splitlines()) == 1 + 2 * 12
    pairs = [json.loads(line) for line in (output / "rated_pairs" / "pairs.jsonl").read_text().splitlines()]
    assert [(one["winner"], one["loser"]) for one in pairs] == [
        ("mine", "base"),
        ("strong", "base"),
        ("strong", "mine"),
    ] * 2
    assert read_video(output / "rated_pairs" / pairs[0]["chosen"]).metadata["prompt"] == pairs[0]["prompt"]
    for pair in preference["pairs"]:
        assert pair["questions"]["quality"]["shares"] == {"b": 1.0, "tie": 0.0, "a": 0.0}
        assert pair["questions"]["alignment"]["shares"] == {"b": 0.0, "tie": 1.0, "a": 0.0}
    assert preference["study"] in (output / "report.html").read_text()

    before = (output / "results.json").read_bytes()
    flags = ("--output", output, "--prompts", tmp_path / "p.txt", "--ratings", tmp_path / "answers" / "ann.json")
    (tmp_path / "p.txt").write_text("a pig\n")
    other = ivideo("compare", "base", trained_run, strong_run, *flags)
    assert (other.exit_code, other.stdout) == (1, "")
    assert other.stderr.splitlines()[-1].startswith("error: the ratings are of other clips than those in ")
    assert (output / "results.json").read_bytes() == before


def test_preference_is_shown_in_the_table(compared, capsys: pytest.CaptureFixture[str]) -> None:
    question = {"shares": {"b": 0.7, "tie": 0.1, "a": 0.2}, "ci": {"b": [0.6, 0.8], "tie": [0, 0.2], "a": [0.1, 0.3]}}
    question["counts"] = {"b": 42, "both_good": 1, "same": 2, "both_bad": 3, "a": 12}
    quality = {**question, "num_votes": 60, "agreement": {"alpha": 0.412, "percent": 0.7}}
    alignment = {**question, "num_votes": 5, "agreement": {"alpha": None, "percent": None}}
    alignment["ci"] = {option: [None, None] for option in ("b", "tie", "a")}
    strengths = [{"strength": 0.0, "ci_low": None, "ci_high": None}, {"strength": 0.69, "ci_low": -0.1, "ci_high": 1.5}]
    strengths.append({"strength": None, "ci_low": None, "ci_high": None})
    pairs = [
        {"a": 0, "b": 1, "questions": {"quality": quality, "alignment": alignment}},
        {"a": 0, "b": 2, "questions": {"quality": quality, "alignment": None}},
    ]
    print_results(
        {
            **compared[0],
            "preference": {"num_raters": 3, "pairs": pairs, "strengths": {"quality": strengths, "alignment": None}},
        },
        Format.table,
    )
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    start = lines.index("mine against base, by 3 people")
    assert lines[start + 3] == "quality 70 % (60 to 80) 10 % (0 to 20) 20 % (10 to 30) 1/2/3 60 0.41"
    assert lines[start + 4] == "alignment 70 % 10 % 20 % 1/2/3 5"
    end = lines.index("Bradley-Terry strengths against base, log of the odds")
    assert lines[end + 3 : end + 6] == ["base +0.00", "mine +0.69 (-0.10 to +1.50)", "strong"]
    assert lines[lines.index("strong against base, by 3 people") + 4] == ""


def test_each_scale_is_a_candidate(ivideo, trained_run: Path, tmp_path: Path, compared) -> None:
    (tmp_path / "p.txt").write_text("a pig\n")
    flags = ("--prompts", tmp_path / "p.txt", "--lora-scale", 0, "--lora-scale", 1)
    results = json.loads(ivideo("compare", "base", trained_run, *flags).stdout)
    assert [one["name"] for one in results["contestants"]] == ["base", "mine @0", "mine @1"]
    assert results["command"].endswith("--lora-scale 0.0 --lora-scale 1.0")
    base, off, on = (rewards_of(results, i)[0] for i in range(3))
    assert base == off == rewards_of(compared[0], 0)[0]
    assert on == rewards_of(compared[0], 1)[0]
    assert comparisons_of(results, "reward")[0]["ties"] == 1


def test_formats(compared, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    results = compared[0]
    print_results(results, Format.tsv)
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines(), delimiter="\t"))
    assert [(row["metric"], row["contestant"], row["baseline"]) for row in rows] == [
        (metric, name, "base") for metric in COMPARED for name in ("mine", "strong")
    ]
    assert [row["difference"] for row in rows] == [f"{one['difference']:.4f}" for one in results["comparisons"]]
    for row, one in zip(rows, results["comparisons"], strict=True):
        assert float(row["sign_p_corrected"]) == one["sign_p_corrected"]

    print_results(results, Format.table)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines[:-4])) <= 80
    assert {"mine against base", "strong against base"} < {*lines}
    assert lines[-2:] == ["reward: emoji preference (simulated)", "emoji-clip: emoji CLIP, cosine"]
    shown = [line.split() for line in lines if line.startswith("flicker")]
    assert [len(cells) for cells in shown] == [7, 7, 7]  # of 2 prompts there is no interval
    changes = [f"{one['difference']:+.4f}" for one in comparisons_of(results, "flicker")]
    assert [cells[1] for cells in shown[1:]] == changes

    print_results(results, Format.jsonl)
    assert json.loads(capsys.readouterr().out) == results


def test_the_command_is_told_as_it_could_be_typed_again() -> None:
    words = ["base", "my runs/a", "--lora-scale", "0.5", "--lora-scale", "1.0", "--no-guidance-batching", "--rate"]
    command = typer.main.get_command(app).commands["compare"]
    spelled = shlex.split(spell_command(command.make_context("compare", [*words])))
    assert spelled[:4] == ["ivideo", "compare", "base", "my runs/a"]
    assert sorted(spelled[2:]) == sorted(words)
    again = command.make_context("compare", spelled[2:])
    assert again.params == command.make_context("compare", [*words]).params


def test_small_p_are_kept(compared, capsys: pytest.CaptureFixture[str]) -> None:
    one = {**compared[0]["comparisons"][0], "sign_p_corrected": 2e-7, "effect_size": None}
    results = {**compared[0], "comparisons": [one]}
    for format, delimiter in ((Format.tsv, "\t"), (Format.csv, ",")):
        print_results(results, format)
        (row,) = csv.DictReader(capsys.readouterr().out.splitlines(), delimiter=delimiter)
        assert (row["sign_p_corrected"], row["effect_size"]) == ("2e-07", "")
        assert float(row["difference"]) == pytest.approx(one["difference"], abs=1e-4 if format is Format.tsv else 0)
    assert describe_change(one)[3:] == ["<0.001", "1.000", ""]


def test_folders_pair_by_prompt_and_seed(ivideo, base_videos: Path, tmp_path: Path) -> None:
    other = copy_videos(base_videos, tmp_path / "other", prefix="other_")
    min(other.glob("*seed1.mp4")).unlink()
    results = json.loads(ivideo("compare", base_videos, other, "--output", tmp_path / "out").stdout)
    assert comparisons_of(results, "reward")[0]["n"] == 2
    assert len(results["rows"]) == 3
    for row in results["rows"]:
        a, b = (clip["scores"] for clip in row["clips"])
        assert a["flicker"] == pytest.approx(b["flicker"], abs=0.01)
    assert [one["kind"] for one in results["contestants"]] == ["folder"] * 2
    copy = tmp_path / "out" / results["rows"][0]["clips"][1]["video"]
    assert copy.read_bytes() == min(other.iterdir()).read_bytes()


def test_folders_pair_by_name_where_one_says_nothing(ivideo, base_videos: Path, tmp_path: Path) -> None:
    other = copy_videos(base_videos, tmp_path / "other", "prompt", "seed")
    results = json.loads(ivideo("compare", other, base_videos).stdout)
    assert [row["prompt"] for row in results["rows"]] == ["a fox surfing"] * 2 + ["a pig"] * 2
    assert [row["seed"] for row in results["rows"]] == [None] * 4


def test_a_model_makes_the_prompts_and_seeds_of_the_folders(ivideo, base_videos: Path, small, tmp_path: Path) -> None:
    other = copy_videos(base_videos, tmp_path / "other")
    min(other.glob("*seed1.mp4")).unlink()
    results = json.loads(ivideo("compare", base_videos, "base", other, *small).stdout)
    asked = [(row["prompt"], row["seed"]) for row in results["rows"]]
    assert asked == [("a fox surfing", 0), ("a pig", 0), ("a pig", 1)]
    for row in results["rows"]:  # the same clips from the same model, through the same encoder
        assert row["clips"][0]["scores"] == row["clips"][1]["scores"]


def test_prompts_choose_among_a_folder_s_videos(ivideo, base_videos: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a pig\n")
    other = copy_videos(base_videos, tmp_path / "other")
    results = json.loads(ivideo("compare", base_videos, other, "--prompts", tmp_path / "p.txt").stdout)
    assert [row["prompt"] for row in results["rows"]] == ["a pig"] * 2


def test_from_python(trained_run: Path, tmp_path: Path) -> None:
    import ivideo

    results = ivideo.compare("base", trained_run, prompts=["a pig"], lora_scale=[0.5], output=tmp_path / "out")
    assert [one["name"] for one in results["contestants"]] == ["base", "mine @0.5"]
    assert results["command"] == f"ivideo.compare('base', '{trained_run}', ...)"
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
