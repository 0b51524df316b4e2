"""Draw the picture of docs/napari.md: ``python docs/draw_napari.py``.

The widget and the table beside it, without napari's canvas: that needs OpenGL, hence a screen.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from napari._qt.qt_resources import get_stylesheet
from napari.components import ViewerModel
from napari.qt import get_qapp
from napari_builtins._qt.features_table import FeaturesTable
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow

from nucleiseg import data
from nucleiseg.napari_plugin import SegmentNuclei

TARGET = Path(__file__).parent / "pictures" / "napari.png"
SIZE = 1100, 460


def main() -> None:
    """Write ``docs/pictures/napari.png``."""
    application = get_qapp()
    viewer = ViewerModel()
    image = data.example("fluorescence")
    viewer.add_image(image, name="fluorescence", scale=(0.325, 0.325), units="um")
    widget = SegmentNuclei(viewer)
    widget.run()
    while widget.cancel_button.enabled:
        application.processEvents()
        time.sleep(0.01)
    window = QMainWindow()
    window.setStyleSheet(get_stylesheet("dark"))
    for title, inside in (("Segment nuclei", widget.native), ("Features", FeaturesTable(viewer))):
        dock = QDockWidget(title)
        dock.setWidget(inside)
        window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)
        docks = [*window.findChildren(QDockWidget)]
    window.splitDockWidget(docks[0], docks[1], Qt.Orientation.Horizontal)
    window.resize(*SIZE)
    window.show()
    window.resizeDocks(docks, [380, SIZE[0] - 380], Qt.Orientation.Horizontal)
    for _ in range(50):
        application.processEvents()
        time.sleep(0.01)
    window.grab().save(str(TARGET))
    print(TARGET)


if __name__ == "__main__":
    main()
