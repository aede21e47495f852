"""`coldfusion fuse` on what its users have: LoRA adapters, models on a Hub, a cluster."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.numpy import load_file
from transformers import AutoModel, BertConfig, BertModel
from typer.testing import CliRunner

from coldfusion.cli import app
from coldfusion.errors import BaseError, ConfigError
from contributors.pool import Pool
from tests.helpers import finetuned, small_body, write_checkpoint

# peft asks transformers under an old name.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

QUERY = "encoder.layer.0.attention.self.query.weight"


def fuse(*arguments: str | Path) -> str:
    """What the command prints. Raises what it raises."""
    result = CliRunner().invoke(app, ["fuse", *map(str, arguments)], catch_exceptions=False)
    return result.output


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def adapter(base: Path, into: Path, seed: int, rank: int = 2) -> Path:
    torch.manual_seed(seed)
    adapted = get_peft_model(
        AutoModel.from_pretrained(base), LoraConfig(r=rank, lora_alpha=4, target_modules=["query"])
    )
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(into)
    return into


def merged(base: Path, folder: Path) -> np.ndarray:
    """The query matrix of the base with an adapter folded in, by peft."""
    body = PeftModel.from_pretrained(AutoModel.from_pretrained(base), folder).merge_and_unload()
    return body.state_dict()[QUERY].numpy()


def test_adapters_are_fused_as_the_products_that_they_stand_for(bert: Path, tmp_path: Path) -> None:
    one, two = (adapter(bert, tmp_path / f"a{seed}", seed) for seed in (1, 2))
    fuse("--base", bert, one, two, "-o", tmp_path / "out")
    fused = AutoModel.from_pretrained(tmp_path / "out").state_dict()[QUERY].numpy()
    np.testing.assert_allclose(fused, (merged(bert, one) + merged(bert, two)) / 2, atol=1e-7)


def test_a_fusion_of_adapters_can_be_an_adapter_again(bert: Path, tmp_path: Path) -> None:
    one, two = (adapter(bert, tmp_path / f"a{seed}", seed) for seed in (1, 2))
    fuse("--base", bert, one, two, "--rank", "4", "-o", tmp_path / "out")  # 2 + 2: nothing is left out
    np.testing.assert_allclose(
        merged(bert, tmp_path / "out"), (merged(bert, one) + merged(bert, two)) / 2, atol=1e-6
    )
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert "leaves out 0.0%" in (tmp_path / "out" / "README.md").read_text()
    fuse("--base", bert, one, two, "--rank", "1", "-o", tmp_path / "less")
    assert json.loads((tmp_path / "less" / "adapter_config.json").read_text())["r"] == 1
    assert "leaves out 0.0%" not in (tmp_path / "less" / "README.md").read_text()


def test_a_rank_is_for_adapters_alone(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="base: is no LoRA adapter"):
        fuse("--base", bert, bert, "--rank", "4", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_single_file_is_an_input_too(tmp_path: Path) -> None:
    body = {"w": np.array([1.0, 2.0], np.float32)}
    base = write_checkpoint(tmp_path / "base", body)
    trained = write_checkpoint(tmp_path / "trained", {"w": np.array([3.0, 2.0], np.float32)})
    fuse("--base", base, trained / "model.safetensors", "-o", tmp_path / "out")
    assert load_file(tmp_path / "out" / "model.safetensors")["w"].tolist() == [3.0, 2.0]


def test_on_ray_the_bytes_are_those_of_threads(tmp_path: Path, two_cpus: Pool) -> None:
    body = small_body() | {"big": np.random.default_rng(0).normal(0, 0.02, (500, 400)).astype(np.float32)}
    base = write_checkpoint(tmp_path / "base", body)
    inputs = [write_checkpoint(tmp_path / f"m{i}", finetuned(body, i)) for i in range(3)]
    arguments = ["--base", base, *inputs, "--fuser", "ties", "--set", "density=0.3"]
    fuse(*arguments, "-o", tmp_path / "threads", "--threads", "1")
    fuse(*arguments, "-o", tmp_path / "ray", "--ray")
    one, two = (tmp_path / name / "model.safetensors" for name in ("threads", "ray"))
    assert one.read_bytes() == two.read_bytes()


def test_what_is_neither_here_nor_a_name_on_the_hub_is_said(tmp_path: Path) -> None:
    with pytest.raises(BaseError, match="no such directory or file; a model on the Hub is called"):
        fuse("--base", tmp_path / "nothing", tmp_path, "-o", tmp_path / "out")
