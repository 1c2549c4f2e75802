"""Pictures of a run. Each function returns a matplotlib Figure; the caller saves it: `figure.savefig(path)`.

One style and one colour-blind-safe palette for all; matplotlib is imported when a picture is made, and no
display is needed.
"""

from fnn.plot.curves import learning_curves
from fnn.plot.examples import predictions, worst_examples
from fnn.plot.flow import gradient_flow, update_ratios
from fnn.plot.maps import feature_maps
from fnn.plot.matrix import confusion_matrix
from fnn.plot.report import report
from fnn.plot.sweep import heat_map, parallel_coordinates
from fnn.plot.weights import filters, first_layer_weights

__all__ = [
    "confusion_matrix",
    "feature_maps",
    "filters",
    "first_layer_weights",
    "gradient_flow",
    "heat_map",
    "learning_curves",
    "parallel_coordinates",
    "predictions",
    "report",
    "update_ratios",
    "worst_examples",
]
