"""Agent K: from a competition to a scored submission, in stages that each pass a unit test (Grosnit et al. 2024,
arXiv:2411.03562: the stages and the three kinds of actions are those of its Table 1 and section 2)."""
