import numpy as np

from coldfusion.fusers import mean


def test_mean_by_hand() -> None:
    deltas = np.array([[1.0, 2.0], [3.0, -2.0], [8.0, 0.0]])
    assert mean(deltas, np.ones(3)).tolist() == [4.0, 0.0]


def test_weights_are_relative() -> None:
    deltas = np.array([[1.0], [4.0]])
    assert mean(deltas, np.array([2.0, 1.0])).tolist() == [2.0]
    assert mean(deltas, np.array([20.0, 10.0])).tolist() == [2.0]
