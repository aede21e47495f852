import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, AutoModelForSequenceClassification, GPT2Config, GPT2LMHeadModel

from coldfusion.checkpoint import Checkpoint
from coldfusion.errors import TensorMismatch
from coldfusion.lora.adapters import Adapter, is_adapter
from coldfusion.tensorfile import TensorFile, TensorInfo
from tests.coldfusion.lora.adapterfiles import PLAIN, A, B, pair, write


def base(*shape: int, names: tuple[str, ...] = ("q.weight",)) -> dict[str, TensorInfo]:
    return {name: TensorInfo(name, "F32", shape or (3, 2)) for name in names}


@pytest.fixture
def trained(tiny_base: Path, tmp_path: Path) -> Callable[..., tuple[Path, dict[str, torch.Tensor]]]:
    """LoRA settings -> (adapter of random factors on the tiny base, what PEFT makes of the base with it)."""

    def make(model: Any, **settings: Any) -> tuple[Path, dict[str, torch.Tensor]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapted = get_peft_model(model, LoraConfig(**settings))
            generator = torch.Generator().manual_seed(0)
            for name, parameter in adapted.named_parameters():
                if "lora_" in name:
                    torch.nn.init.normal_(parameter, std=0.1, generator=generator)
            adapted.save_pretrained(tmp_path / "adapter")
            return tmp_path / "adapter", adapted.merge_and_unload().state_dict()

    return make


def check_like_peft(
    adapter: Adapter, infos: Mapping[str, TensorInfo], before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    changed = {name for name in infos if not before[name].equal(after[name])}
    assert set(adapter.tensors) == changed and changed
    for name, info in infos.items():
        expected = after[name].double() - before[name].double()
        delta = adapter.delta(name).reshape(info.shape)
        np.testing.assert_allclose(delta, expected, atol=1e-6, rtol=1e-4)


SETTINGS: dict[str, dict[str, Any]] = {
    "every linear layer": {"target_modules": "all-linear", "r": 4, "lora_alpha": 8},
    "rank-stabilised": {"target_modules": ["query"], "r": 4, "lora_alpha": 8, "use_rslora": True},
    "patterns": {
        "target_modules": ["query", "value"],
        "r": 4,
        "lora_alpha": 8,
        "rank_pattern": {"layer.0.attention.self.query": 2},
        "alpha_pattern": {r"encoder\.layer\.1.*query": 5, "value": 3},
    },
    "embeddings": {"target_modules": ["word_embeddings", "query"], "r": 3, "lora_alpha": 2},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_deltas_are_what_peft_merges(tiny_base: Path, trained: Any, settings: dict[str, Any]) -> None:
    before = AutoModel.from_pretrained(tiny_base).state_dict()
    folder, after = trained(AutoModel.from_pretrained(tiny_base), **settings)
    with Checkpoint(tiny_base) as checkpoint, Adapter(folder, checkpoint.body) as adapter:
        check_like_peft(adapter, checkpoint.body, before, after)
        assert adapter.heads == ()


def test_a_classifiers_adapter_changes_the_body_that_it_wraps_and_its_head_is_left_out(
    tiny_base: Path, trained: Any
) -> None:
    before = AutoModel.from_pretrained(tiny_base).state_dict()
    model = AutoModelForSequenceClassification.from_pretrained(tiny_base)
    folder, after = trained(model, target_modules=["query", "value"], task_type="SEQ_CLS", r=2)
    inner = {name.removeprefix("bert."): value for name, value in after.items()}
    with Checkpoint(tiny_base) as checkpoint, Adapter(folder, checkpoint.body) as adapter:
        assert all(name.startswith("classifier") for name in adapter.heads) and adapter.heads
        check_like_peft(adapter, checkpoint.body, before, inner)


def test_layers_that_store_the_transpose(trained: Any) -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=11, n_positions=4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folder, after = trained(model, target_modules=["c_attn", "c_proj"], r=2, fan_in_fan_out=True)
    infos = {name: TensorInfo(name, "F32", tuple(value.shape)) for name, value in before.items()}
    with Adapter(folder, infos) as adapter:
        check_like_peft(adapter, infos, before, after)


def test_by_hand(tmp_path: Path) -> None:
    factors = {
        A.format("q"): np.array([[1.0, 2.0], [0.0, 1.0]]),
        B.format("q"): np.array([[1, 0], [0, 2], [1, 1]]),
    }
    with Adapter(write(tmp_path / "x", factors), base(3, 2)) as adapter:
        # alpha / r = 3 / 2 times [[1, 2], [0, 2], [1, 3]]
        assert adapter.delta("q.weight").tolist() == [1.5, 3.0, 0.0, 3.0, 1.5, 4.5]
        assert adapter.delta("q.weight", 1, 4).tolist() == [3.0, 0.0, 3.0]
        assert adapter.delta("q.weight", 6, 6).tolist() == adapter.delta("q.weight", 2, 2).tolist() == []


def test_a_tensor_that_it_does_not_change_has_a_delta_of_zeros(tmp_path: Path) -> None:
    infos = base(names=("q.weight", "k.weight")) | {"q.bias": TensorInfo("q.bias", "F32", (3,))}
    with Adapter(write(tmp_path / "x", pair("q")), infos) as adapter:
        assert adapter.tensors == ("q.weight",)
        assert adapter.delta("k.weight").tolist() == [0] * 6 and adapter.delta("q.bias", 1).tolist() == [0, 0]


@pytest.mark.parametrize("turned", [False, True])
def test_any_cut_gives_the_bytes_of_the_whole(tmp_path: Path, turned: bool, monkeypatch: Any) -> None:
    rng = np.random.default_rng(0)
    factors = {A.format("q"): rng.normal(size=(3, 7)), B.format("q"): rng.normal(size=(50, 3))}
    shape = (7, 50) if turned else (50, 7)
    with Adapter(write(tmp_path / "x", factors), base(*shape)) as adapter:
        whole = adapter.delta("q.weight")
        monkeypatch.setattr("coldfusion.lora.adapters.BLOCK", 20)
        for cut in (1, 13, 100):
            pieces = [adapter.delta("q.weight", i, min(i + cut, 350)) for i in range(0, 350, cut)]
            assert np.concatenate(pieces).tobytes() == whole.tobytes()
    product = (np.float32(factors[B.format("q")]).astype(float) @ np.float32(factors[A.format("q")])) * 3 / 3
    np.testing.assert_allclose(whole.reshape(shape), product.T if turned else product, atol=1e-15)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F64"])
def test_factors_of_any_float_dtype(tmp_path: Path, dtype: str) -> None:
    factors = {A.format("q"): np.full((1, 2), 0.5), B.format("q"): np.full((3, 1), 2.0)}
    with Adapter(write(tmp_path / "x", factors, dtype=dtype), base()) as adapter:
        assert adapter.delta("q.weight").tolist() == [3.0] * 6


@pytest.mark.parametrize(
    "module, names, expected",
    [
        ("encoder.q", ("encoder.q.weight", "decoder.encoder.q.weight"), "encoder.q.weight"),
        ("bert.encoder.q", ("encoder.q.weight", "encoder.k.weight"), "encoder.q.weight"),
        ("layers.0.q", ("model.layers.0.q.weight", "model.layers.10.q.weight"), "model.layers.0.q.weight"),
    ],
    ids=["the very name", "a prefix less", "a prefix more"],
)
def test_names_are_found_with_a_prefix_more_or_less(
    tmp_path: Path, module: str, names: tuple[str, ...], expected: str
) -> None:
    with Adapter(write(tmp_path / "x", pair(module)), base(names=names)) as adapter:
        assert adapter.tensors == (expected,)


BIAS = {"base_model.model.bert.q.base_layer.bias": np.ones(3)}
REFUSED: dict[str, tuple[dict[str, np.ndarray], dict[str, Any], str]] = {
    "two tensors of that name": (pair("k"), {}, "k.weight: could be a.k.weight or b.k.weight of the base"),
    "no tensor of that name": (pair("v"), {}, "changes v.weight, which the base does not have"),
    "two modules, one tensor": (
        pair("bert.q") | pair("x.q"),
        {},
        "x.q and bert.q both change q.weight of the",
    ),
    "half a pair": ({A.format("q"): np.ones((1, 2))}, {}, "q has no factor B"),
    "factors of another shape": (pair("q", 4, 4), {}, r"q has factors \[4, 1\] and \[1, 4\], .* is \[3, 2\]"),
    "ranks that differ": (
        {A.format("q"): np.ones((2, 2)), B.format("q"): np.ones((3, 1))},
        {},
        r"q has factors \[3, 1\] and \[2, 2\]",
    ),
    "a convolution": (
        {A.format("conv"): np.ones((1, 2, 3, 3)), B.format("conv"): np.ones((4, 1, 1, 1))},
        {},
        r"conv is \[4, 2, 3, 3\]; linear layers and embeddings can be fused",
    ),
    "a bias": (
        pair("q") | BIAS,
        {"bias": "lora_only"},
        "holds q.bias of the base whole .*; train it without",
    ),
    "a whole weight": (pair("q") | {"a.k.weight": np.ones((3, 2))}, {}, "holds a.k.weight of the base whole"),
    "a magnitude": (
        pair("q") | {"q.lora_magnitude_vector": np.ones(3)},
        {},
        "magnitude_vector is not a factor",
    ),
    "DoRA": (
        pair("q"),
        {"use_dora": True},
        "use_dora is set; merge it into its base, and fuse the checkpoint",
    ),
    "PiSSA": (pair("q"), {"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which trains from a"),
    "another kind": (pair("q"), {"peft_type": "IA3"}, "a IA3 adapter; LORA ones can be fused"),
    "alpha that is no number": (
        pair("q"),
        {"lora_alpha": "8"},
        "not the config of a LoRA adapter: .*alpha '8'",
    ),
    "an expression": (
        pair("q"),
        {"alpha_pattern": {"(a+)+": 1}},
        r"alpha_pattern '\(a\+\)\+' is more than a",
    ),
    "a broken expression": (pair("q"), {"alpha_pattern": {"*q": 1}}, "not the config of a LoRA adapter"),
    "a long name": (pair("q" * 600), {}, "holds a name of 614 characters: qqqq"),
}


@pytest.mark.parametrize("tensors, config, reason", REFUSED.values(), ids=REFUSED)
def test_what_is_no_plain_lora_of_the_base_is_refused_by_name(
    tmp_path: Path, tensors: dict[str, np.ndarray], config: dict[str, Any], reason: str
) -> None:
    infos = base(names=("q.weight", "a.k.weight", "b.k.weight")) | {
        "q.bias": TensorInfo("q.bias", "F32", (3,)),
        "conv.weight": TensorInfo("conv.weight", "F32", (4, 2, 3, 3)),
    }
    with pytest.raises(TensorMismatch, match=reason):
        Adapter(write(tmp_path / "x", tensors, config), infos)


def test_a_square_weight_is_refused_where_the_config_is_at_odds_with_other_layers(tmp_path: Path) -> None:
    infos = base(3, 2) | {"s.weight": TensorInfo("s.weight", "F32", (2, 2))}
    folder = write(tmp_path / "x", pair("q") | pair("s", 2, 2), {"fan_in_fan_out": True})
    with pytest.raises(TensorMismatch, match="s is square, and fan_in_fan_out is at odds with other layers"):
        Adapter(folder, infos)


def test_a_directory_that_is_no_adapter(tmp_path: Path) -> None:
    assert not is_adapter(tmp_path)
    with pytest.raises(TensorMismatch, match="no adapter_config.json there, so it is no adapter"):
        Adapter(tmp_path, {})
    (tmp_path / "adapter_config.json").write_text("[]")
    assert is_adapter(tmp_path)
    with pytest.raises(TensorMismatch, match="not the config of a LoRA adapter"):
        Adapter(tmp_path, {})
    (tmp_path / "adapter_config.json").write_text(json.dumps(PLAIN))
    with pytest.raises(TensorMismatch, match="no adapter_model.safetensors there"):
        Adapter(tmp_path, {})


def test_only_the_rows_that_are_asked_for_are_read(tmp_path: Path, monkeypatch: Any) -> None:
    seen: dict[str, int] = {}
    read = TensorFile.read

    def counting(self: TensorFile, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        values = read(self, name, start, stop)
        seen[name] = seen.get(name, 0) + values.size
        return values

    monkeypatch.setattr(TensorFile, "read", counting)
    with Adapter(write(tmp_path / "x", pair("q", 1000, 5, 2)), base(1000, 5)) as adapter:
        for start in (0, 8):
            adapter.delta("q.weight", start, start + 7)
    assert seen == {A.format("q"): 10, B.format("q"): 2 * 2 + 2 * 2}
