"""The kit: every widget that screens are made of. Importing it makes their names known to kv.

Import after `edge.app.ui.environment.prepare`: Kivy's text field opens the window when it is imported.
"""

from edge.app.ui.kit.base import (
    EdgeCard,
    EdgeColumn,
    EdgeFlow,
    EdgeIcon,
    EdgeLabel,
    EdgeRow,
    EdgeRule,
    EdgeScroll,
    EdgeSpace,
    EdgeSurface,
    Touchable,
)
from edge.app.ui.kit.controls import (
    EdgeBar,
    EdgeEmpty,
    EdgeSegment,
    EdgeStepper,
    EdgeSwitch,
    EdgeTabs,
)
from edge.app.ui.kit.dialog import EdgeDialog, EdgeNumberPad, EdgePinDots
from edge.app.ui.kit.face import (
    EdgeBanner,
    EdgeButton,
    EdgeChip,
    EdgeFace,
    EdgeIconButton,
    EdgeLink,
    EdgePill,
    EdgeTag,
)
from edge.app.ui.kit.fields import EdgeField, EdgeInput, EdgeSearch
from edge.app.ui.kit.focus import ring
from edge.app.ui.kit.fold import fold
from edge.app.ui.kit.graph import EdgeGraph
from edge.app.ui.kit.lists import EdgeFlowList, EdgeList, EdgeRecycle, EdgeRecycleRow
from edge.app.ui.kit.load import load_kv
from edge.app.ui.kit.rank import EdgeBasis, EdgeRank
from edge.app.ui.kit.screen import EdgePane, EdgeScreen
from edge.app.ui.kit.stream import EdgeStreamText

__all__ = [
    "EdgeBanner",
    "EdgeBar",
    "EdgeBasis",
    "EdgeButton",
    "EdgeCard",
    "EdgeChip",
    "EdgeColumn",
    "EdgeDialog",
    "EdgeEmpty",
    "EdgeFace",
    "EdgeField",
    "EdgeFlow",
    "EdgeFlowList",
    "EdgeGraph",
    "EdgeIcon",
    "EdgeIconButton",
    "EdgeInput",
    "EdgeLabel",
    "EdgeLink",
    "EdgeList",
    "EdgeNumberPad",
    "EdgePane",
    "EdgePill",
    "EdgePinDots",
    "EdgeRank",
    "EdgeRecycle",
    "EdgeRecycleRow",
    "EdgeRow",
    "EdgeRule",
    "EdgeScreen",
    "EdgeScroll",
    "EdgeSearch",
    "EdgeSegment",
    "EdgeSpace",
    "EdgeStepper",
    "EdgeStreamText",
    "EdgeSurface",
    "EdgeSwitch",
    "EdgeTabs",
    "EdgeTag",
    "Touchable",
    "fold",
    "load_kv",
    "ring",
]
