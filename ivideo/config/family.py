"""Settings that only models of one family have: foreign files with their network's weights."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Annotated, TypedDict

from pydantic import BeforeValidator

from ivideo.config.fields import Panel, Resume, setting
from ivideo.config.parts import Part

OWN = "none"  # the model's own weights


def whole_path(value: object) -> object:
    """A path from the root, as runs and adapters that name the file are used from other folders; None for "none"."""
    if not isinstance(value, str) or not value:
        return value
    return None if value.lower() == OWN else str(Path(value).expanduser().absolute())


class FamilyPart(Part):
    """What only models with a `UNet3DConditionModel` have."""

    unet: Annotated[str | None, BeforeValidator(whole_path, json_schema_input_type=str)] = setting(
        None,
        min_length=1,
        help="Take the model's U-Net from a .pth of the authors (VGen, ModelScope); none: its own. Default: the run's.",
        panel=Panel.SHARED,
        metavar="FILE",
        resume=Resume.CLIPS,
    )

    @property
    def weights_file(self) -> str | None:
        """The file that the network's weights come from; None: the model's own."""
        return self.unet


class FamilyKeywords(TypedDict, total=False):
    """Keywords of `FamilyPart`."""

    unet: str | PathLike[str] | None


FAMILY_SETTINGS = tuple(FamilyPart.model_fields)
OWN_WEIGHTS = dict.fromkeys(FAMILY_SETTINGS, OWN)  # these settings of a model that is taken as it is
