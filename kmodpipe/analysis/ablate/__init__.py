"""What no case notices: each hunk of a series left out in turn, each changed line with a small mistake.

In: a workspace with one series, its cases, their coverage. Out: `records.Ablation`, and ablate.json.
"""
