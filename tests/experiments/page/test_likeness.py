from dataclasses import replace

from coldfusion.records import RoundRecord, Similarity
from experiments.page.likeness import MOST_CELLS, pictures
from tests.pages import full_round, similarity, start


def alike(index: int, people: int) -> RoundRecord:
    names = tuple(f"p{place:02d}" for place in range(people))
    return replace(full_round(index), similarity=similarity(names))


def test_a_picture_is_symmetric_with_ones_on_its_diagonal() -> None:
    rows = ((), (0.5,), (-0.25, -0.004))
    record = replace(full_round(1), similarity=Similarity(contributors=("ann", "cy", "dora"), rows=rows))
    (picture,), left_out = pictures([start(), record])
    assert [[cell.text for cell in row] for row in picture.rows] == [
        ["1.00", "0.50", "-0.25"],
        ["0.50", "1.00", "0.00"],
        ["-0.25", "0.00", "1.00"],
    ]
    assert (picture.most, picture.rows[0][1].shade, picture.rows[0][2].shade) == (0.5, "u10", "d5")
    assert picture.refused == {"dora"} and left_out == 0
    assert picture.left_out == 1  # bob's was not compared
    assert round(picture.mean, 3) == 0.082
    assert picture.extremes == "Most alike are ann and cy (0.50), least alike ann and dora (-0.25)."


def test_a_large_round_has_colours_without_numbers() -> None:
    (picture,), _ = pictures([start(), alike(1, 17)])
    assert not picture.numbered and {cell.text for row in picture.rows for cell in row} == {""}


def test_pictures_stop_before_they_fill_the_page() -> None:
    found, left_out = pictures([start(), *(alike(index, 64) for index in range(1, 21))])
    assert len(found) == MOST_CELLS // 64**2 == 7 and left_out == 13
    assert [picture.round_index for picture in found][:2] == [20, 19]


def test_one_delta_is_like_nothing() -> None:
    assert pictures([start(), alike(1, 1)]) == ([], 0)
