"""Take an adapter out of `ivideo`: merged into a diffusers folder that any program can run, or as a PEFT folder.

    python -m examples.merge_adapter runs/mine merged
    python -m examples.merge_adapter ddim20_1102-18-52_non_ema_0620000.pth merged --model modelscope --dtype float16
    python -m examples.merge_adapter ddim20_1102-18-52_non_ema_0620000.pth adapter --model modelscope --peft

The first two write what `diffusers.DiffusionPipeline.from_pretrained("merged")` loads; `--lora-scale 0` leaves the
adapter out, which turns the authors' U-Net into diffusers' form. The last writes what
`peft.PeftModel.from_pretrained(unet, "adapter")` loads. Prints the folder.
"""

from __future__ import annotations

import argparse
import sys

import ivideo
from ivideo.progress import Silence


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", help="run or PEFT folder, .safetensors with a LoRA, or .pth of the authors")
    parser.add_argument("output", help="folder to write, new or empty")
    parser.add_argument("--model", help="name, diffusers folder or hub id; default: the adapter's")
    parser.add_argument("--unet", help=".pth of the authors with the model's U-Net; default: the adapter's")
    parser.add_argument("--variant", help="which weights of a model that has several, as fp16; default: plain ones")
    parser.add_argument("--expert", help="of wan2.2-a14b: high or low; default: the adapter's")
    parser.add_argument("--lora-scale", type=float, help="multiplies the adapter's effect; default 1")
    parser.add_argument("--dtype", default="float32", help="of the merged U-Net: float32, bfloat16 or float16")
    parser.add_argument("--peft", action="store_true", help="write the adapter alone, in PEFT's format")
    arguments = parser.parse_args()
    if arguments.peft and arguments.lora_scale is not None:
        parser.error("--peft keeps the adapter as it is: leave out --lora-scale")
    return arguments


class Stderr(Silence):
    """Tells lines on stderr."""

    def say(self, message: str) -> None:
        print(message, file=sys.stderr)


def main() -> None:
    arguments = parse_arguments()
    base = {name: getattr(arguments, name) for name in ("model", "unet", "variant", "expert")}
    try:
        if arguments.peft:
            folder = ivideo.save_adapter(arguments.adapter, arguments.output, progress=Stderr(), **base)
        else:
            scale, dtype = arguments.lora_scale, arguments.dtype
            told = {"lora_scale": scale, "dtype": dtype, "progress": Stderr()}
            folder = ivideo.merge_adapter(arguments.adapter, arguments.output, **told, **base)
    except ivideo.IvideoError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    print(folder)


if __name__ == "__main__":
    main()
