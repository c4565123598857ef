"""Trust: is a dataset what its contract says, and if not, which row of which part is wrong.

`runner` judges a dataset and returns a `report`, which `formats` prints. `levels` joins all
rules; each stands beside its check. Nothing here writes into a dataset.

level 0   opening, manifests, losses, footers, part_schema, layout
level 1   columns: row_rules, bounds, recounts, checksums, keys, links, quotas, required
level 2   contents: clips, agreement, conversations, formulas
level 3   across: separation, held_out, doubles, answers
"""
