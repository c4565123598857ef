"""From a request and its response to a training row.

instruct     the row: instruction, clip, answer
interleave   which pieces of a clip are heard and which are read; `pieces`: where it may be cut
"""
