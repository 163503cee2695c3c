"""Knowledge elicitation: six ways to make training data with a teacher, one file each, and what they share.

The names are those of the survey of Xu et al. (arXiv 2402.13116, section 3.1). Each way writes the run directory that
`generate` writes, so that the rest of the road reads it.

May import: agents, tasks, retrievers, teacher, inference, prompts, runs, doubts, report, interchange, publish,
data.
"""
