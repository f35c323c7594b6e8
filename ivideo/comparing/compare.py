"""`ivideo compare`: candidates on the same prompts and seeds, each against the first, with paired statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, get_args

from ivideo.comparing import rated_pairs
from ivideo.comparing.candidates import Candidate, check_distinct, default_prompts, list_videos
from ivideo.comparing.pairs import ReadyVideo, Row, match_folders, plan_clips, plan_rows, read_folder
from ivideo.comparing.rated_pairs import find_winners, write_ratings, write_winners
from ivideo.comparing.ratings import Vote, describe_votes, read_votes
from ivideo.comparing.results import describe_results, list_clips
from ivideo.comparing.videos import SIDE_BY_SIDE, VideoMaker, make_videos, name_folders, score_rows
from ivideo.config.settings import GenerationSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.files.atomic import check_folder, copy_file, prepare_folder, refuse_links, temporary_folder
from ivideo.files.records import write_csv, write_json
from ivideo.files.run_folder import check_unlocked, lock_folder, remove_unused
from ivideo.generating import tell_of_gifs
from ivideo.inputs.prompts import check_prompts, unique_prompts
from ivideo.inputs.provenance import find_provenance
from ivideo.launch import ALONE, Launch, check_device
from ivideo.metrics.registry import METRICS
from ivideo.models.devices import choose_device
from ivideo.progress import Progress, Silence
from ivideo.report import pages, rating_page
from ivideo.report.answers import Pairs, RatingKey
from ivideo.report.pages import write_report
from ivideo.report.rating_page import identify_study, write_rating_page
from ivideo.rewards.registry import load_rewards
from ivideo.video.captions import Captions
from ivideo.video.display import NoteCounts
from ivideo.video.folders import describe_left_out
from ivideo.video.writer import NO_ENCODER, can_write_mp4, check_video_format, default_suffix

VIDEOS = "videos"  # the folder of an output with the candidates' clips
OTHER_FOLDERS = (SIDE_BY_SIDE, rating_page.VIDEOS_NAME, pages.VIDEOS_NAME, rated_pairs.FOLDER)


def compare(
    candidates: Sequence[Candidate],
    settings: Sequence[GenerationSettings],
    *,
    prompts: Sequence[str] | None = None,
    num_seeds: int | None = None,
    captions: Path | None = None,
    output: Path | None = None,
    with_rating_page: bool = False,
    pairs: Pairs = "first",
    ratings: Sequence[Path] = (),
    command: str = "ivideo compare",
    progress: Progress | None = None,
    launch: Launch = ALONE,
) -> dict[str, Any]:
    """Compare candidates, each against the first: the work of `ivideo.compare`, whose arguments these are.

    Candidates are at least two from `find_candidates`, settings those of each from `settle_settings`. Models make the
    clips of `plan_clips`, or the prompts and seeds of the folders that they are compared with; folders bring theirs.
    The second one's settings say how all are scored. Clips are scored as they lie on the disk, one row at a time: made
    now, found from an earlier call or brought along, they give the same numbers. Several processes of a launch share
    clips and rows, in a folder that all of them see; the first one writes what there is once.

    What comes back is the object of results.json, see `describe_results`.

    Raises:
        UsageError: a candidate twice, seeds where folders say them, ratings without an output, a rating page
            without an encoder, or pairs without a rating page.
        IvideoError: nothing to pair, or bad input.
    """
    progress = progress or Silence()
    check_asked(candidates, prompts, num_seeds)
    check_device(settings[1].device, launch)
    launch.from_first(lambda: check_output(output, candidates, settings))
    check_rating(output, ratings, with_rating_page, pairs)
    rated = join_ratings(output, ratings)
    scoring, names = settings[1], [one.name for one in candidates]
    provenances = launch.from_first(
        lambda: {i: find_provenance(settings[i], one.adapter) for i, one in enumerate(candidates) if not one.folder}
    )
    check_distinct(candidates, provenances)
    tell_of_models(candidates, settings, progress)
    if output or provenances:
        tell_of_gifs(progress)
    by_name = Captions(captions) if captions else None
    rows = launch.from_first(
        lambda: find_rows(candidates, settings, prompts, num_seeds or 1, captions=by_name, progress=progress)
    )
    rewards = load_rewards(scoring.rewards, choose_device(scoring.device))
    with lend_folder(output, launch) as root:
        folders = [root / VIDEOS / folder for folder in name_folders(names)]
        refuse_links([*(root / name for name in (VIDEOS, *OTHER_FOLDERS)), *folders])
        makers = {
            i: VideoMaker(candidates[i], settings[i], provenance, folders[i]) for i, provenance in provenances.items()
        }
        make_videos(list(makers.values()), rows, progress, launch)

        def find_videos(row: Row) -> list[Path]:
            brought = {i: bring_video(path, folders[i], row) if output else path for i, path in row.ready.items()}
            return [makers[i].path_of(row) if i in makers else brought[i] for i in range(len(candidates))]

        scored = score_rows(
            *(rows, find_videos, rewards, scoring), names=names, output=output, progress=progress, launch=launch
        )
        results = describe_results(candidates, settings, rewards, scored, command=command, root=output)
        tell_of_left_out(results, progress)
        if output is not None and launch.is_first:
            if rated:
                add_ratings(output, results, *rated, progress)
            write_results(output, results)
            if with_rating_page:
                write_rating_page(output, results, seed=scoring.seed, pairs=pairs)
    return results


def check_rating(output: Path | None, ratings: Sequence[Path], with_rating_page: bool, pairs: str) -> None:
    """Hold what is asked of people against itself.

    Raises:
        UsageError: there is no output, no encoder for the page's videos, or pairs without a page.
    """
    if pairs not in get_args(Pairs):
        raise UsageError(f"`pairs` {pairs}: must be {' or '.join(get_args(Pairs))}")
    if pairs != "first" and not with_rating_page and not ratings:
        raise UsageError(f"`pairs` {pairs} is of the rating page: add `with_rating_page` True")
    if output is None and (ratings or with_rating_page):
        raise UsageError("people rate clips that are kept: give their folder by `output`")
    if with_rating_page and not can_write_mp4():
        raise UsageError(f"people rate mp4 videos, and {NO_ENCODER}")


def join_ratings(output: Path | None, ratings: Sequence[Path]) -> tuple[RatingKey, list[Vote]] | None:
    """What people said of the clips of an earlier call, with the page's key; None where nobody was asked.

    Raises:
        UsageError: there are no answers.
        IvideoError: a file that holds no answers to that call's rating page.
    """
    if output is None or not ratings:
        return None
    files = [file for path in ratings for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    return read_votes(files, output)


def add_ratings(
    output: Path, results: dict[str, Any], key: RatingKey, votes: Sequence[Vote], progress: Progress
) -> None:
    """Put what people said into the results, and write it as ratings.csv and as winners and losers.

    Raises:
        IvideoError: people rated other clips than these, or a file cannot be written.
    """
    if identify_study(output, results, key.seed, key.pairs) != key.study:
        raise IvideoError(
            f"the ratings are of other clips than those in {output}: ask for new ones with `with_rating_page`"
        )
    results["preference"] = describe_votes(key, votes)
    write_ratings(output, results, votes)
    write_winners(output, results, find_winners(votes), progress)


def write_results(output: Path, results: dict[str, Any]) -> None:
    """Write results.json, results.csv and report.html."""
    write_csv(output / "results.csv", *list_clips(results))
    write_json(output / "results.json", results)
    meanings = {name: METRICS[name].meaning for name in results["metrics"] if name in METRICS}
    write_report(output, results, meanings)


def check_asked(candidates: Sequence[Candidate], prompts: Sequence[str] | None, num_seeds: int | None) -> None:
    """Hold what was asked for against itself.

    Raises:
        UsageError: empty prompts, no seeds, or seeds where folders say them.
    """
    if prompts is not None:
        check_prompts(prompts)
    if num_seeds is not None and num_seeds < 1:
        raise UsageError(f"`num_seeds` {num_seeds}: must be at least 1")
    folder = next((one.name for one in candidates if one.folder), None)
    if num_seeds is not None and folder:
        raise UsageError(f"`num_seeds` {num_seeds}: the videos in {folder} say the seeds; leave it out")


def check_output(output: Path | None, candidates: Sequence[Candidate], settings: Sequence[GenerationSettings]) -> None:
    """Prove that videos can be written before anything is generated.

    Raises:
        UsageError: the folder holds one of the candidates, or a frame rate cannot be written.
        IvideoError: nothing can be written there, or another process is at work there.
    """
    for own in settings:
        check_video_format(Path(f"clip{default_suffix()}"), own.fps)
    if output is None:
        return
    for one in candidates:
        if one.folder and one.folder.resolve().is_relative_to(output.resolve()):
            raise UsageError(f"`output` {output} holds the videos that are compared; choose another folder")
    check_folder(output)
    check_unlocked(output)


def tell_of_models(candidates: Sequence[Candidate], settings: Sequence[GenerationSettings], progress: Progress) -> None:
    """Warn where adapters are of different models: a difference is then one of models too, and base is one of them."""
    models = {own.model: one.name for one, own in zip(candidates, settings, strict=True) if one.adapter}
    if len(models) > 1:
        shown = ", ".join(f"{name}: {model}" for model, name in models.items())
        base = next((own.model for one, own in zip(candidates, settings, strict=True) if one.kind == "model"), None)
        progress.warn(f"adapters of different models ({shown})" + (f"; base is {base}" if base else ""))


def tell_of_left_out(results: Mapping[str, Any], progress: Progress) -> None:
    """Warn of rows that statistics leave out, because a candidate's clip has no number there."""
    rows = results["rows"]
    for metric in results["metrics"]:
        count = sum(any(clip["scores"][metric] is None for clip in row["clips"]) for row in rows)
        if count:
            progress.warn(f"{metric}: {count} of {len(rows)} rows have a clip without a number and are left out")


def find_rows(
    candidates: Sequence[Candidate],
    settings: Sequence[GenerationSettings],
    prompts: Sequence[str] | None,
    num_seeds: int,
    *,
    captions: Captions | None,
    progress: Progress,
) -> list[Row]:
    """What is held against each other; folders are looked at before any long work, so that bad ones show.

    `progress` hears what folders hold beside videos, and which prompts were found where one may not expect it.

    Raises:
        UsageError: no prompts, or captions without a folder of videos.
        IvideoError: folders without common videos.
    """
    scoring = settings[1]
    if captions and not any(one.folder for one in candidates):
        raise UsageError("`captions` are of ready videos, and no folder of them takes part")
    folders = {i: read_folder(one.folder, prompts, captions) for i, one in enumerate(candidates) if one.folder}
    tell_of_folders([one.folder for one in candidates if one.folder], list(folders.values()), captions, progress)
    if folders:
        names = {i: candidates[i].name for i in folders}
        return match_folders(folders, names, by_name=len(folders) == len(candidates))
    prompts = unique_prompts(prompts or default_prompts(candidates, scoring.model))
    return plan_rows(plan_clips(prompts, num_seeds, scoring.seed))


def tell_of_folders(
    folders: Sequence[Path], videos: Sequence[Sequence[ReadyVideo]], captions: Captions | None, progress: Progress
) -> None:
    """Say what was left alone in folders, and where prompts come from.

    Raises:
        UsageError: captions of none of the videos.
    """
    notes = NoteCounts()
    for folder, ready in zip(folders, videos, strict=True):
        if left_out := describe_left_out(folder, list_videos(folder)):
            progress.say(left_out)
        for video in ready:
            notes.add(video.path, video.notes)
    for line in notes.describe():
        progress.say(line)
    if captions and (unused := captions.check(path for folder in folders for path in list_videos(folder))):
        progress.warn(unused)


@contextmanager
def lend_folder(output: Path | None, launch: Launch = ALONE) -> Iterator[Path]:
    """The output, kept to this comparison, else a temporary folder of all processes for its time.

    Raises:
        IvideoError: another process is at work there, or no folder can be made.
    """
    with ExitStack() as lent:

        def lend() -> Path:
            if output is None:
                return lent.enter_context(temporary_folder("ivideo-compare-"))
            if not output.exists():
                lent.callback(remove_unused, output)
            lent.enter_context(lock_folder(prepare_folder(output)))
            return output

        yield launch.from_first(lend)


def bring_video(source: Path, folder: Path, row: Row) -> Path:
    """Copy a ready video, with what lies beside it and says what it is, so that the output is whole in itself."""
    path = folder / f"{row.name}{source.suffix.lower()}"
    if (beside := source.with_suffix(".json")).is_file():
        copy_file(beside, path.with_suffix(".json"))
    return copy_file(source, path)
