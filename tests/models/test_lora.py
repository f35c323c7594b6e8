from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer

from ivideo.models.lora import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    adapter_merged,
    adapter_off,
    add_lora,
    lora_parameters,
    named_lora_parameters,
    save_lora,
)
from ivideo.models.lora_files import load_lora


def predict(unet):
    """What a U-Net answers to one fixed input."""
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn((2, 4, 3, 4, 4), generator=generator)
    embeds = torch.randn((2, 5, 8), generator=generator)
    with torch.no_grad():
        return unet(latents.to(unet.dtype), torch.tensor(7), embeds.to(unet.dtype)).sample.float()


def ups(unet):
    return [parameter for name, parameter in unet.named_parameters() if ".lora_B." in name]


@pytest.fixture(scope="module")
def base(make_unet):
    return predict(make_unet())


def test_a_fresh_adapter_changes_nothing(make_unet, base):
    unet = make_unet()
    add_lora(unet, rank=4, alpha=4.0, seed=0)
    assert torch.equal(predict(unet), base)


def test_with_its_adapter_off_a_model_is_its_base(tuned, base):
    with_adapter = predict(tuned)
    assert (with_adapter - base).abs().max() > 0.01
    with adapter_off(tuned):
        assert torch.equal(predict(tuned), base)
    assert torch.equal(predict(tuned), with_adapter)


def test_only_the_adapter_is_trained(tuned):
    trained = {name for name, parameter in tuned.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in tuned.named_parameters() if ".lora_" in name}
    assert len(trained) == len(lora_parameters(tuned))
    assert {parameter.dtype for parameter in lora_parameters(tuned)} == {torch.float32}


@pytest.mark.parametrize("sizes", [{}, {"layers_per_block": 2}])
def test_every_projection_of_every_attention_is_adapted(make_unet, sizes):
    from diffusers.models.attention_processor import Attention

    unet = make_unet(**sizes)
    attentions = [name for name, module in unet.named_modules() if isinstance(module, Attention)]
    add_lora(unet, rank=2, alpha=2.0, seed=0)
    adapted = {name for name, module in unet.named_modules() if isinstance(module, LoraLayer)}
    assert adapted == {f"{name}.{to}" for name in attentions for to in ("to_q", "to_k", "to_v", "to_out.0")}
    kinds = {("temp" in name or "transformer_in" in name, name.rsplit(".", 1)[1]) for name in attentions}
    assert kinds == {(is_temporal, attention) for is_temporal in (True, False) for attention in ("attn1", "attn2")}


@pytest.mark.parametrize("rank", [4, 8])
def test_down_is_normal_with_deviation_one_over_rank_and_up_is_zero(make_unet, rank):
    unet = make_unet()
    add_lora(unet, rank=rank, alpha=1.0, seed=0)
    downs = torch.cat([p.flatten() for name, p in unet.named_parameters() if ".lora_A." in name])
    assert len(downs) > 5000
    assert downs.std().item() == pytest.approx(1 / rank, rel=0.05)
    assert downs.mean().item() == pytest.approx(0, abs=0.05 / rank)
    assert (downs.abs() < 1 / rank).float().mean().item() == pytest.approx(0.683, abs=0.02)
    assert all(up.eq(0).all() for up in ups(unet))


def test_the_seed_fixes_the_start_whatever_was_drawn_before(make_unet):
    def start(seed):
        unet = make_unet()
        torch.rand(seed + 1)
        add_lora(unet, rank=4, alpha=4.0, seed=seed)
        return torch.cat([parameter.detach().flatten() for parameter in lora_parameters(unet)])

    assert torch.equal(start(5), start(5))
    assert not torch.equal(start(5), start(6))


def test_the_adapter_is_scaled_by_alpha_over_rank(make_unet):
    unet = make_unet()
    add_lora(unet, rank=4, alpha=8.0, seed=0)
    layer = unet.transformer_in.transformer_blocks[0].attn1.to_q
    layer.lora_B["default"].weight.data.fill_(1.0)
    inputs = torch.linspace(-1, 1, layer.in_features)
    expected = layer.base_layer(inputs) + 2.0 * (layer.lora_A["default"].weight @ inputs).sum()
    torch.testing.assert_close(layer(inputs), expected)


def test_what_is_saved_is_what_is_loaded(tuned, adapter, make_unet, base):
    loaded = make_unet()
    load_lora(loaded, adapter)
    assert torch.equal(predict(loaded), predict(tuned))
    assert (predict(loaded) - base).abs().max() > 0.05
    for own, other in zip(lora_parameters(tuned), lora_parameters(loaded), strict=True):
        assert torch.equal(own, other)


def test_peft_alone_loads_it(tuned, adapter, make_unet):
    loaded = PeftModel.from_pretrained(make_unet(), str(adapter))
    assert torch.equal(predict(loaded), predict(tuned))


def test_what_peft_saved_is_loaded(tuned, adapter, make_unet, tmp_path):
    wrapped = PeftModel.from_pretrained(make_unet(), str(adapter))
    wrapped.save_pretrained(str(tmp_path / "by_peft"), save_embedding_layers=False)
    loaded = make_unet()
    load_lora(loaded, tmp_path / "by_peft")
    assert torch.equal(predict(loaded), predict(tuned))


def test_the_files_are_the_same_every_time_and_name_the_base(tuned, adapter, tmp_path):
    config = json.loads((adapter / CONFIG_FILE).read_text())
    assert config["base_model_name_or_path"] == "emoji-world"
    assert config["inference_mode"] is True
    assert (config["r"], config["lora_alpha"]) == (4, 4.0)
    assert config["target_modules"] == ["to_k", "to_out.0", "to_q", "to_v"]
    save_lora(tuned, tmp_path / "again", "emoji-world")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert (adapter / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_saving_asks_no_hub_about_the_base(tuned, tmp_path, monkeypatch):
    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", lambda *names: pytest.fail(str(names)))
    for _ in range(2):  # from the second time on, PEFT knows the name of the base
        save_lora(tuned, tmp_path, "someone/model")


def test_training_goes_on_after_saving(tuned, adapter):
    assert adapter.is_dir()
    assert all(parameter.requires_grad for parameter in lora_parameters(tuned))


def test_scale_zero_is_the_base(adapter, make_unet, base):
    unet = make_unet()
    load_lora(unet, adapter, scale=0.0)
    assert torch.equal(predict(unet), base)


def test_scale_multiplies_the_effect(adapter, make_unet, tuned):
    unet = make_unet()
    load_lora(unet, adapter, scale=0.5)
    for up in ups(tuned):
        up.data.mul_(0.5)
    torch.testing.assert_close(predict(unet), predict(tuned), rtol=0, atol=1e-6)


def test_a_half_precision_unet_keeps_a_float32_adapter(adapter, make_unet, tuned):
    unet = make_unet().to(torch.bfloat16)
    load_lora(unet, adapter)
    assert {parameter.dtype for parameter in lora_parameters(unet)} == {torch.float32}
    full = predict(tuned)
    assert (predict(unet) - full).norm() / full.norm() < 0.1


def test_a_merged_adapter_predicts_the_same_and_leaves_no_trace(tuned):
    tuned_prediction = predict(tuned)
    before = {name: weight.detach().clone() for name, weight in tuned.named_parameters()}
    with adapter_off(tuned):
        base = predict(tuned)
    with adapter_merged(tuned):
        assert not any(weight.requires_grad for name, weight in tuned.named_parameters())
        torch.testing.assert_close(predict(tuned), tuned_prediction, rtol=0, atol=1e-5)
    assert (tuned_prediction - base).abs().max() > 1e-3
    after = dict(tuned.named_parameters())
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert {name for name, weight in after.items() if weight.requires_grad} == {*named_lora_parameters(tuned)}
    assert torch.equal(predict(tuned), tuned_prediction)


def test_half_precision_is_not_merged_since_small_changes_would_be_rounded_away(tuned):
    tuned.to(torch.bfloat16)
    tuned_prediction = predict(tuned)
    with adapter_merged(tuned):
        assert torch.equal(predict(tuned), tuned_prediction)
