"""Agent K: from a competition to a scored submission, in stages that each pass a unit test.

After Grosnit et al. 2024 (arXiv:2411.03562): the stages and the three kinds of actions are those of its Table 1 and
section 2.

May import: its rooms; teacher, report, interchange, runs, sandbox, prompts.

Its rooms and files, lowest floor first; each may import the lines before its own:

    contract, clock, memory, aside  the set-up's record, the run's time, the two memories; calls in a thread
    border                          what untrusted code leaves is read and judged here
    scoring, competition, results   metrics and blends; sources of competitions; candidates with their scores
    understand                      the meaning of the files
    workspace                       maps, folds, checks: the inputs and outputs of solvers
    solvers                         deterministic candidates
    workbench, context              the run's files and its sandbox; the context of every stage
    model                           a model writes code, and the code is run
    stages                          the stages
    graph, checkpoints              their order; how the state between them is kept
    run                             the command
"""
