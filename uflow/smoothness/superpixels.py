"""First-order smoothness within superpixels."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops.geometry import difference_along_columns, difference_along_rows, robust_l1
from uflow.ops.slic import superpixel_means
from uflow.options import Choices, Range, option
from uflow.registry import register
from uflow.smoothness._edge_aware import SmoothnessTerm, edge_weights


@register(
    "smoothness",
    "superpixels",
    source="Achanta et al., TPAMI 2012 (SLIC); Yuan et al., CVPR 2024 (UnSAMFlow: smoothness within segments)",
    reference=None,
)
class Superpixels(SmoothnessTerm):
    r"""First-order smoothness that heeds edges between SLIC superpixels and none inside of them.

    $\langle e(\bar I(q) - \bar I(p))\, \rho(f(q) - f(p)) \rangle$ over neighbors $p$, $q$ along both directions and
    both components; $\bar I$ is the image with each pixel replaced by the mean color of its superpixel, $e$ the weight
    of `first_order`, $\rho$ is sqrt(x^2 + 0.001^2). Within a superpixel $e$ is 1, whatever its texture. UnSAMFlow's
    variant of first-order smoothness has 0 between segments, which are objects; superpixels are parts of objects, so
    what counts here between two of them is how unlike they are. Its term by homographies of objects is another one.
    """

    side: int = option(
        4, Range(2, 64), search=Choices((3, 4, 6, 8)), unit="px", help="side of a superpixel on the grid of the level"
    )
    compactness: float = option(
        10.0,
        Range(0.1, 1000.0),
        search=Range(1.0, 40.0, log=True),
        help="difference in CIELAB that counts as much as a distance of one side",
    )

    edge_constant: float = option(  # shading differs more between means than between neighbors
        20.0, Range(0.0, 1e4), search=Range(5.0, 100.0, log=True), help="how fast image edges switch it off"
    )
    edge_weighting: str = option(
        "gaussian", Choices(("exponential", "gaussian")), help="exp(-|c g|) or exp(-(c g)^2) of the difference g"
    )

    def __call__(self, image: ms.Tensor, flow: ms.Tensor) -> ms.Tensor:
        """Mean over both directions, components and all pixels, a scalar; see `uflow.interfaces.Smoothness`."""
        flat = superpixel_means(image, self.side, self.compactness)
        columns, rows = edge_weights(flat, 1, self.edge_constant, self.edge_weighting)
        change_columns = robust_l1(difference_along_columns(flow))
        change_rows = robust_l1(difference_along_rows(flow))
        return ((columns * change_columns).mean() + (rows * change_rows).mean()) / 2
