"""Agent K: from a competition to a scored submission, in stages that each pass a unit test.

After Grosnit et al. 2024 (arXiv:2411.03562): the stages and the three kinds of actions are those of its Table 1 and
section 2. The rooms, lowest first; each may import the ones before it:

    contract, clock, memory     what a set-up holds, the run's time, the two memories
    scoring, competition        metrics and blends; where a competition comes from and a submission goes
    results                     candidates with their scores, the best, the blend
    understand, workspace       what the files say; maps, folds and tests, which solvers are given
    solvers                     deterministic candidates
    workbench, context          the run's files and its sandbox; what every stage is given
    model                       a model writes code, and the code is run
    stages, graph, run          the stages, their order, the command
"""
