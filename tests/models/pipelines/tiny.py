"""Tiny pipelines with random weights, of diffusers' and transformers' own classes, made without a network.

`write(name, folder)` saves one as a diffusers folder; SIZES says what a call of it can make.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

CORPUS = [
    "a red cat runs on the grass",
    "a dog jumps over a blue car",
    "the sun sets over the sea",
    "two birds fly above a green field",
    "bad quality, blurry, worst",
]
# What the two chat templates say, so that the tiny tokenizers read them in few tokens.
TEMPLATES = [
    "<|start_header_id|>system<|end_header_id|>\n\nDescribe the video by detailing the following aspects: "
    "1. The main content and theme of the video.2. The color, shape, size, texture, quantity, text, and spatial "
    "relationships of the objects.3. Actions, events, behaviors temporal relationships, physical movement changes of "
    "the objects.4. background environment, light, style and atmosphere.5. camera angles, movements, and transitions "
    "used in the video:<|eot_id|><|start_header_id|>user<|end_header_id|>",
    "You are a helpful assistant. Describe the video by detailing the following aspects:",
]
DOWN, UP = "DownEncoderBlock2D", "UpDecoderBlock2D"


def sentencepiece(length: int) -> Any:
    """A T5 tokenizer that was trained on the corpus."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import T5Tokenizer

    tokenizer = Tokenizer(models.Unigram())
    spaces = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), spaces])
    special = {"special_tokens": ["<pad>", "</s>", "<unk>"], "unk_token": "<unk>"}
    trainer = trainers.UnigramTrainer(vocab_size=120, show_progress=False, **special)
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    pieces = [tuple(piece) for piece in json.loads(tokenizer.to_str())["model"]["vocab"]]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=length)


def byte_pairs(kind: str, special: list[str], **options: Any) -> Any:
    """A tokenizer of bytes and pairs that was trained on corpus and templates, in a class of transformers."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS + TEMPLATES * 3, trainer)
    state = json.loads(tokenizer.to_str())["model"]
    pairs = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in state["merges"]]
    return getattr(transformers, kind)(vocab=state["vocab"], merges=pairs, **options)


def clip_tokenizer() -> Any:
    """CLIP's, of single bytes."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<|startoftext|>", "<|endoftext|>", *alphabet, *(f"{byte}</w>" for byte in alphabet)]
    return CLIPTokenizer(vocab={piece: place for place, piece in enumerate(pieces)}, merges=[], model_max_length=77)


def clip_text(vocabulary: int, **options: Any) -> Any:
    """A CLIP text encoder."""
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 4, "num_hidden_layers": 2}
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    return CLIPTextModel(CLIPTextConfig(vocab_size=vocabulary, **sizes, **ends, **options))


def t5(vocabulary: int, kind: str = "T5", width: int = 32) -> Any:
    """A T5 or UMT5 encoder."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=8,
        d_ff=16,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
    )
    return getattr(transformers, f"{kind}EncoderModel")(config)


def wan(*, is_two: bool = False, is_5b: bool = False) -> Any:
    """Wan 2.1; Wan 2.2 A14B with two experts; Wan 2.2 5B with a timestep a token."""
    import diffusers as D

    tokenizer = sentencepiece(512)
    encoder = t5(len(tokenizer), "UMT5")
    channels = 48 if is_5b else 16
    shape: dict[str, Any] = {"base_dim": 3, "z_dim": channels, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    shape["temperal_downsample"] = [False, True, True]
    if is_5b:
        shape |= {"in_channels": 12, "out_channels": 12, "is_residual": True, "patch_size": 2}
        shape |= {"latents_mean": [0.1] * 48, "latents_std": [1.5] * 48, "scale_factor_spatial": 16}

    def transformer() -> Any:
        sizes = {"num_attention_heads": 2, "attention_head_dim": 12, "text_dim": 32, "freq_dim": 32, "ffn_dim": 32}
        return D.WanTransformer3DModel(
            patch_size=(1, 2, 2),
            in_channels=channels,
            out_channels=channels,
            num_layers=2,
            rope_max_seq_len=32,
            **sizes,
        )

    scheduler = D.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return D.WanPipeline(
        tokenizer=tokenizer,
        text_encoder=encoder,
        vae=D.AutoencoderKLWan(**shape),
        scheduler=scheduler,
        transformer=transformer(),
        transformer_2=transformer() if is_two else None,
        boundary_ratio=0.875 if is_two else None,
        expand_timesteps=is_5b,
    )


def ltx() -> Any:
    """LTX-Video 0.9.0."""
    import diffusers as D

    tokenizer = sentencepiece(128)
    transformer = D.LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=2,
        caption_channels=32,
    )
    vae = D.AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5,
    )
    vae.latents_mean.copy_(torch.linspace(-0.2, 0.2, 8))
    scheduler = D.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        max_image_seq_len=4096,
        shift_terminal=0.1,
    )
    return D.LTXPipeline(scheduler, vae, t5(len(tokenizer)), tokenizer, transformer)


def cogvideox(*, is_rotary: bool = False, is_joined: bool = False) -> Any:
    """CogVideoX 2b, 5b (rotary positions), 1.5 (rotary, two latents joined)."""
    import diffusers as D

    tokenizer = sentencepiece(226)
    heads = {"num_attention_heads": 2, "attention_head_dim": 16}
    joined = {"patch_size_t": 2, "patch_bias": False} if is_joined else {}
    transformer = D.CogVideoXTransformer3DModel(
        in_channels=4,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=32,
        num_layers=2,
        sample_width=8,
        sample_height=8,
        sample_frames=9,
        use_rotary_positional_embeddings=is_rotary,
        **heads,
        **joined,
    )
    vae = D.AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
    )
    scheduler = D.CogVideoXDDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        snr_shift_scale=1.0 if is_rotary else 3.0,
    )
    return D.CogVideoXPipeline(tokenizer, t5(len(tokenizer)), vae, transformer, scheduler)


def hunyuan() -> Any:
    """HunyuanVideo; a tokenizer of bytes and pairs stands in for Llama's."""
    import diffusers as D
    from transformers import LlamaConfig, LlamaModel

    transformer = D.HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        patch_size=2,
        patch_size_t=1,
        guidance_embeds=True,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
    )
    vae = D.AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4
    )
    tokenizer = byte_pairs("GPT2Tokenizer", ["<|endoftext|>"], pad_token="<|endoftext|>", padding_side="right")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 4, "num_hidden_layers": 4}
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    tokenizer_2 = clip_tokenizer()
    return D.HunyuanVideoPipeline(
        text_encoder=LlamaModel(LlamaConfig(vocab_size=len(tokenizer), **sizes, **ends)),
        tokenizer=tokenizer,
        transformer=transformer,
        vae=vae,
        scheduler=D.FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=clip_text(len(tokenizer_2), projection_dim=32),
        tokenizer_2=tokenizer_2,
    )


def hunyuan_15() -> Any:
    """HunyuanVideo-1.5 for text to video."""
    import diffusers as D
    import transformers as T
    from diffusers.guiders import ClassifierFreeGuidance

    transformer = D.HunyuanVideo15Transformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        patch_size=1,
        patch_size_t=1,
        text_embed_dim=16,
        text_embed_2_dim=32,
        image_embed_dim=12,
        rope_axes_dim=(2, 2, 4),
        target_size=16,
        task_type="t2v",
    )
    vae = D.AutoencoderKLHunyuanVideo15(
        latent_channels=4,
        block_out_channels=(16, 16, 16),
        layers_per_block=1,
        spatial_compression_ratio=4,
        temporal_compression_ratio=4,
        downsample_match_channel=False,
        upsample_match_channel=False,
    )
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = byte_pairs("Qwen2Tokenizer", special, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    config = T.Qwen2_5_VLTextConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=len(tokenizer) + 10,
        rope_scaling={"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
        rope_theta=1000000.0,
    )
    return D.HunyuanVideo15Pipeline(
        text_encoder=T.Qwen2_5_VLTextModel(config),
        tokenizer=tokenizer,
        transformer=transformer,
        vae=vae,
        scheduler=D.FlowMatchEulerDiscreteScheduler(shift=5.0),
        text_encoder_2=t5(384),
        tokenizer_2=T.ByT5Tokenizer(),
        guider=ClassifierFreeGuidance(guidance_scale=6.0),
    )


def mochi() -> Any:
    """Mochi."""
    import diffusers as D

    tokenizer = sentencepiece(256)
    transformer = D.MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        text_embed_dim=32,
        time_embed_dim=4,
    )
    torch.nn.init.normal_(transformer.pos_frequencies)
    vae = D.AutoencoderKLMochi(
        encoder_block_out_channels=(32,) * 4, decoder_block_out_channels=(32,) * 4, layers_per_block=(1,) * 5
    )
    scheduler = D.FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    return D.MochiPipeline(scheduler, vae, t5(len(tokenizer)), tokenizer, transformer)


def stable_diffusion_unet() -> Any:
    """A U-Net of pictures."""
    import diffusers as D

    return D.UNet2DConditionModel(
        block_out_channels=(8, 8),
        layers_per_block=1,
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        norm_num_groups=2,
    )


def animatediff() -> Any:
    """AnimateDiff: a Stable Diffusion U-Net with a motion adapter."""
    import diffusers as D

    tokenizer = clip_tokenizer()
    unet = stable_diffusion_unet()
    motion = D.MotionAdapter(
        block_out_channels=(8, 8), motion_layers_per_block=1, motion_norm_num_groups=2, motion_num_attention_heads=4
    )
    vae = D.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=[DOWN] * 2,
        up_block_types=[UP] * 2,
        latent_channels=4,
        norm_num_groups=2,
    )
    scheduler = D.DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False)
    return D.AnimateDiffPipeline(vae, clip_text(len(tokenizer)), tokenizer, unet, motion, scheduler)


MAKERS: dict[str, Callable[[], Any]] = {
    "wan": wan,
    "wan-a14b": lambda: wan(is_two=True),
    "wan-5b": lambda: wan(is_5b=True),
    "ltx": ltx,
    "cogvideox-2b": cogvideox,
    "cogvideox-5b": lambda: cogvideox(is_rotary=True),
    "cogvideox-1.5": lambda: cogvideox(is_rotary=True, is_joined=True),
    "hunyuan": hunyuan,
    "hunyuan-1.5": hunyuan_15,
    "mochi": mochi,
    "animatediff": animatediff,
}
# A causal decoder and one that looks at all latents; the others are slow tests, which CI runs, too.
USUAL = ("wan", "ltx")
EVERY = [pytest.param(name, marks=() if name in USUAL else pytest.mark.slow) for name in MAKERS]
SIZES = {  # frames, height, width
    "wan": (9, 16, 16),
    "wan-a14b": (9, 16, 16),
    "wan-5b": (9, 32, 32),
    "ltx": (9, 64, 64),
    "cogvideox-2b": (17, 16, 16),
    "cogvideox-5b": (17, 16, 16),
    "cogvideox-1.5": (17, 16, 16),
    "hunyuan": (25, 16, 16),
    "hunyuan-1.5": (9, 16, 16),
    "mochi": (13, 16, 16),
    "animatediff": (4, 16, 16),
}


def write(name: str, folder: Path) -> Path:
    """Save a pipeline of random weights, always the same, as a diffusers folder."""
    torch.manual_seed(0)
    MAKERS[name]().save_pretrained(folder)
    return folder
