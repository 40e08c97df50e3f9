"""Settings of the property tests: the same examples on every machine and in every run.

``HYPOTHESIS_PROFILE=explore`` looks for new examples instead.
"""

import os
import signal

from hypothesis import HealthCheck, settings

# The first call of a kernel may compile it, so no example has a deadline.
settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "explore",
    deadline=None,
    max_examples=1000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

# A job in the background of a script is started with SIGINT ignored, and so would be the commands
# that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
