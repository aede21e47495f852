import subprocess
import sys
from pathlib import Path

from transformers import AutoModel, AutoTokenizer

from experiments.smallbase import make_base

TEXTS = ["the soup was warm", "the soup was cold", "a warm day"]
SCRIPT = f"""
import sys
from pathlib import Path
from experiments.smallbase import make_base
make_base(Path(sys.argv[1]), {TEXTS}, seed=3, hidden=8, vocabulary=60)
"""


def test_frequent_words_are_whole_and_others_are_spelt(tmp_path: Path) -> None:
    make_base(tmp_path, TEXTS, seed=0, hidden=8, vocabulary=5 + 2 * 15 + 4)  # 15 letters, 4 words
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("The soup was WARM") == ["the", "soup", "was", "warm"]
    assert tokenizer.tokenize("a day") == ["a", "d", "##a", "##y"]
    assert tokenizer.tokenize("z") == ["[UNK]"]
    assert AutoModel.from_pretrained(tmp_path).config.vocab_size == len(tokenizer) == 39


def test_the_same_seed_makes_the_same_base_in_every_process(tmp_path: Path) -> None:
    make_base(tmp_path / "here", TEXTS, seed=3, hidden=8, vocabulary=60)
    subprocess.run([sys.executable, "-c", SCRIPT, tmp_path / "there"], check=True, capture_output=True)
    here, there = ({f.name: f.read_bytes() for f in (tmp_path / x).iterdir()} for x in ("here", "there"))
    assert here == there and "model.safetensors" in here
