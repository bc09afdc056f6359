"""What a candidate must prove: metrics, paired comparisons with the champion, slices, budgets and behavioural tests.

`judge` asks all gates of a project and gives a verdict with a reason for each; `report` puts it on paper.
"""
