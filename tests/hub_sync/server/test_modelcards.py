"""The model card of a round on a served Hub, as the stock client sees it."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, constants

from coldfusion.config import Policy
from coldfusion.coordinator import Coordinator
from coldfusion.federation import Start, found
from coldfusion.records import Evaluation
from hub_sync.local import LocalHub
from hub_sync.modelcards import PICTURE, card_for
from tests.helpers import contribute, finetuned, small_body, write_checkpoint
from tests.hub_sync.served import Hub
from tests.hub_sync.test_modelcards import gain, read_back, score

SCORES = (score("cola", 71.25), score("cola", 70.0, seed=1), score("a task", 50.0, held_out=False))


@pytest.fixture
def repo(hub: Hub, tmp_path: Path) -> str:
    """A federation that has published one round."""
    store = LocalHub(hub.root, repo_id=f"bob/r{uuid.uuid4().hex[:10]}")
    body, card = small_body(), card_for(store)

    def evaluate(base: Path, before: Path | None) -> Evaluation:
        return Evaluation(scores=SCORES, gains=(gain(1.0),))

    start = Start(write_checkpoint(tmp_path / "base", body), "org/model")
    found(store, start, Policy(), evaluate=evaluate, workdir=tmp_path / "texts", card=card)
    contribute(store, tmp_path, finetuned(body, 1), name="alice")
    Coordinator(hub=store, workdir=tmp_path / "work", evaluate=evaluate, card=card).run_round()
    return store.repo_id


def test_the_hub_finds_the_card_good_and_gives_its_scores_back(
    hub: Hub, repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for revision in ("round-0000", "round-0001"):
        card = ModelCard(hub.read(repo, "README.md", revision).decode())
        with monkeypatch.context() as patch:  # it asks nobody but the endpoint that was there at the start
            patch.setattr(constants, "ENDPOINT", hub.endpoint)
            card.validate()
        info = hub.api().model_info(repo, revision=revision)
        assert info.card_data is not None
        assert read_back(info.card_data) == read_back(card.data) == sorted(SCORES, key=repr)
        assert (info.card_data.base_model, info.card_data["base_model_relation"]) == ("org/model", "finetune")
        assert "base_model:finetune:org/model" in (info.tags or [])
        assert f'"{repo}", revision="{revision}"' in card.text
        assert hub.read(repo, PICTURE, revision).startswith(b"\x89PNG") and f"]({PICTURE})" in card.text
