"""Run folder → one self-contained HTML page.

inputs.py     what the folder holds, read once; each part optional
accounts.py   planned = kept + refused by reason + failed, for each method
choice.py     which samples and test photographs are shown
pictures.py   thumbnails and overlays as data URIs
charts.py     histograms and curves as SVG whose colours follow the page
gallery.py    cards of samples and of test photographs
results.py    metrics of stage 1 against stage 2, with curves and intervals
page.py       all of it → page.html.j2 with style.css and page.js inside
"""

from farm.report.page import build_report

__all__ = ["build_report"]
