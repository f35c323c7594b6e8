"""What the study runs, as plain data: trainings, the sweeps that they belong to, and the evaluations of Table 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

MODEL = "emoji-world"
REWARDS = ("emoji-preference", "emoji-clip")  # the first is trained on, the second never
FINAL_SPLITS = ("heldout", "things")  # on which every training is measured at its end
BASE = "base"  # result of the model itself
NUM_SEEDS = 2  # clips a prompt then
NUM_SCORED_FRAMES = 16  # of a clip then, which is all of them: none that some trainings saw more of than others
TABLE_SEEDS = (0, 1, 2)

# Steps of 4 clips; nothing ends a training early, and 16 held-out prompts are looked at along the way, the base first.
COMMON: dict[str, Any] = {
    "num_eval_prompts": 16,
    "num_watched_prompts": 16,
    "patience": 0,
    "min_motion": 0,
    "min_judge": 0,
    "save_every": 12,
    "batch_size": 4,
    "gradient_accumulation": 4,
}
# They change what a step computes, or how many there are, but not how long one takes.
FREE_OF_CHARGE = frozenset(
    {"attenuation_rate", "frame_draw", "learning_rate", "lr_schedule", "max_steps", "eval_every"}
)
# The sweeps change one thing of this, which was the emoji world's preset, but for its larger batch, when they were run.
# The rate is constant: a course does not depend on where it was meant to end.
SWEEP: dict[str, Any] = {
    **COMMON,
    "strength": 0.6,
    "num_segments": 4,
    "attenuation_rate": 0.1,
    "num_grad_steps": 2,
    "learning_rate": 2e-3,
    "lr_schedule": "constant",
    "max_steps": 36,
    "eval_every": 12,
}
# Strength against time: twice as long at a higher rate, to see what collapses. One step with gradient, as strength .1
# leaves one step of 8.
LONG: dict[str, Any] = {**SWEEP, "learning_rate": 3e-3, "num_grad_steps": 1, "max_steps": 72}
# Table 1: the paper's method (20 steps, strength .6, 4 segments, lambda 1, one step with gradient); rate, batch and
# number of steps are the emoji world's.
TABLE: dict[str, Any] = {
    **COMMON,
    "num_inference_steps": 20,
    "generation_num_inference_steps": 20,
    "strength": 0.6,
    "num_segments": 4,
    "attenuation_rate": 1.0,
    "num_grad_steps": 1,
    "learning_rate": 3e-3,
    "lr_schedule": "linear",
    "max_steps": 36,
    "eval_every": 9,
}


@dataclass(frozen=True)
class Training:
    """One `ivideo finetune`.

    Attributes:
        name: of its folder and of its result.
        settings: that differ from the preset.
        seed: of the run.
        clips_of: name of the training whose base clips are taken over; none: it makes its own, if it needs any.
        real_clips: edits rendered clips of the prompts in place of the model's own.
        spacing: of the timesteps, where it is not the model's own (`respace_model`).
        keeps_best: its best adapter is what counts, as for who trains with the preset, and not its last.
    """

    name: str
    settings: Mapping[str, Any]
    seed: int = 0
    clips_of: str | None = None
    real_clips: bool = False
    spacing: str | None = None
    keeps_best: bool = False

    @property
    def base(self) -> str:
        """Name of the result of the model that it starts from."""
        return RESPACED_BASE if self.spacing else BASE

    @property
    def work_of_a_step(self) -> frozenset[tuple[str, Any]]:
        """The settings that decide how long a step takes: of equal ones, one is timed."""
        return frozenset((name, value) for name, value in self.settings.items() if name not in FREE_OF_CHARGE)

    @property
    def watched(self) -> tuple[Any, ...]:
        """What its course is measured on, the base's clips and the frames of them, and whether it sees only those.

        Of others, the course says nothing: who trains on first frames only, as all are measured on along the way, would
        be ahead of who draws them.
        """
        deciding = ("num_inference_steps", "num_segments", "frame_draw")
        return self.seed, self.spacing, *(self.settings.get(name) for name in deciding)


@dataclass(frozen=True)
class Sweep:
    """Trainings that differ in one thing.

    Attributes:
        title: what is varied.
        trainings: name of each training by what it is called in tables and figures, in their order.
        usual: the label that the others are held against.
        note: what a reader of the numbers should know.
        base: result of the model that they start from.
    """

    title: str
    trainings: Mapping[str, str]
    usual: str
    note: str = ""
    base: str = BASE


def vary(**settings: Any) -> Training:
    """A training of the sweeps with something changed; its name says what."""
    words = [f"{name.replace('_', '-')}-{value}" for name, value in settings.items()]
    return Training("_".join(words), {**SWEEP, **settings}, clips_of=DEFAULT.name)


DEFAULT = Training("default", SWEEP)
K1, K4 = vary(num_grad_steps=1), vary(num_grad_steps=4)
GRADIENTS = {
    "last step": K1,
    "last 2": DEFAULT,
    "last 4": K4,
    "a random one of the last 3": vary(gradient="random", num_grad_steps=3),
    "DRTune, 2 of 5": vary(gradient="drtune", num_grad_steps=2),
    "DRTune, 5 of 5": vary(gradient="drtune", num_grad_steps=5),
    "DRaFT-LV, 2": vary(gradient="draft-lv", num_grad_steps=2),
}
PAPER_SPACING = "leading"  # of the paper's timesteps: at the last of them, t = 1, the prediction hardly acts any more
RESPACED_BASE = f"base_{PAPER_SPACING}"


def respace(training: Training) -> Training:
    """A training with the paper's timesteps; one of them makes the clips for all."""
    first, name = (f"{PAPER_SPACING}_{one.name}" for one in (K1, training))
    return Training(name, training.settings, clips_of=None if training is K1 else first, spacing=PAPER_SPACING)


RESPACED = {
    label: respace(GRADIENTS[label])
    for label in ("last step", "last 2", "a random one of the last 3", "DRTune, 2 of 5", "DRaFT-LV, 2")
}
# Whose adapters are also looked at with the steps apart that the gradient went through.
ACTING = "acting"
ACTING_TRAININGS = {
    "last step, t = 124": GRADIENTS["last step"],
    "last 2, t = 249 and 124": GRADIENTS["last 2"],
    "last step, t = 1": RESPACED["last step"],
    "last 2, t = 126 and 1": RESPACED["last 2"],
}
TRAINED, UNTRAINED = "steps with gradient", "other steps"
ATTENUATIONS = {
    "off": vary(attenuation_rate="none"),
    "0.1": DEFAULT,
    "0.5": vary(attenuation_rate=0.5),
    "1": vary(attenuation_rate=1.0),
    "2": vary(attenuation_rate=2.0),
}
SEGMENTS = {
    "1": vary(num_segments=1),
    "2": vary(num_segments=2),
    "4": DEFAULT,
    "4, first frames": vary(frame_draw="first"),
    "8": vary(num_segments=8),
    "16": vary(num_segments=16),
}
BATCHES = {"4": DEFAULT, "8": vary(batch_size=8, gradient_accumulation=8)}
STRENGTHS = {
    f"{strength:g}": Training(f"long_strength-{strength:g}", {**LONG, "strength": strength}, clips_of=DEFAULT.name)
    for strength in (0.1, 0.3, 0.5, 0.6, 0.9)
}
DATA = {"its own": DEFAULT, "rendered": Training("rendered-clips", SWEEP, real_clips=True)}
# The preset as anybody runs it: with what won the sweeps, and with what it had before.
PRESETS = {
    segments: [
        Training(f"preset_num-segments-{segments}_seed-{seed}", {"num_segments": segments}, seed, keeps_best=True)
        for seed in TABLE_SEEDS
    ]
    for segments in (8, 4)
}
INSTRUCT = [Training(f"instructvideo_seed-{seed}", TABLE, seed) for seed in TABLE_SEEDS]
DRAFT = [Training(f"draft-1_seed-{seed}", {**TABLE, "start": "noise"}, seed) for seed in TABLE_SEEDS]


def name_all(members: Mapping[str, Training]) -> dict[str, str]:
    """Name of each training by its label."""
    return {label: training.name for label, training in members.items()}


SWEEPS: Mapping[str, Sweep] = MappingProxyType(
    {
        "gradient": Sweep(
            "Where the gradient flows",
            name_all(GRADIENTS),
            "last 2",
            "The edit runs 5 of 8 steps. DRaFT-LV looks at 2 samples that were noised again.",
        ),
        "respaced": Sweep(
            "Where the gradient flows, with the paper's timesteps",
            name_all(RESPACED),
            "last step",
            (
                "Clips, edits and evaluations run at t = 876, 751, ..., 1; changes are against the base likewise. "
                "Adam's steps are of one size however small the gradients are."
            ),
            RESPACED_BASE,
        ),
        "attenuation": Sweep("Attenuation rate", name_all(ATTENUATIONS), "0.1"),
        "segments": Sweep(
            "Segments, a drawn frame each",
            name_all(SEGMENTS),
            "4",
            (
                "16 segments are every frame, as all are measured on at their end; along a training the rewards are of "
                "the frames that its own segments begin with, and cannot be compared with others'."
            ),
        ),
        "strength": Sweep(
            "Strength of the edit",
            name_all(STRENGTHS),
            "0.6",
            "72 steps at a higher rate, one step of the chain with gradient; 1, 2, 4, 5 and 7 of 8 steps are run.",
        ),
        "batch": Sweep("Clips a step", name_all(BATCHES), "4"),
        "data": Sweep(
            "Source of the edited clips", name_all(DATA), "its own", "Rendered clips are stored as H.264 first."
        ),
    }
)


@dataclass(frozen=True)
class Evaluation:
    """Clips of all splits by the base and by trainings, measured by everything that we have.

    Attributes:
        name: of its result.
        trainings: names of the trainings that are pooled.
        num_inference_steps: of every clip.
        num_seeds: clips a prompt.
        label: what is evaluated, for the table.
        prompt_stride: of each split, one prompt in so many.
    """

    name: str
    trainings: tuple[str, ...]
    num_inference_steps: int
    num_seeds: int
    label: str
    prompt_stride: int = 1


TABLE_1 = (
    Evaluation("table_draft-1_20", tuple(one.name for one in DRAFT), 20, NUM_SEEDS, "DRaFT-1"),
    Evaluation("table_instructvideo_20", tuple(one.name for one in INSTRUCT), 20, NUM_SEEDS, "InstructVideo"),
    Evaluation("table_instructvideo_50", tuple(one.name for one in INSTRUCT), 50, 1, "InstructVideo", 2),
)
PRESET_TABLES = tuple(
    Evaluation(
        f"table_preset_num-segments-{segments}",
        tuple(one.name for one in group),
        8,
        NUM_SEEDS,
        f"the preset with {segments} segments",
    )
    for segments, group in PRESETS.items()
)
EVALUATIONS = (*TABLE_1, *PRESET_TABLES)


def all_trainings() -> dict[str, Training]:
    """Every training by name, each once, in the order in which they are run: what others need comes first."""
    groups = [GRADIENTS, BATCHES, ATTENUATIONS, SEGMENTS, STRENGTHS, DATA, RESPACED]
    listed = [DEFAULT, *(training for group in groups for training in group.values())]
    listed += [training for pair in zip(INSTRUCT, DRAFT, strict=True) for training in pair]
    listed += [training for group in PRESETS.values() for training in group]
    return {training.name: training for training in listed}


# Whose seconds are told: those that are held against each other; the preset's are not.
TIMED = {name: training for name, training in all_trainings().items() if not training.keeps_best}
