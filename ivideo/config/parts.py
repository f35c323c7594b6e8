"""The settings in parts: model, reward, reading and generation. Those of training are in `settings`.

A field is all that a new setting needs: option, TOML, keyword, docs and the rule for resuming come from it.
`python -m examples.write_settings` then writes the keywords and the page again.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic_core import from_json

from ivideo.config.fields import Resume, clips, method, setting, shared
from ivideo.config.presets import MODELS_HELP
from ivideo.errors import UsageError

MAX_PROMPT_LENGTH = 10_000  # characters; text encoders read less by far, and files of videos hold not much more
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
REWARDS_HELP = (
    "emoji-preference (bundled, simulated preferences), emoji-clip (bundled, fit of frame and prompt), hpsv2, "
    "hpsv2.1, hpsv2:FILE, pickscore, clip, clip:ARCH/TAG, FILE.py:function, or a weighted sum: "
    "hpsv2=1,pickscore=0.5. All but the last two are cosines of image and text, to be compared only for the same "
    "prompt and the same model and version."
)


def one_or_several(value: object) -> object:
    """A reward or several, the only one of a list by itself."""
    several = list(value) if isinstance(value, list | tuple) else [value]
    if not several or not all(isinstance(one, str) and one.strip() for one in several):
        raise ValueError("name a reward model, or several in a list")
    return several[0] if len(several) == 1 else tuple(several)


def several_or_none(value: object) -> object:
    """One text or several as a tuple; None for none."""
    several = tuple(value) if isinstance(value, list | tuple) else (value,) if value else ()
    if not all(isinstance(one, str) and "=" in one.strip("=") for one in several):
        raise ValueError("give name=value")
    return several or None


def readable_text(value: str) -> str:
    """The text, unless it has what the command line could not read, or is too long for a prompt."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("no UTF-8 text: check the terminal's encoding") from None
    if len(value) > MAX_PROMPT_LENGTH:
        raise ValueError(f"should have at most {MAX_PROMPT_LENGTH} characters")
    return value


def rate_or_none(value: object) -> object:
    """None for the words that switch attenuation off."""
    return None if str(value).lower() in ("none", "off") else value


def check_prompt_length(prompt: str) -> str:
    """Refuse what is no prompt by its length; gives the prompt.

    Raises:
        UsageError: it has more than MAX_PROMPT_LENGTH characters.
    """
    if len(prompt) > MAX_PROMPT_LENGTH:
        count = f"{len(prompt)} characters, and a prompt has at most {MAX_PROMPT_LENGTH}"
        raise UsageError(f"prompt {prompt[:40]!r}... has {count}")
    return prompt


def opaque_colour(value: str) -> str:
    """The name of a colour, or #rrggbb."""
    from PIL import ImageColor

    try:
        is_opaque = len(ImageColor.getrgb(value)) == len("rgb")
    except ValueError:
        is_opaque = False
    if not is_opaque:
        raise ValueError(f"{value!r} is no colour: give a name or #rrggbb")
    return value


class Part(BaseModel):
    """What all parts have in common: unknown names and impossible values are errors, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class ModelPart(Part):
    """Which model, where, and from which seed."""

    model: str = shared(min_length=1, help=MODELS_HELP, metavar="NAME", flags=("--model", "-m"), resume=Resume.CLIPS)
    seed: int = shared(0, ge=0, lt=2**63, help="Fixes every draw.")
    device: str = shared("auto", help="auto, cpu, cuda, cuda:1, mps.", metavar="NAME", resume=Resume.FREE)
    dtype: DtypeName = shared(
        "auto", help="Type of the network; auto is half where the processor computes in it, else float32."
    )


class RewardPart(Part):
    """What clips are scored by, and how their frames count."""

    reward: Annotated[
        str | tuple[str, ...], BeforeValidator(one_or_several, json_schema_input_type=str | Sequence[str])
    ] = shared(help=f"{REWARDS_HELP} Give it again to see further ones beside the first.", metavar="REWARD")
    num_segments: int = method(4, ge=1, help="Segments a clip; one frame of each is scored.", unit="segments")
    attenuation_rate: Annotated[float | None, BeforeValidator(rate_or_none, json_schema_input_type=float | str)] = (
        method(
            1.0,
            ge=0,
            help="lambda of the attenuated reward, per frame; none switches it off.",
            unit="per frame",
            metavar="RATE",
        )
    )

    @property
    def rewards(self) -> tuple[str, ...]:
        """The rewards that are shown; the first one is the one that is trained on."""
        return (self.reward,) if isinstance(self.reward, str) else self.reward


class ScoringPart(Part):
    """How ready videos are read."""

    batch_size: int = setting(
        16, ge=1, help="Frames in one forward, also of several videos.", unit="frames", metavar="N"
    )
    temporal: bool = setting(
        True,
        help="Read every frame, for the figures over time and the reward's curve; or only the frames that make the "
        "reward.",
    )
    max_curve_frames: int = setting(
        64,
        ge=1,
        help="Frames of a video that the reward model sees at most, evenly spread over it.",
        unit="frames",
        metavar="N",
    )
    background: Annotated[str, AfterValidator(opaque_colour)] = setting(
        "black", help="What transparent pixels are shown on: a colour's name, or #rrggbb.", metavar="COLOUR"
    )


class GenerationPart(Part):
    """How clips are generated; frames, size, steps and guidance default by model."""

    num_frames: int = clips(ge=1, help="Frames a clip.", unit="frames", resume=Resume.CLIPS)
    height: int | None = clips(
        None, ge=8, multiple_of=8, help="Pixels from top to bottom.", unit="pixels", resume=Resume.CLIPS
    )
    width: int | None = clips(
        None, ge=8, multiple_of=8, help="Pixels from left to right.", unit="pixels", resume=Resume.CLIPS
    )
    fps: float = clips(gt=0, le=240, help="Frames a second.", unit="frames a second")
    num_inference_steps: int = clips(ge=1, le=1000, help="Steps of a full chain.", unit="steps")
    guidance_scale: float = clips(ge=0, help="Classifier-free guidance; 1 is none.")
    negative_prompt: Annotated[str, AfterValidator(readable_text)] = clips(
        "", help="What clips should not show.", metavar="TEXT", resume=Resume.CLIPS
    )
    call_arguments: Annotated[
        tuple[str, ...] | None, BeforeValidator(several_or_none, json_schema_input_type=str | Sequence[str])
    ] = clips(
        None,
        help="A further argument of the call of the model's pipeline, as guidance_scale_2=3; may be given again.",
        metavar="NAME=VALUE",
        flags=("--set",),
    )
    guidance_batching: bool = clips(
        True,
        help="Both branches of the guidance in one forward; or one after the other: less memory.",
        resume=Resume.FREE,
    )


def read_call_arguments(texts: Sequence[str] | None) -> dict[str, Any]:
    """The values of `call_arguments` by name: JSON where they are that, else text."""
    arguments: dict[str, Any] = {}
    for text in texts or ():
        name, _, value = text.partition("=")
        try:
            arguments[name.strip()] = from_json(value)
        except ValueError:
            arguments[name.strip()] = value
    return arguments


OWN = "none"  # the model's own weights


def whole_path(value: object) -> object:
    """A path from the root, as runs and adapters that name the file are used from other folders; None for "none"."""
    if not isinstance(value, str) or not value:
        return value
    return None if value.lower() == OWN else str(Path(value).expanduser().absolute())


class FamilyPart(Part):
    """What only models of one family have."""

    unet: Annotated[str | None, BeforeValidator(whole_path, json_schema_input_type=str)] = shared(
        None,
        min_length=1,
        help="Take the model's U-Net from a .pth of the authors (VGen, ModelScope); none: its own. Default: the run's.",
        metavar="FILE",
        resume=Resume.CLIPS,
    )
    variant: str | None = shared(
        None,
        min_length=1,
        help="Which weights of a model that has several, as fp16; default: the plain ones, or those that are there.",
        metavar="NAME",
        resume=Resume.CLIPS,
    )
    expert: Literal["high", "low", "both"] | None = shared(
        None,
        help="Which expert of a model with two (wan2.2-a14b) the adapter goes into; default: low, which the last steps "
        "go through.",
    )
    vae_tiling: bool | None = shared(
        None,
        help="Decode and encode in tiles, as enable_tiling of diffusers: less memory, at the price of faint seams. "
        "Default: only frames that a training draws from clips of more than 300,000 pixels a frame.",
    )

    @property
    def family_options(self) -> dict[str, Any]:
        """These settings by name."""
        return {name: getattr(self, name) for name in FAMILY_SETTINGS}

    @property
    def told_options(self) -> dict[str, Any]:
        """Those that records and videos tell: the weights' file always, others where they are set."""
        return {name: value for name, value in self.family_options.items() if value is not None or name == "unet"}

    @property
    def weights_file(self) -> str | None:
        """The file that the network's weights come from; None: the model's own."""
        return self.unet


class FamilyKeywords(TypedDict, total=False):
    """Keywords of `FamilyPart`."""

    unet: str | PathLike[str] | None
    variant: str | None
    expert: str | None
    vae_tiling: bool | None


FAMILY_SETTINGS = tuple(FamilyPart.model_fields)
OWN_WEIGHTS = {"unet": OWN}  # these settings of a model that is taken as it is
