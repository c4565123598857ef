"""Audio as samples: decoding bytes to 16-bit samples at their native rate.

Reading files is the business of the callers; what a clip means is that of the records.
"""
