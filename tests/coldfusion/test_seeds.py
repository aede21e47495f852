from coldfusion.seeds import seed_for


def test_a_seed_is_the_same_everywhere_and_always() -> None:
    assert seed_for(0, "round", 3, "alice") == 4607928915150368578


def test_different_parts_give_different_seeds() -> None:
    seeds = {seed_for(*parts) for parts in [("ab", "c"), ("a", "bc"), ("abc",), (1,), ("1",), (0, 1), (1, 0)]}
    assert len(seeds) == 7


def test_a_seed_fits_into_a_signed_64_bit_integer() -> None:
    assert all(0 <= seed_for(i) < 2**63 for i in range(100))
