"""
An answer <-> bytes: which classes may be made (`classes`), a value and its payload (`values`), an entry and its blob
(`envelope`).
"""
