"""What people said, for other programs: a table with a row an answer, and the clips as winners and losers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivideo.comparing.ratings import Vote
from ivideo.files.atomic import atomic_folder, copy_file, remove_folder, write_text
from ivideo.files.records import write_csv, write_json_lines
from ivideo.progress import Progress
from ivideo.video.names import file_stem

COLUMNS = "rater item prompt seed question a b answer winner video_a video_b seconds".split()
FOLDER, LIST, WINNER, LOSER = "rated_pairs", "pairs.jsonl", "winner", "loser"


def write_ratings(output: Path, results: Mapping[str, Any], votes: Sequence[Vote]) -> Path:
    """Write `ratings.csv`: a row a rater, pair of clips and question.

    `answer` is a, b, same, both_good or both_bad; `winner` the name of the candidate that is preferred, else empty.

    Args:
        output: folder of the comparison.
        results: of it.
        votes: in the order of the rows.
    """
    names = [one["name"] for one in results["contestants"]]
    rows = []
    for vote in votes:
        a, b = vote.pair
        clips = results["rows"][vote.place.row]["clips"]
        is_preferred = isinstance(vote.answer, int)
        rows.append(
            {
                "rater": vote.rater,
                "item": vote.item,
                "prompt": vote.place.prompt,
                "seed": vote.place.seed,
                "question": vote.question,
                "a": names[a],
                "b": names[b],
                "answer": vote.option if is_preferred else vote.answer,
                "winner": names[vote.answer] if isinstance(vote.answer, int) else None,
                "video_a": clips[a]["video"],
                "video_b": clips[b]["video"],
                "seconds": vote.seconds,
            }
        )
    return write_csv(output / "ratings.csv", COLUMNS, rows)


@dataclass(frozen=True)
class RatedPair:
    """Two clips of a row of which one is preferred.

    Attributes:
        row: of the results.
        winner: the candidate's index.
        loser: likewise.
        votes: answers for the winner, for the loser, and for neither.
    """

    row: int
    winner: int
    loser: int
    votes: tuple[int, int, int]


def find_winners(votes: Sequence[Vote]) -> list[RatedPair]:
    """The pairs of clips that have a winner: more answers, of all raters to both questions, prefer it to the other.

    Args:
        votes: of any number of pairs; a pair with as many answers for one side as for the other is left out.
    """
    by_item: dict[str, list[Vote]] = {}
    for vote in votes:
        by_item.setdefault(vote.item, []).append(vote)
    found = []
    for given in by_item.values():
        options = [vote.option for vote in given]
        for_a, for_b = options.count("a"), options.count("b")
        a, b = given[0].pair
        winner, loser = (a, b) if for_a > for_b else (b, a)
        if for_a != for_b:
            counts = max(for_a, for_b), min(for_a, for_b), options.count("tie")
            found.append(RatedPair(given[0].place.row, winner, loser, counts))
    return sorted(found, key=lambda one: (one.row, sorted((one.winner, one.loser))))


def write_winners(
    output: Path, results: Mapping[str, Any], pairs: Sequence[RatedPair], progress: Progress
) -> Path | None:
    """Write `rated_pairs/`, which other trainers read, in place of an earlier one; None where no pair has a winner.

    `winner/` and `loser/` hold copies of the clips, both of a pair under the same name, each with its prompt as a text
    file beside it. Each line of `pairs.jsonl` is a pair: `prompt`, `chosen` and `rejected` (paths from that file's
    folder), `seed`, the two candidates, and how many answers were for either and for neither.

    Args:
        output: folder of the comparison, that the results' videos are relative to.
        results: of it.
        pairs: which.
        progress: is told how many, or that there are none.

    Raises:
        IvideoError: a clip cannot be read, or nothing can be written.
    """
    if not pairs:
        progress.warn(f"no pair of clips has a winner: there is no {FOLDER}")
        if (output / FOLDER).exists():
            remove_folder(output / FOLDER)
        return None
    names = [one["name"] for one in results["contestants"]]
    with atomic_folder(output / FOLDER, replace=True) as folder:
        records = []
        for number, pair in enumerate(pairs):
            row = results["rows"][pair.row]
            stem = f"{number:04d}_{file_stem(row['prompt'])}"
            paths = []
            for side, candidate in ((WINNER, pair.winner), (LOSER, pair.loser)):
                source = output / row["clips"][candidate]["video"]
                path = copy_file(source, folder / side / f"{stem}{source.suffix}")
                write_text(path.with_suffix(".txt"), row["prompt"] + "\n")
                paths.append(path.relative_to(folder).as_posix())
            about = {"prompt": row["prompt"], "chosen": paths[0], "rejected": paths[1], "seed": row["seed"]}
            who = {"winner": names[pair.winner], "loser": names[pair.loser]}
            counts = dict(zip(("votes_winner", "votes_loser", "votes_tie"), pair.votes, strict=True))
            records.append({**about, **who, **counts})
        write_json_lines(folder / LIST, records)
    progress.say(f"pairs with a winner, for other trainers: {len(pairs)}, in {output / FOLDER}")
    return output / FOLDER
