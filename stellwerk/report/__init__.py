"""What ran, on which tier, and what it saved: as records, as a page, and as an application to mount.

records.py       what is told of all runs, and of one
overview.py      all runs, from the trace store
run.py           one run: its plan, and the attempts at each subtask
router.py        the router of the registry: cost against quality, calibration, drift
drawing.py       the plan as boxes and lines, in layers
charts.py        bars and curves
page.py          HTML of all that
app.py           an application that serves it (extra `report`)
thread_names.py  how threads are called there
"""
