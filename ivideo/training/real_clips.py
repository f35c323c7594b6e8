"""Real videos with captions to train on: encoded once, shared between runs by their content, remembered by the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ivideo.config.settings import FinetuneSettings, generation_settings
from ivideo.errors import IvideoError
from ivideo.files.atomic import atomic_path, check_folder, write_text
from ivideo.files.cache import ContentHashes, find_cache_folder
from ivideo.files.reading import parse_as, read_text
from ivideo.files.run_folder import RunFolder
from ivideo.generating import latents_shape
from ivideo.inputs.clip_lists import ListedClip, Source, group_by_video
from ivideo.inputs.prompts import Prompt, own_of
from ivideo.models.contract import TextToVideoModel
from ivideo.models.loading import is_finite
from ivideo.progress import Progress
from ivideo.training.clips import check_clip, read_latents
from ivideo.training.context import RunContext
from ivideo.video.decoder import NoDecoder
from ivideo.video.display import NoteCounts
from ivideo.video.folders import list_content
from ivideo.video.reader import open_video
from ivideo.video.sampling import read_clip

CACHE_VERSION = 2  # goes up when the same video and settings give other latents
MAX_FAULTY_SHARE = 0.1
NUM_NAMED = 3  # faults in the error of too many


@dataclass(frozen=True)
class ClipRecord:
    """A line of clips.jsonl: one clip that a run trains on, or one of its captions.

    Attributes:
        prompt: the caption.
        video: whole path of the file or folder.
        sha256: of its content (`ContentHashes`).
        key: of its latents in the cache.
        negative_prompt: that the list gives to the caption; None for the run's.
    """

    prompt: str
    video: str
    sha256: str
    key: str
    negative_prompt: str | None = None

    @property
    def caption(self) -> Prompt:
        """The caption with its negative prompt."""
        return Prompt(self.prompt, self.negative_prompt)


class RealClips:
    """Latents of real clips, in the cache folder, a safetensors file a clip.

    What decides an item's latents is its key: the video's bytes, the encoder's weights, frames, size and rate.
    """

    def __init__(
        self,
        model: TextToVideoModel,
        listed: Sequence[ListedClip],
        training: Collection[str],
        settings: FinetuneSettings,
    ) -> None:
        """Say what is wanted; `prepare` makes it.

        Args:
            model: whose autoencoder encodes them.
            listed: the whole list.
            training: captions that are trained on; others are held out: clips whose first caption is one of them are
                left alone.
            settings: of the run; frames, size and rate matter.

        Raises:
            IvideoError: the cache folder cannot be used.
        """
        self.model, self.listed, self.settings = model, group_by_video(listed), settings
        self.training = {*training, ""}  # a clip without a caption is one that cannot be used
        self.shape = latents_shape(model, generation_settings(settings))
        self.size = model.fit_size(settings.height, settings.width)
        self.items: list[list[ClipRecord]] = []
        self.notes = NoteCounts()
        self.folder = find_cache_folder()
        try:
            check_folder(self.folder)
        except IvideoError as error:
            raise IvideoError(f"{error}; IVIDEO_CACHE can name another folder for the cache") from None
        self.hashes = ContentHashes(self.folder / "hashes", list_content)

    @property
    def records(self) -> list[ClipRecord]:
        """A line a caption, of the clips that can be used, in the order of the list."""
        return [record for records in self.items for record in records]

    @property
    def captions(self) -> list[list[str]]:
        """The captions of each item; most have one."""
        return [[record.caption for record in records] for records in self.items]

    @property
    def prompts(self) -> list[str]:
        """The caption of each record."""
        return [record.caption for record in self.records]

    def prepare(self, progress: Progress) -> None:
        """Encode the clips that the cache does not have; those that cannot be used are named and left out.

        Raises:
            IvideoError: more than a tenth of the list cannot be used, or all that is trained on, or this machine has no
                decoder for one that the cache does not have, or the cache cannot be written to.
        """
        encoder = self.model.fingerprint_encoder()
        num_encoded, faults = 0, []
        wanted = [clips for clips in map(drop_empty, self.listed) if clips[0].prompt in self.training]
        progress.start("real clips", len(wanted))
        for clip, *others in wanted:
            try:
                record = self.describe(clip, encoder)
                latents = None if self._is_ready(record) else self.encode(clip.video, record.sha256)
            except NoDecoder:  # so it is with every other video
                raise
            except IvideoError as error:
                faults.append(f"{error} ({clip.place})")
                refuse_many(faults, len(self.listed))
            else:
                if latents is not None:
                    self._keep(record, latents)
                    num_encoded += 1
                captions = [one.prompt for one in (clip, *others) if one.prompt in self.training]
                self.items.append([make_record(record, caption) for caption in captions])
            progress.advance()
        if not self.items:
            raise IvideoError(f"no clip is left to train on: {_name_first(faults)}")
        for fault in faults:
            progress.warn(f"left out: {fault}")
        for line in self.notes.describe():
            progress.say(line)
        several = sum(len(records) > 1 for records in self.items)
        drawn = f"; {several} with several captions, one drawn each time" if several else ""
        num_ready = len(self.items) - num_encoded
        progress.say(f"{len(self.items)} real clips: {num_ready} from the cache, {num_encoded} encoded{drawn}")

    def describe(self, clip: ListedClip, encoder: str) -> ClipRecord:
        """What is known of a clip before it is decoded.

        Args:
            clip: as it is listed.
            encoder: the model's `fingerprint_encoder`.

        Raises:
            IvideoError: no caption, or a video that cannot be read.
        """
        if not clip.prompt:
            raise IvideoError(f"{clip.video} has no caption")
        sha256 = self.hashes.find(clip.video)
        deciding = [CACHE_VERSION, sha256, encoder, self.settings.num_frames, *self.size, self.settings.fps]
        key = hashlib.sha256(json.dumps(deciding).encode()).hexdigest()
        return ClipRecord(clip.prompt, str(clip.video.absolute()), sha256, key)

    def encode(self, video: Path, sha256: str) -> Tensor:
        """A video's latents (channels, num_frames, height, width), float32, on the CPU.

        Args:
            video: the file or folder.
            sha256: of the content that is to be encoded.

        Raises:
            IvideoError: damaged, too short, changed meanwhile, or beyond the range of the encoder's type.
        """
        reader = open_video(video)
        clip = read_clip(reader, self.settings.num_frames, self.settings.fps, *self.size)
        self.notes.add(video, reader.notes)
        frames = torch.from_numpy(clip).to(self.model.device).permute(0, 3, 1, 2).float() / 255
        latents = self.model.encode_frames(frames[None])[0].cpu()
        if not is_finite(latents):
            raise IvideoError(f"{video} gives latents that are no numbers")
        if self.hashes.find(video) != sha256:
            raise IvideoError(f"{video} changed while it was read")
        return latents

    def load(self, item: int) -> Tensor:
        """Latents (channels, num_frames, height, width), float32, on the CPU.

        Raises:
            IvideoError: the cache has lost them.
        """
        return read_latents(self.path_of(self.items[item][0]), self.shape)

    def path_of(self, record: ClipRecord) -> Path:
        """The file of a clip's latents in the cache."""
        return self.folder / "clips" / record.key[:2] / f"{record.key}.safetensors"

    def _is_ready(self, record: ClipRecord) -> bool:
        try:
            check_clip(self.path_of(record), self.shape)
        except IvideoError:  # never made, or damaged: it is made again
            return False
        return True

    def _keep(self, record: ClipRecord, latents: Tensor) -> None:
        with atomic_path(self.path_of(record)) as path:
            save_file({"latents": latents}, path, {"sha256": record.sha256})


def make_record(record: ClipRecord, caption: str) -> ClipRecord:
    """The record of a clip with another caption."""
    return replace(record, prompt=str(caption), negative_prompt=own_of(caption).get("negative_prompt"))


def drop_empty(clips: Sequence[ListedClip]) -> Sequence[ListedClip]:
    """Those of a video's entries that have a caption; all where none has."""
    return [clip for clip in clips if clip.prompt] or clips


def split_source(source: Source) -> tuple[list[list[str]], list[ListedClip]]:
    """The prompts of what is trained on, all captions of a clip together, and the clips; none where the base does.

    Raises:
        IvideoError: more than a tenth of the clips have no caption or no file.
    """
    listed = [item for item in source if isinstance(item, ListedClip)]
    faults = []
    videos = [drop_empty(clips) for clips in group_by_video(listed)]
    for clip, *_ in videos:  # what can be seen without reading a video
        if not clip.prompt:
            faults.append(f"{clip.video} has no caption ({clip.place})")
        elif not clip.video.exists():
            faults.append(f"video {clip.video} does not exist ({clip.place})")
    refuse_many(faults, len(videos))
    if not listed:
        return [[item] for item in source if isinstance(item, str)], []
    return [[clip.prompt for clip in clips] for clips in videos if clips[0].prompt], listed


def refuse_many(faults: Sequence[str], num_clips: int) -> None:
    """Refuse to train on what is left when more than a tenth of the clips cannot be used.

    Args:
        faults: why a clip cannot be used, a line each.
        num_clips: of the whole list.

    Raises:
        IvideoError: that is so; names the first few.
    """
    if len(faults) > MAX_FAULTY_SHARE * num_clips:
        raise IvideoError(f"more than a tenth of the {num_clips} clips cannot be used: {_name_first(faults)}")


def write_records(run: RunFolder, records: Sequence[ClipRecord]) -> None:
    """Let a run remember its clips, in the order of the items."""
    lines = [{name: value for name, value in asdict(record).items() if value is not None} for record in records]
    write_text(run.clip_records, "".join(f"{json.dumps(line)}\n" for line in lines))


def recall_clips(run: RunFolder) -> list[ListedClip]:
    """The clips that an earlier run trains on, for going on with it.

    Raises:
        IvideoError: a video is missing or has changed since, or the run's memory of them is damaged.
    """
    hashes = ContentHashes(find_cache_folder() / "hashes", list_content)
    listed = []
    *lines, rest = read_text(run.clip_records).split("\n")
    if rest or not lines:
        raise IvideoError(f"{run.clip_records} is damaged: it is cut off")
    for number, line in enumerate(lines, 1):
        record = parse_as(ClipRecord, line, f"{run.clip_records}, line {number},")
        video = Path(record.video)
        if hashes.find(video) != record.sha256:
            raise IvideoError(
                f"{video} has changed since the run {run.root} started: put the old one back, or start anew"
            )
        listed.append(ListedClip(video, record.caption, str(run.clip_records)))
    return listed


def _name_first(faults: Sequence[str]) -> str:
    return "; ".join([*faults[:NUM_NAMED], *(["..."] if len(faults) > NUM_NAMED else [])])


def prepare_real_clips(context: RunContext, listed: Sequence[ListedClip]) -> RealClips:
    """Encode the clips that are trained on, the main process before the others, which then find them in the cache.

    Args:
        context: model, captions that are trained on, settings and processes of the run.
        listed: the whole list.

    Raises:
        IvideoError: too many cannot be used.
    """
    real = RealClips(context.model, listed, context.training, context.settings)
    with context.processes.main_process_first():
        real.prepare(context.progress)
    return real
