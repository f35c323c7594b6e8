"""What people look at: pages that open from disk, and plots."""

import logging

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home that it cannot write to
