"""
A call -> its key. From the ground up: what things are called (`naming`), the content of files (`files`), values
(`canonical`), functions and classes (`definitions`), arguments (`binding`), a function's hidden inputs (`fingerprint`),
the digest (`lanes`), and all of it together (`keyer`).
"""

from . import definitions as definitions  # teaches `canonical` functions and classes
