"""`report.html`: a finished run as one file that loads nothing from elsewhere.

Each section is a function that gathers plain data from the report's and a pure function from those to markup
(:data:`.compose.SECTIONS`). Images are decoded one at a time into thumbnails, so a page holds no more of the data than
features and some thousand thumbnails.
"""

from .compose import SECTIONS, page
from .facts import Facts, Picture
from .overview import comparison

__all__ = ['SECTIONS', 'Facts', 'Picture', 'comparison', 'page']
