import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModel

from coldfusion.checkpoint import Checkpoint
from coldfusion.errors import ConfigError, TensorMismatch
from coldfusion.lora.adapters import Adapter
from coldfusion.lora.lowrank import Factors, refactor, write_adapter

NAMES = ("encoder.layer.0.attention.self.query.weight", "encoder.layer.1.intermediate.dense.weight")


def test_the_largest_components_stay_and_the_rest_is_the_error() -> None:
    b, a, error = refactor(np.diag([4.0, 0.0, 3.0]), 1)
    np.testing.assert_allclose(b @ a, np.diag([4.0, 0.0, 0.0]), atol=1e-15)
    np.testing.assert_allclose(np.abs(b[:, 0]), [2, 0, 0], atol=1e-15)
    np.testing.assert_allclose(np.abs(a[0]), [2, 0, 0], atol=1e-15)
    assert error == pytest.approx(3 / 5)


def test_a_matrix_of_the_rank_loses_nothing() -> None:
    rng = np.random.default_rng(0)
    delta = rng.normal(size=(9, 2)) @ rng.normal(size=(2, 7))
    b, a, error = refactor(delta, 2)
    np.testing.assert_allclose(b @ a, delta, atol=1e-14)
    assert error < 1e-15 and b.shape == (9, 2) and a.shape == (2, 7)


def test_the_rank_ends_at_the_smaller_side_and_zeros_are_factored_too() -> None:
    assert refactor(np.ones((3, 2)), 8).b.shape == (3, 2)
    b, a, error = refactor(np.zeros((3, 2)), 1)
    assert not (b @ a).any() and error == 0


def test_a_rank_or_a_tensor_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rank is 0: give 1 or more"):
        refactor(np.ones((2, 2)), 0)
    with pytest.raises(TensorMismatch, match=r"a tensor \[4\] has no rank; only matrices can be factored"):
        refactor(np.ones(4), 1)
    with pytest.raises(
        TensorMismatch, match="x.bias: an adapter holds weights of linear layers, nothing else"
    ):
        write_adapter(tmp_path, "base", {"x.bias": refactor(np.ones((2, 2)), 1)}, 1)
    with pytest.raises(TensorMismatch, match=r"x.weight: factors \[2, 2\] and \[2, 2\] are not of rank 1"):
        write_adapter(tmp_path, "base", {"x.weight": refactor(np.ones((2, 2)), 2)}, 1)


@pytest.fixture
def factors(tiny_base: Path) -> dict[str, Factors]:
    rng = np.random.default_rng(1)
    with Checkpoint(tiny_base) as base:
        return {name: refactor(rng.normal(size=base.tensors[name].shape), 3) for name in NAMES}


def test_peft_opens_what_is_written_and_adds_the_product(
    tiny_base: Path, tmp_path: Path, factors: dict[str, Factors]
) -> None:
    write_adapter(tmp_path / "adapter", str(tiny_base), factors, 3)
    before = AutoModel.from_pretrained(tiny_base).state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers under an old name
        merged = PeftModel.from_pretrained(AutoModel.from_pretrained(tiny_base), tmp_path / "adapter")
    after = merged.merge_and_unload().state_dict()
    assert before.keys() == after.keys()
    for name in before:
        expected = torch.tensor(factors[name].b @ factors[name].a) if name in factors else 0.0
        torch.testing.assert_close(
            after[name].double(), before[name].double() + expected, atol=1e-6, rtol=1e-6
        )


def test_what_is_written_reads_back_as_the_product_and_is_the_same_bytes_twice(
    tiny_base: Path, tmp_path: Path, factors: dict[str, Factors]
) -> None:
    for folder in ("one", "two"):
        write_adapter(
            tmp_path / folder, "base", dict(reversed(factors.items())) if folder == "two" else factors, 8
        )
    assert all(
        path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        for path in (tmp_path / "one").iterdir()
    )
    with Checkpoint(tiny_base) as base, Adapter(tmp_path / "one", base.body) as adapter:
        assert set(adapter.tensors) == set(NAMES)
        for name, (b, a, _) in factors.items():
            np.testing.assert_allclose(adapter.delta(name), (b @ a).reshape(-1), atol=1e-5)
