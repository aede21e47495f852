import pytest

from contributors.devices import limit_threads


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """The bytes of a training depend on the number of threads: let no test hang on what ran before it."""
    limit_threads(1)
