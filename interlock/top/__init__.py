"""``interlock top``: all open runs on one screen, live. Needs the extra ``top`` (textual).

    rows.py      what a line of the table shows, filtered and sorted: pure
    source.py    what is asked of the server, and how
    table.py     the table, brought up to date while the cursor stays on its run
    panels.py    what the panels beside the table show, as text
    beside.py    those panels, each behind a tab
    screens.py   what opens above the table: something long to read, a question
    readings.py  a run's transcript and trace, to read there
    orders.py    what the keys tell a run
    app.py       the screen itself: what it looks at and how often, and its keys

However many runs are open, the server is asked for one list of them from its index and for a few counts. Only the run
under the cursor is asked itself: what its limits are is known to nobody else.
"""
