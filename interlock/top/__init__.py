"""``interlock top``: all open runs on one screen, live. Needs the extra ``top`` (textual).

    rows.py     what a line of the table shows, filtered and sorted: pure
    source.py   what is asked of the server, and how often
    panels.py   what the panels beside the table show
    screens.py  what opens above it: a transcript, a trace, a question
    app.py      the screen itself, and its keys

However many runs are open, the server is asked for one list of them from its index and for a few counts. Only the run
under the cursor is asked itself: what its limits are is known to nobody else.
"""
