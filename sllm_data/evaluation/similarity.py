"""How alike two sets of states are, row by row paired: CKA, and a map of both."""

import numpy as np
import numpy.typing as npt

States = npt.NDArray[np.float64]

_LEAST_ROWS = 4  # the unbiased estimate divides by rows - 3


def linear_cka(x: States, y: States) -> float | None:
    """Returns the linear centred kernel alignment of two sets of states, at most 1.

    With few rows and wide states the usual estimate is near 1 whatever they are; this is the
    unbiased one (of HSIC, by Song et al., as in Nguyen et al. 2021), which is near 0 for
    states that have nothing to do with each other, and may be a little below.

    Args:
        x: (N, H): a row for each sample.
        y: (N, W): the same samples in the same order.

    Returns:
        None below four rows, or where one side does not differ from row to row.
    """
    if len(x) < _LEAST_ROWS:
        return None
    own = _hsic(x, x), _hsic(y, y)
    if min(own) <= 0:
        return None
    return float(_hsic(x, y) / np.sqrt(own[0] * own[1]))


def _hsic(x: States, y: States) -> float:
    # centring first changes nothing in exact arithmetic and keeps large means from drowning it
    k, m = (_without_diagonal(each - each.mean(axis=0)) for each in (x, y))
    rows = len(k)
    total = k.sum() * m.sum() / ((rows - 1) * (rows - 2))
    crossed = 2 * (k.sum(axis=0) @ m.sum(axis=0)) / (rows - 2)
    return float((np.sum(k * m) + total - crossed) / (rows * (rows - 3)))


def _without_diagonal(states: States) -> States:
    products = states @ states.T
    np.fill_diagonal(products, 0.0)
    return products


def map_of(states: States, *, seed: int) -> States:
    """Returns a map of states by t-SNE, (N, 2); the same for the same seed.

    Args:
        states: (N, H), N 5 or more; both sides together, so that they share one map.
        seed: Of where it begins.
    """
    from sklearn.decomposition import PCA  # type: ignore[import-untyped] # noqa: PLC0415
    from sklearn.manifold import TSNE  # type: ignore[import-untyped] # noqa: PLC0415

    num = len(states)
    narrow = PCA(n_components=min(30, num - 1, states.shape[1]), random_state=seed)
    perplexity = min(30.0, (num - 1) / 4)
    found = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(
        narrow.fit_transform(states)
    )
    return np.asarray(found, np.float64)
