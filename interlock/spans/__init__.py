"""A run's history, reduced to a tree of spans: what ran when, inside what, for how much. Pure: what to read a history
with is ``interlock.run_trace``.

The tree is that of the OpenTelemetry trace, with one line for all attempts of a call:

    invoke_agent analyst
        agent.plan, agent.step.1, ... agent.final_answer
            chat claude-sonnet-4-5, execute_tool search(pattern="ERROR"), invoke_agent (an agent used as a tool)

and beside it what no trace of calls shows: waits, money leased and settled, what people said to the run.

The laws by which facts make up the tree:

1. A call belongs to the stage (plan, step, final answer) that it names, and what precedes a call (a lease) to the
   call's. A stage begins with the first of its spans and ends with the last.
2. A wait belongs to the stage that goes on meanwhile; else to the run.
3. What had not reported back when the run ended was cancelled by its end.
4. The dollars of all spans are those of the run's result. What the run charged and no call tells of (an attempt whose
   fate nobody knows is charged at its bound) is a span of its own, so that the sum is right and says why.

    span.py      one line of the tree
    facts.py     what a history tells, one thing after the other
    gathered.py  facts gathered into spans, each with the stage that it belongs to
    tree.py      the tree of them: laws 1 to 3
    charges.py   what was charged and no call tells of: law 4
"""
