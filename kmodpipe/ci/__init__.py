"""The room ``fanout``: a run over many machines. A plan says which job runs which cells, each job is an
``invoke ci`` like any other, and what they leave is merged and held against the plan.

    invoke matrix ──► plan.json ──► invoke ci --cell … on any machine, N times ──► invoke collect
"""
