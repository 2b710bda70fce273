"""
A call -> its key. From the ground up: what things are called (`naming`), the content of files (`files`), values
(`canonical`), records (`records`), arrays and tables (`arrays`), code (`code`), functions and classes
(`definitions`), arguments (`binding`), a function's hidden inputs (`fingerprint`), the digest (`lanes`), and all of it
together (`keyer`).
"""

from . import arrays as arrays  # teaches `canonical` numpy, pandas and PIL
from . import definitions as definitions  # teaches `canonical` functions and classes
from . import records as records  # teaches `canonical` enums, dataclasses, models and subclasses; the last to be asked
